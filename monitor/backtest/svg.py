"""A backtest as one SVG that needs nothing else: quality against target over time, alerts marked below it.

Colours are Okabe and Ito's, told apart by the colour-blind; shape and place say the same as colour does.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from monitor.backtest.history import StageHistory
from monitor.backtest.run import Backtest, Fired
from monitor.counting.display import FLOORS, LEAST_N, escaped_for_html
from monitor.counting.panes import SHORT
from monitor.journey_file.model import Experience, Journey, Stage
from monitor.rules.plan import Plan

WIDTH, LEFT, RIGHT, TOP = 1200, 70, 20, 96
PLOT, LANES, GAP = 120, 34, 52
INK, GRID, LINE, TARGET, PAGE, TICKET = "#222222", "#dddddd", "#0072b2", "#222222", "#d55e00", "#e69f00"

POINTS = 600
"""About as many points as a line can show on this width."""

STEPS_S = (60, 300, 900, 1800, 3600, 7200, 21600, 86400, 604800)
TICKS_H = (1, 3, 6, 12, 24, 48, 168, 336, 730, 2190, 8760)

READ_AT_ONCE = 90 * 86_400_000 // SHORT.ms


def picture(plan: Plan, history: dict[str, StageHistory], found: Backtest) -> str:
    """The SVG."""
    journey = plan.journey
    drawn = [(stage, one) for stage in plan.stages if stage.name in history for one in stage.experiences]
    height = TOP + len(drawn) * (PLOT + LANES + GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}" role="img" font-family="sans-serif" font-size="12" fill="{INK}">',
        f"<title>{escaped_for_html(journey.title)}: quality against target, and alerts</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        *_head(journey, found),
    ]
    for i, (stage, experience) in enumerate(drawn):
        panel = _Panel(journey, found, TOP + i * (PLOT + LANES + GAP))
        parts += panel.draw(stage, experience, history[stage.name])
    return "\n".join([*parts, "</svg>", ""])


def _head(journey: Journey, found: Backtest) -> Iterator[str]:
    zone = ZoneInfo(journey.timezone)
    ends = [f"{_local(at_ms, zone):%Y-%m-%d %H:%M}" for at_ms in (found.from_ms, found.to_ms)]
    pages, tickets = (
        sum(getattr(one, name) for one in found.totals.values()) for name in ("pages", "tickets")
    )
    yield f'<text x="{LEFT}" y="26" font-size="18">{escaped_for_html(journey.title)}</text>'
    yield (
        f'<text x="{LEFT}" y="46">{ends[0]} to {ends[1]} ({escaped_for_html(journey.timezone)}): '
        f"{pages} pages, {tickets} tickets</text>"
    )
    low = f'<rect y="-7" width="30" height="5" fill="{TICKET}" stroke="{INK}" stroke-width=".5"/>'
    for x, mark, text in (
        (LEFT, f'<path d="M0 -4h30" stroke="{LINE}" stroke-width="1.5"/>', "quality"),
        (LEFT + 120, f'<path d="M0 -4h30" stroke="{TARGET}" stroke-dasharray="6 4"/>', "target"),
        (LEFT + 240, f'<rect y="-10" width="30" height="11" fill="{PAGE}"/>', "page"),
        (LEFT + 360, low, "ticket"),
    ):
        yield f'<g transform="translate({x} 70)">{mark}<text x="38">{text}</text></g>'


def _local(at_ms: int, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(zone)


class _Panel:
    """One experience."""

    def __init__(self, journey: Journey, found: Backtest, top: int) -> None:
        self._zone = ZoneInfo(journey.timezone)
        self._found = found
        self._top = top
        length_s = (found.to_ms - found.from_ms) / 1000
        self._step = next((s for s in STEPS_S if length_s / s <= POINTS), STEPS_S[-1]) * 1000 // SHORT.ms

    def draw(self, stage: Stage, experience: Experience, held: StageHistory) -> Iterator[str]:
        """Heading, axes, line, alerts."""
        target = float(experience.target)
        points = list(self._quality(experience, held))
        low = min((quality for _, quality, n in points if n >= LEAST_N), default=0.0)
        floor = max(one for one in FLOORS if one == 0 or (one <= low and one < target - (1 - target)))
        alerts = [
            one
            for one in self._found.fired
            if one.key.stage == stage.name and one.key.experience in ("", experience.name)
        ]
        yield f'<g transform="translate(0 {self._top})">'
        heading = f"{stage.title}: {experience.title} (target {target * 100:g} %)"
        yield f'<text x="{LEFT}" y="-8" font-size="14">{escaped_for_html(heading)}</text>'
        yield from self._axes(floor)
        y = _y(target, floor)
        yield f'<path d="M{LEFT} {y}H{WIDTH - RIGHT}" stroke="{TARGET}" stroke-dasharray="6 4" fill="none"/>'
        line = "".join(self._line(points, floor))
        yield f'<path d="{line}" stroke="{LINE}" stroke-width="1.5" fill="none"/>'
        for lane, (severity, fill) in enumerate((("page", PAGE), ("ticket", TICKET))):
            y = PLOT + 5 + 15 * lane
            yield f'<text x="{LEFT - 6}" y="{y + 10}" text-anchor="end">{severity}s</text>'
            for one in alerts:
                if one.key.severity == severity:
                    yield self._mark(one, y if severity == "page" else y + 3, fill)
        yield "</g>"

    def _x(self, at_ms: float) -> float:
        found = self._found
        share = (at_ms - found.from_ms) / (found.to_ms - found.from_ms)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def _mark(self, one: Fired, y: float, fill: str) -> str:
        start = self._x(one.noticed_ms)
        end = self._x(self._found.to_ms if one.resolved_ms is None else one.resolved_ms)
        height, edge = (11, "") if one.key.severity == "page" else (5, f' stroke="{INK}" stroke-width=".5"')
        said = f"{_local(one.noticed_ms, self._zone):%Y-%m-%d %H:%M:%S} {one.summary}"
        return (
            f'<rect x="{start}" y="{y}" width="{max(2.0, round(end - start, 1))}" height="{height}" '
            f'fill="{fill}"{edge}><title>{escaped_for_html(said)}</title></rect>'
        )

    def _quality(self, experience: Experience, held: StageHistory) -> Iterator[tuple[float, float, int]]:
        """Middle, quality and number of events of each step that has any."""
        first, end, step = self._found.from_ms // SHORT.ms, self._found.to_ms // SHORT.ms, self._step
        for start in range(first - first % step, end, READ_AT_ONCE // step * step):
            width = min(READ_AT_ONCE // step * step, -(-(end - start) // step) * step)
            table = held.table(start, start + width)
            good, bad = (
                table[[row for (of, _), row in rows.items() if of == experience.name]]
                .sum(axis=0, dtype=np.int64)
                .reshape(-1, step)
                .sum(axis=1)
                for rows in (held.good, held.bad)
            )
            for i in np.flatnonzero(good + bad).tolist():
                n = int(good[i] + bad[i])
                yield (start + (i + 0.5) * step) * SHORT.ms, float(good[i]) / n, n

    def _line(self, points: list[tuple[float, float, int]], floor: float) -> Iterator[str]:
        before = None
        for at_ms, quality, _ in points:
            is_next = before is not None and at_ms - before <= self._step * SHORT.ms
            x = min(max(self._x(at_ms), LEFT), WIDTH - RIGHT)
            yield f"{'L' if is_next else 'M'}{x} {_y(quality, floor)}{'' if is_next else 'h1'}"
            before = at_ms

    def _axes(self, floor: float) -> Iterator[str]:
        for share in np.linspace(floor, 1, 5).tolist():
            y = _y(share, floor)
            yield f'<path d="M{LEFT} {y}H{WIDTH - RIGHT}" stroke="{GRID}"/>'
            yield f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{share * 100:.4g} %</text>'
        for at, label in self._ticks():
            x = self._x(at.timestamp() * 1000)
            yield f'<path d="M{x} 0V{PLOT + LANES}" stroke="{GRID}"/>'
            yield f'<text x="{x}" y="{PLOT + LANES + 14}" text-anchor="middle">{label}</text>'

    def _ticks(self) -> Iterator[tuple[datetime, str]]:
        """Full hours or days of local time, at most a dozen or so."""
        first, last = (_local(at_ms, self._zone) for at_ms in (self._found.from_ms, self._found.to_ms))
        length_h = (last - first).total_seconds() / 3600
        if length_h < 2:
            minutes = next(m for m in (1, 2, 5, 10, 15) if m == 15 or length_h * 60 / m <= 12)
            step, at = timedelta(minutes=minutes), first.replace(minute=0, second=0, microsecond=0)
        else:
            hours = next((h for h in TICKS_H if length_h / h <= 14), TICKS_H[-1])
            step, at = timedelta(hours=hours), first.replace(hour=0, minute=0, second=0, microsecond=0)
        while at <= last:
            if at >= first:
                is_day = step >= timedelta(days=1) or (at.hour, at.minute) == (0, 0)
                yield at, f"{at:%Y-%m-%d}" if is_day else f"{at:%H:%M}"
            at += step


def _y(quality: float, floor: float) -> float:
    return round(PLOT * (1 - max(0.0, quality - floor) / (1 - floor)), 1)
