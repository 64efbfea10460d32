"""The digest as one HTML page that loads nothing and runs nothing; whatever came from a label is escaped."""

import re
from collections.abc import Iterator

from monitor.counting.display import BLUE, GREY, VERMILLION, escaped_for_html
from monitor.report.document import Document, Item, Picture

BAR, BETWEEN, HEIGHT = 14, 4, 36
"""Of pictures, in CSS pixels."""

STYLE = f"""
:root {{ color-scheme: light dark; --ink: #222; --soft: #595959; --paper: #fff; --line: #ddd;
  --good: {BLUE}; --bad: {VERMILLION}; --unknown: {GREY}; }}
@media (prefers-color-scheme: dark) {{
  :root {{ --ink: #eee; --soft: #b5b5b5; --paper: #181b1f; --line: #3a3f45;
    --good: #56b4e9; --bad: #ff7f32; }}
}}
@media print {{
  :root {{ --ink: #000; --soft: #444; --paper: #fff; --line: #bbb; --good: {BLUE}; --bad: {VERMILLION}; }}
  main {{ max-width: none; padding: 0; }}
  h2 {{ break-after: avoid; }}
}}
* {{ box-sizing: border-box; print-color-adjust: exact; -webkit-print-color-adjust: exact; }}
body {{ margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.45 system-ui, -apple-system, "Segoe UI", sans-serif; }}
main {{ max-width: 52rem; margin: 0 auto; padding: 1rem; }}
h1 {{ font-size: 1.5rem; line-height: 1.2; margin: 0; }}
h2 {{ font-size: 1.1rem; margin: 1.75rem 0 .5rem; border-bottom: 1px solid var(--line); }}
p {{ margin: 0; }}
h1, h2, p {{ overflow-wrap: anywhere; }}
.soft {{ color: var(--soft); font-size: .9rem; }}
ul {{ list-style: none; margin: 0; padding: 0; }}
li {{ display: flex; flex-wrap: wrap; gap: .25rem 1rem; align-items: center; break-inside: avoid;
  border-left: 4px solid var(--line); padding: .15rem 0 .15rem .75rem; margin: .6rem 0; }}
li p {{ flex: 1 1 16rem; }}
li.good {{ border-color: var(--good); }}
li.bad {{ border-color: var(--bad); }}
li.unknown {{ border-left-style: dotted; border-color: var(--unknown); }}
figure {{ margin: 0; }}
figcaption {{ color: var(--soft); font-size: .75rem; }}
svg {{ display: block; max-width: 100%; }}
.met {{ fill: var(--good); }}
.missed {{ fill: var(--bad); }}
.none {{ fill: none; stroke: var(--unknown); stroke-dasharray: 2 2; }}
.target {{ stroke: var(--ink); stroke-dasharray: 4 3; }}
"""


UNIT = re.compile(r"(?<=\d) (?=%|(?:d|h|min)\b)")


def _prose(text: str) -> str:
    """Escaped, and no line begins with a unit."""
    return UNIT.sub("&nbsp;", escaped_for_html(text))


def html(read: Document) -> str:
    """The document as a page, to be written as UTF-8."""
    return "\n".join(_lines(read)) + "\n"


def _lines(read: Document) -> Iterator[str]:
    yield "<!DOCTYPE html>"
    yield '<html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    yield f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    yield f"<title>{escaped_for_html(read.title)}</title><style>{STYLE}</style></head><body><main>"
    yield f'<h1>{escaped_for_html(read.title)}</h1><p class="soft">{escaped_for_html(read.subtitle)}</p>'
    for section in read.sections:
        yield f"<section><h2>{escaped_for_html(section.title)}</h2>"
        if section.note:
            yield f'<p class="soft">{escaped_for_html(section.note)}</p>'
        yield "<ul>"
        for item in section.items:
            yield "".join(_item(item))
        yield "</ul></section>"
    yield "</main></body></html>"


def _item(item: Item) -> Iterator[str]:
    lead = f"<strong>{escaped_for_html(item.lead)}.</strong>"
    yield f'<li class="{item.mood}"><p>{lead} {_prose(item.text)}</p>'
    if item.picture is not None:
        yield from _figure(item.picture)
    yield "</li>"


def _figure(picture: Picture) -> Iterator[str]:
    """A bar for each day and the target across; filled up to it or not, so that colour is not needed."""
    width = len(picture.bars) * (BAR + BETWEEN) - BETWEEN
    words = "; ".join(bar.words for bar in picture.bars)
    yield f'<figure><svg width="{width}" height="{HEIGHT}" viewBox="0 0 {width} {HEIGHT}" role="img" '
    yield f'aria-label="{escaped_for_html(words)}">'
    for i, bar in enumerate(picture.bars):
        x = i * (BAR + BETWEEN)
        title = f"<title>{escaped_for_html(bar.words)}</title>"
        if bar.quality is None:
            yield f'<rect class="none" x="{x + 0.5}" y=".5" width="{BAR - 1}" height="{HEIGHT - 1}">{title}'
        else:
            top = min(_y(bar.quality, picture.floor), HEIGHT - 1)
            kind = "met" if bar.is_met else "missed"
            yield f'<rect class="{kind}" x="{x}" y="{top}" width="{BAR}" height="{HEIGHT - top}">{title}'
        yield "</rect>"
    yield f'<path class="target" d="M0 {_y(picture.target, picture.floor)}H{width}"/></svg>'
    yield f"<figcaption>{picture.floor * 100:g} to 100 % by day</figcaption></figure>"


def _y(quality: float, floor: float) -> float:
    return round(HEIGHT * (1 - max(quality - floor, 0.0) / (1 - floor)), 1)
