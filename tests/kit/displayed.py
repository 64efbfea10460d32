"""What a person reads on a panel: real answers through Grafana's own data library (`@grafana/data`)."""

import json
from typing import Any

from tests.kit.npm import CACHE, installed, run
from tests.kit.programs import ROOT

HERE = ROOT / "tests" / "grafana"

VERSIONS = ("9.4", "13")
"""The oldest Grafana that is supported, and the newest."""

Json = dict[str, Any]


def displayed(version: str, panels: list[Json]) -> list[list[str]]:
    """The lines of each panel, given as `{"panel": …, "answers": {refId: Prometheus' data}}`."""
    library = installed(HERE / version) / "@grafana" / "data"
    asked = json.dumps({"library": str(library), "panels": panels})
    lines: list[list[str]] = json.loads(run(["node", str(HERE / "displayed.cjs")], CACHE, asked))
    return lines
