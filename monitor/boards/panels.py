"""Grafana panels as plain data (classic JSON, schema 39): how a thing is shown, never what is measured.

Colours are Okabe and Ito's, of lines some of Paul Tol's, which colour-blind people tell apart, and never say
anything that no word says.
The JSON model is read from Grafana 9.4's source (`public/app/plugins/panel/*/models.cue`); what later
versions renamed is written both ways.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import count, product
from string import ascii_uppercase
from typing import Any

from monitor.counting.display import BLUE, GREY, ORANGE, PURPLE, VERMILLION
from monitor.journey_file.links import DATASOURCE
from monitor.rules.limits import FAST_POINTS

Json = dict[str, Any]


PLUGIN_VERSION = "9.4.0"
"""The oldest Grafana these are for: newer ones migrate what they changed since."""


LINES = ("#56B4E9", "#CC79A7", "#009E73", "#F0E442", "#7F7F7F", "#AA3377", "#BBBBBB", "#DDCC77")
"""Colours of lines that are neither good nor bad; once they are used up, dashes tell lines apart, but not
in legends."""
SOLID, DASHED, DOTTED = (
    {"fill": "solid"},
    {"fill": "dash", "dash": [10, 10]},
    {"fill": "dot", "dash": [0, 10]},
)
DASHES: tuple[Json, ...] = (SOLID, DASHED, DOTTED)

WIDTH = 24
"""Columns of Grafana's grid."""

NOTHING = "none known"
"""Where there is no value: true of what did not happen, and where nobody counts or Prometheus is away."""

FEW_COUNTED = "too few known"
"""Where so few were counted that nothing is shown of them, and where none were."""

COUNT = "locale"
"""The unit of what is counted: 2,261 in full, where Grafana's `short` makes 2 K of it."""

SHARE = "percentunit"

DECIMALS = {COUNT: {"decimals": 0}, SHARE: {"decimals": 1}}
"""Of figures, unless a panel says otherwise; lines are drawn exactly."""


def plain(text: str) -> str:
    """A title of the journey file with nothing in it that Grafana would fill in."""
    text = text.translate(str.maketrans("{}", "()")).replace("[[", "((").replace("]]", "))")
    return re.sub(r"\$(?=[A-Za-z_])", "$ ", text)


# -- queries ---------------------------------------------------------------------------------------------


def query(expr: str, legend: str = "", **more: Any) -> Json:
    """A query over the time of the board; `legend` names its series and may have labels in double braces."""
    return {"expr": expr, "legendFormat": legend or "__auto", "instant": False, "range": True, **more}


def now(expr: str, legend: str = "", **more: Any) -> Json:
    """A query of the present moment."""
    return query(expr, legend, instant=True, range=False, **more)


def rows(expr: str) -> Json:
    """A query of the present moment with a table row for each series."""
    return now(expr, format="table")


def ref_ids() -> Iterator[str]:
    """The names of a panel's queries: A to Z, AA, AB and so on."""
    return ("".join(letters) for length in count(1) for letters in product(ascii_uppercase, repeat=length))


def _targets(queries: Iterable[Json]) -> list[Json]:
    return [
        {"refId": ref, "datasource": DATASOURCE, "editorMode": "code", "format": "time_series", **one}
        for ref, one in zip(ref_ids(), queries, strict=False)
    ]


# -- colours and words -----------------------------------------------------------------------------------


def thresholds(*steps: tuple[float | None, str]) -> Json:
    """Colours by value; the first step, None, holds below all others."""
    return {"mode": "absolute", "steps": [{"color": color, "value": value} for value, color in steps]}


NEUTRAL = thresholds((None, BLUE))


def against(target: Decimal) -> Json:
    """Colours of a quality: blue from its target on, vermillion where a fast page begins."""
    return thresholds((None, VERMILLION), (float(target - FAST_POINTS), ORANGE), (float(target), BLUE))


POINTS = thresholds((None, VERMILLION), (float(-FAST_POINTS), ORANGE), (0, BLUE))
"""Colours of a quality less its target: 0 meets it."""


def high_is_bad(orange: float, vermillion: float) -> Json:
    """Colours of what had better be small."""
    return thresholds((None, BLUE), (orange, ORANGE), (vermillion, VERMILLION))


def words(texts: Mapping[str, tuple[str, str]]) -> list[Json]:
    """Words and colours instead of values."""
    options = {
        value: {"text": text, "color": color, "index": index}
        for index, (value, (text, color)) in enumerate(texts.items())
    }
    return [{"type": "value", "options": options}]


def names(texts: Mapping[str, str]) -> list[Json]:
    """Words instead of names, in the cells of a table."""
    options = {
        name: {"text": plain(text), "index": index} for index, (name, text) in enumerate(texts.items())
    }
    return [{"type": "value", "options": options}]


def unknown(text: str, match: str = "null+nan") -> list[Json]:
    """What stands where there is no value: without it Grafana would paint it in the worst colour.

    Any text is not a number, so `null+nan` is for numbers only; where there may be text it is `null`.
    """
    return [{"type": "special", "options": {"match": match, "result": {"text": text, "color": GREY}}}]


def override(name: str, **properties: Any) -> Json:
    """What is different about one field; `custom_x` is the panel's own property x."""
    return {"matcher": {"id": "byName", "options": name}, "properties": _properties(properties)}


def matching(pattern: str, **properties: Any) -> Json:
    """What is different about the fields whose names match."""
    return {"matcher": {"id": "byRegexp", "options": pattern}, "properties": _properties(properties)}


def numbers(**properties: Any) -> Json:
    """What is different about every field that holds numbers."""
    return {"matcher": {"id": "byType", "options": "number"}, "properties": _properties(properties)}


def _absent(kind: str, mappings: Iterable[Json], nothing: str) -> tuple[list[Json], list[Json]]:
    """Mappings of every field, and the overrides that say for numbers what NaN means.

    Only tables show text.
    """
    given = list(mappings)
    if kind != "table":
        return [*given, *unknown(nothing)], []
    return [*given, *unknown(nothing, "null")], [numbers(mappings=[*given, *unknown(nothing)])]


def _properties(properties: Mapping[str, Any]) -> list[Json]:
    return [{"id": key.replace("custom_", "custom.", 1), "value": value} for key, value in properties.items()]


def titled(texts: Mapping[str, str]) -> list[Json]:
    """Titles instead of the names of series."""
    return [override(name, displayName=plain(text)) for name, text in texts.items()]


def lines(texts: Mapping[str, str]) -> list[Json]:
    """Titles, and a colour and dash of its own for each line."""
    return [
        override(
            name,
            displayName=plain(text),
            color=fixed(LINES[index % len(LINES)]),
            custom_lineStyle=DASHES[index // len(LINES) % len(DASHES)],
        )
        for index, (name, text) in enumerate(texts.items())
    ]


def fixed(color: str) -> Json:
    """One colour, whatever the value."""
    return {"mode": "fixed", "fixedColor": color}


def link(title: str, url: str) -> Json:
    """A link away from Grafana, or within it for a path."""
    return {"title": title, "url": url, "targetBlank": url.startswith("http")}


# -- panels ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Look:
    """How a panel shows its values; what else it is given are options of its kind."""

    unit: str
    size: tuple[int, int]
    """Width and height."""
    steps: Json | None = None
    mappings: Iterable[Json] = ()
    overrides: Iterable[Json] = ()
    links: Iterable[Json] = ()
    """What a click on a value offers."""
    custom: Json | None = None
    field: Json | None = None
    """More about every value."""
    nothing: str = NOTHING
    """What is said where there is none."""
    missing: str = ""
    """What a cell says that has none beside others that have; the same unless given."""
    transformations: Iterable[Json] = ()


def panel(kind: str, title: str, description: str, queries: Iterable[Json], **more: Any) -> Json:
    """Any panel; `more` is its `Look`, the rest of it options of its kind."""
    look = Look(**{name: more.pop(name) for name in Look.__slots__ if name in more})
    everywhere, in_numbers = _absent(kind, look.mappings, look.missing or look.nothing)
    return {
        "type": kind,
        "title": plain(title),
        "description": plain(description),
        "datasource": DATASOURCE,
        "pluginVersion": PLUGIN_VERSION,
        "gridPos": {"w": look.size[0], "h": look.size[1]},
        "targets": _targets(queries),
        "fieldConfig": {
            "defaults": {
                "unit": look.unit,
                "color": {"mode": "thresholds"},
                "thresholds": look.steps or NEUTRAL,
                "mappings": everywhere,
                "noValue": look.nothing,
                "links": list(look.links),
                "custom": look.custom or {},
                **(DECIMALS.get(look.unit, {}) if kind != "timeseries" else {}),
                **(look.field or {}),
            },
            "overrides": [*in_numbers, *look.overrides],
        },
        "options": more,
        "transformations": list(look.transformations),
    }


LEGEND = {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []}
RANKED = {
    "displayMode": "table", "placement": "right", "showLegend": True, "calcs": ["lastNotNull"],
    "sortBy": "Last *", "sortDesc": True,
}  # fmt: skip
"""Of more lines than a legend below has room for: the highest now first, the rest is scrolled."""
CHART: Json = {"legend": LEGEND, "tooltip": {"mode": "multi", "sort": "none"}}
REDUCE = {"calcs": ["lastNotNull"], "fields": "", "values": False}

NAME_SIZE = 14
"""Pixels of the name beside a figure; Grafana would make a long one too small, and a lone one too large."""

BAR_NAME_SIZE = 12
"""Of the name before a bar, which Grafana gives a fifth of the width."""

# Options as Grafana has them, by kind of panel.
# fmt: off
STAT: Json = {
    "colorMode": "background", "graphMode": "none", "justifyMode": "center", "orientation": "auto",
    "reduceOptions": REDUCE, "textMode": "auto",
}
BARS: Json = {
    "displayMode": "basic", "orientation": "horizontal", "reduceOptions": REDUCE,
    "showUnfilled": True, "minVizWidth": 0, "minVizHeight": 16, "text": {"titleSize": BAR_NAME_SIZE},
}
LINE: Json = {
    "drawStyle": "line", "lineWidth": 2, "fillOpacity": 0, "showPoints": "auto", "pointSize": 4,
    "spanNulls": False, "thresholdsStyle": {"mode": "off"},
}
TIMELINE: Json = {
    "mergeValues": True, "showValue": "never", "alignValue": "left", "rowHeight": 0.85,
    "legend": LEGEND, "tooltip": {"mode": "single", "sort": "none"},
}
HEATMAP: Json = {
    "calculate": False, "cellGap": 1, "showValue": "never", "filterValues": {"le": 1e-9},
    "color": {
        "mode": "scheme", "scheme": "Cividis", "scale": "exponential", "exponent": 0.5,
        "steps": 64, "reverse": False, "fill": BLUE,
    },
    "rowsFrame": {"layout": "auto"}, "yAxis": {"axisPlacement": "left", "unit": "s"},
    "cellValues": {"unit": COUNT}, "legend": {"show": True}, "exemplars": {"color": PURPLE},
    "tooltip": {"show": True, "mode": "single", "yHistogram": False},
}
# fmt: on


AT_ITS_END = "(vector(time()) > ($__to - $__interval_ms) / 1000)"
"""Answers at the last point of a range only: a curve that begins with NaN is drawn from 0 upwards."""


def stat(title: str, description: str, *queries: Json, **more: Any) -> Json:
    """Big figures of now: the first thing seen from across the room.

    With names they are justified, or Grafana writes name and value as one word. A figure on a curve is its
    last point, or Grafana would go on showing one of hours ago.
    """
    named = len(queries) > 1 or more.get("textMode") == "value_and_name"
    apart = {"justifyMode": "auto", "wideLayout": False, "text": {"titleSize": NAME_SIZE}} if named else {}
    if "graphMode" in more:
        found = [one | {"expr": f"({one['expr']}) or on () {AT_ITS_END} * NaN"} for one in queries]
        apart = {"reduceOptions": REDUCE | {"calcs": ["last"]}}
    else:
        found = [one | {"instant": True, "range": False} for one in queries]
    return panel("stat", title, description, found, **STAT | apart | more)


def bars(title: str, description: str, *queries: Json, **more: Any) -> Json:
    """A bar for each series, with its name: of a lone bar Grafana leaves it out unless the panel has one."""
    field = {"displayName": "${__field.displayName}"} | more.pop("field", {})
    return panel("bargauge", title, description, queries, field=field, **BARS | more)


def _room(field: Json) -> Json:
    """Of shares: an axis with some length when all are 0, or all 1, which Grafana draws up to 10,000 %."""
    return {"axisSoftMin": 0.95} if "max" in field else {"axisSoftMax": 0.05}


def chart(title: str, description: str, *queries: Json, custom: Json | None = None, **more: Any) -> Json:
    """Lines over time; a line stops where nothing is known."""
    room = _room(more.get("field") or {}) if more["unit"] == SHARE else {}
    drawn = LINE | room | (custom or {})
    return panel("timeseries", title, description, queries, custom=drawn, **CHART | more)


def timeline(title: str, description: str, *queries: Json, **more: Any) -> Json:
    """A strip for each series; the legend has its states in words, which short strips would cut.

    Colours come from the words, not from thresholds: coloured by those, Grafana writes their numbers instead.
    """
    drawn = {"lineWidth": 0, "fillOpacity": 85, "spanNulls": False}
    field = {"color": fixed(GREY)}
    return panel("state-timeline", title, description, queries, custom=drawn, field=field, **TIMELINE | more)


def heatmap(title: str, description: str, buckets: str, **more: Any) -> Json:
    """A histogram over time, from cumulative buckets by `le`.

    Of nothing it says `No data`: Grafana 9.4 takes `noValue` out of heat maps, so descriptions say why.
    """
    queries = [query(buckets, "{{le}}", format="heatmap")]
    return panel("heatmap", title, description, queries, **HEATMAP | more)


def heading(title: str) -> Json:
    """A line between panels."""
    place = {"w": WIDTH, "h": 1}
    return {"type": "row", "title": plain(title), "collapsed": False, "panels": [], "gridPos": place}


def arranged(panels: Iterable[Json]) -> list[Json]:
    """The panels from left to right, line by line, with the ids and places Grafana asks for."""
    placed = []
    x = y = tallest = 0
    for number, one in enumerate(panels, 1):
        width, height = one["gridPos"]["w"], one["gridPos"]["h"]
        if x + width > WIDTH:
            x, y, tallest = 0, y + tallest, 0
        placed.append({"id": number, **one, "gridPos": {"x": x, "y": y, "w": width, "h": height}})
        x, tallest = x + width, max(tallest, height)
    return placed
