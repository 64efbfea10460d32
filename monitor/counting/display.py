"""How figures are written for people, each in one way but for what Prometheus writes (`humanizePercentage`).

Shares are cut, never rounded up, as on the live page. Cut to as many decimals as its target has, what is
shown of a share is below the target exactly when the share itself is.
"""

from decimal import Decimal
from html import escape

from monitor.counting.measures import Share


def percent(share: Share, target: Decimal | None = None) -> str:
    """How many of some were good, to a tenth of a per cent, or finer where the target is; only all are 100 %,
    only none 0 %. ZeroDivisionError of none at all."""
    decimals = max(1, -int((target * 100).normalize().as_tuple().exponent)) if target is not None else 1
    cut = Decimal(share.good * 100 * 10**decimals // share.n).scaleb(-decimals)
    if not share.bad or not share.good:
        return f"{cut:.0f} %"
    return f"{cut} %" if cut else f"under {Decimal(1).scaleb(-decimals)} %"


SPACES = "\u00a0\u2007\u202f\u3000"
"""Python calls no space printable but the common one; these are of languages that people write."""


def printable(text: str) -> str:
    """The text with everything that could move the cursor or turn or break the line spelt out."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in SPACES else c.encode("unicode_escape").decode() for c in text)


def escaped_for_html(text: str) -> str:
    """Text that is only text in HTML and SVG, also within quotes; they hold no control characters."""
    return escape("\n".join(map(printable, text.split("\n"))))


def aimed(target: Decimal) -> str:
    """A target, exactly."""
    return f"{(target * 100).normalize():f} %"


def counted(n: int, noun: str = "journey") -> str:
    """`1 line`, `1,200 lines`: so many of a thing whose plural ends in s."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def duration(seconds: int) -> str:
    """A length of time in its two largest units."""
    parts = (
        (seconds // 86_400, "d"),
        (seconds // 3600 % 24, "h"),
        (seconds // 60 % 60, "min"),
        (seconds % 60, "s"),
    )
    return " ".join([f"{n} {unit}" for n, unit in parts if n][:2]) or "0 min"


BARS = "▁▂▃▄▅▆▇█"


def bar(share: float) -> str:
    """A share, 0 to 1, as the letter of a line of bars."""
    return BARS[min(int(max(share, 0.0) * len(BARS)), len(BARS) - 1)]


BLUE, ORANGE, VERMILLION, GREY, PURPLE = "#0072B2", "#E69F00", "#D55E00", "#7F7F7F", "#CC79A7"
"""Good, below target, degraded, nothing known, not judged."""


FLOORS = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98)
"""Where the axis of a picture of quality may begin."""

LEAST_N = 10
"""Points of fewer events do not decide where the axis begins: one bad of one is 0 %."""
