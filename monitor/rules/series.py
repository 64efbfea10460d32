"""PromQL that everybody writes: selectors, numbers as exact decimals, and joins by labels."""

from dataclasses import dataclass, field
from decimal import Decimal

from monitor.counting.windows import WINDOWS
from monitor.journey_file.model import Stage
from monitor.rules.journeys import OWN_LABELS

JOB = "touchpoint"
"""The scrape job of the workers."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A series that Prometheus computes and keeps."""

    record: str
    expr: str
    labels: dict[str, str] = field(default_factory=dict)


def number(value: Decimal) -> str:
    """An exact decimal as PromQL reads it: no exponent, no trailing zeros."""
    return f"{value.normalize():f}"


Values = str | tuple[str, ...]
"""The value that a label must have, or several that it may have."""

SECONDS = {window.label: window.ms // 1000 for window in WINDOWS}

ANY = ".+"
"""Whatever value a label has, if it has one. No name of a journey file is written so."""


def select(series: str, **labels: Values) -> str:
    """A selector; several values of a label are alternatives."""
    return f"{series}{{{', '.join(_matcher(label, values) for label, values in labels.items())}}}"


def _matcher(label: str, values: Values) -> str:
    alternatives = (values,) if isinstance(values, str) else values
    if len(alternatives) == 1 and values != ANY:
        return f'{label}="{alternatives[0]}"'
    return f'{label}=~"{"|".join(alternatives)}"'


WHOSE = ", ".join(("experience", "segment", *OWN_LABELS))
"""Labels by which an experience tells whom it hits; those that are of others are empty."""

ONE = f"stage, {WHOSE}, severity"


def of_each(worst: str, expr: str, *, by: str, brings: str) -> str:
    """The value of `expr` for each of the worst, with its labels and the label that `expr` brings.

    PromQL joins labels only by calculating with both values, so one must be made neutral: `* 0 + 1` turns
    every worst ratio into a 1, which leaves the value of the other side as it is.
    """
    return f"({worst} * 0 + 1) * on ({by}) group_left ({brings}) {expr}"


def with_stage(expr: str, stage: Stage) -> str:
    """The series with the stage's label: by its labels an alert finds its facts."""
    return f'label_replace({expr}, "stage", "{stage.name}", "", "")'


def lately(selector: str, seconds: int) -> str:
    """Each series as it was last within this time, also one that has ended since."""
    return f"last_over_time({selector}[{seconds}s])"
