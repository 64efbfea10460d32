"""Tables: which columns, what a cell says that has nothing, and how wide they are."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from monitor.boards.panels import WIDTH, Json, override, panel, plain, ref_ids

BOARD_PX = 1_568
"""All columns of a board together on a screen of 1,600 pixels."""
FRAME_PX = 24
"""Of a panel's width what its frame takes, and the room between panels."""
CHARACTER_PX = 7.2
"""Measured in Grafana 9.4: a mean letter takes 6.9."""
PADDING_PX = 30

LEAST_PX = 70
"""Of a column of numbers."""

ROW_PX, ABOVE_ROWS_PX, GRID_PX = 36, 94, 38
"""Of one row; of title, headings, frame and gap; of one unit of a panel's height, as Grafana 9.4 computes."""

BAR_PX, ABOVE_BARS_PX = 26, 46
"""Of one bar and the gap below it at their smallest; of title and frame."""

MOST_ROWS = 14
"""A table of more is scrolled, or the board would be."""

ABSENT = "\u2013"

COLORED = {
    "custom_displayMode": "color-background-solid",
    "custom_cellOptions": {"type": "color-background", "mode": "basic"},
}
"""A table cell in the colour of its value: its name until Grafana 9.4, and since."""

TABLE: Json = {"showHeader": True, "cellHeight": "sm", "missing": ABSENT}


def table(
    title: str,
    description: str,
    columns: Mapping[str, str],
    *queries: Json,
    hide: Iterable[str] = (),
    **more: Any,
) -> Json:
    """A table of these fields, in this order, under these headings; nothing else is shown.

    Several queries are merged into the rows whose labels agree. While any of them answers, each must: where
    only one does, Grafana calls its values `Value` and shows none of them under its heading.
    """
    hidden = {name: True for name in ("Time", "Value", *hide) if name not in columns}
    organize = {
        "excludeByName": hidden,
        "indexByName": {name: index for index, name in enumerate(columns)},
        "renameByName": {name: plain(heading) for name, heading in columns.items()},
    }
    merge: list[Json] = [{"id": "merge", "options": {}}] if len(queries) > 1 else []
    given = list(more.pop("overrides", ()))
    return panel(
        "table",
        title,
        description,
        queries,
        custom={"align": "auto", "inspect": False, "minWidth": LEAST_PX},
        transformations=[*merge, {"id": "organize", "options": organize}],
        overrides=[*given, *_widths(columns, given, more["size"][0])],
        **TABLE | more,
    )


def values(*headings: str) -> dict[str, str]:
    """The columns of what several queries answer, in their order."""
    return {f"Value #{ref}": heading for ref, heading in zip(ref_ids(), headings, strict=False)}


def wide_enough(texts: Iterable[str]) -> int:
    """The least width of a column in which none of these is cut, in pixels."""
    return round(max(map(len, texts)) * CHARACTER_PX) + PADDING_PX


def tall_enough(rows: int) -> int:
    """The height of a panel that shows so many rows of its table."""
    return math.ceil((min(rows, MOST_ROWS) * ROW_PX + ABOVE_ROWS_PX) / GRID_PX)


def tall_for_bars(bars: int, least: int) -> int:
    """The height of a panel that shows so many bars."""
    return max(least, math.ceil((bars * BAR_PX + ABOVE_BARS_PX) / GRID_PX))


def room(columns: int) -> int:
    """What a panel that wide has for the columns of its table, in pixels."""
    return BOARD_PX * columns // WIDTH - FRAME_PX


def _widths(columns: Mapping[str, str], given: Iterable[Json], width: int) -> list[Json]:
    """Every column as wide as what stands in it; where that is too much, long texts share what is left."""
    needed = {name: max(LEAST_PX, wide_enough([heading])) for name, heading in columns.items()}
    for one in given:
        if (name := one["matcher"]["options"]) in needed:
            needed[name] = max(needed[name], *_needed(one["properties"]), 0)
    found, left = [], room(width)
    for index, (name, px) in enumerate(sorted(needed.items(), key=lambda item: item[1])):
        wide = min(px, left // (len(needed) - index))
        left -= wide
        if wide > LEAST_PX:
            found.append(override(name, custom_minWidth=wide))
    return found


def _needed(properties: Iterable[Json]) -> Iterable[int]:
    """The widths that properties of a field ask for, by themselves or by the words in the place of values."""
    for each in properties:
        if each["id"] == "custom.minWidth":
            yield each["value"]
        if each["id"] == "mappings":
            rules = [rule["options"] for rule in each["value"] if rule["type"] == "value"]
            yield from (wide_enough([word["text"]]) for words in rules for word in words.values())
