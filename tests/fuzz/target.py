"""One fuzzing process: libFuzzer's loop around `holds` and `fold`, guided by the edges of `monitor` and by
messages.

msgspec is C and not instrumented, so each distinct refusal text, each field an event carries and each
counter it adds to is an edge too: a record that makes msgspec say something new is kept.
"""

import gc
import json
import re
import sys
import time
from collections import Counter
from types import FunctionType, ModuleType

import atheris

import monitor.counting.event
import monitor.counting.judging
from monitor.counting.event import Event
from streams.__main__ import COLLECT_AFTER
from tests.fuzz.fold import Sent, fold
from tests.fuzz.holds import holds, readers
from tests.fuzz.mutation import mutate
from tests.fuzz.record import MAX_BYTES, read

SIGHTS = 4096
"""Room for refusal texts (ten types found in place of each of thirty fields, in three framings) and the 757
counters of all stages."""

RAW_RATIO = 0.1
"""Share of mutations left to libFuzzer, which knows nothing of JSON but learns from comparisons."""

GUIDANCE = ["-mutate_depth=1", "-reduce_inputs=0"]
"""One call of the mutation for each input, and no preference for short records: both would leave little that
is still an event (1 % of inputs, with them 20 %)."""

ROUND = 50_000
"""Records of one life of a worker (`fold`): what it answers takes two seconds, whatever is read in it."""

REPORTED = 250_000
"""Inputs after which figures are printed."""

NUMBER = re.compile(r"[0-9]+")


def instrument(module: ModuleType) -> None:
    """Make every branch of the module's own functions count as an edge."""
    for thing in vars(module).values():
        if getattr(thing, "__module__", None) != module.__name__:
            continue
        members = vars(thing).values() if isinstance(thing, type) else [thing]
        for member in members:
            function = member.fget if isinstance(member, property) else member
            if isinstance(function, FunctionType) and function.__code__.co_filename == module.__file__:
                atheris.instrument_func(function)


class Target:
    """Counts what records come to; raises at the first for which something does not hold."""

    def __init__(self, inputs: int) -> None:
        self._inputs = inputs
        self._readers = readers()
        self._counts: Counter[str] = Counter()
        self._stages: Counter[str] = Counter()
        self._edges: dict[str, int] = {}
        self._done = 0
        self._counted = 0
        self._round: list[Sent] = []
        self._start = time.monotonic()
        self._code_edges = atheris._reserve_counter() - 1
        self._free = [atheris._reserve_counter() for _ in range(SIGHTS)]

    def __call__(self, record: bytes) -> None:
        """One input."""
        result, stage, counters = holds(record, self._readers)
        if isinstance(result, Event):
            self._counts["accepted"] += 1
            self._stages[stage] += 1
            for field in result.__struct_fields__:
                if getattr(result, field) is not None:
                    self._saw(field)
            for counter in counters:
                self._saw(f"{stage}/{counter}")
        else:
            self._counts[result.reason] += 1
            self._saw(NUMBER.sub("0", result.error))
        self._round.append((stage, *read(record)))
        self._done += 1
        if len(self._round) == ROUND or self._done == self._inputs:
            self._counted += fold(self._round)
            self._round = []
            gc.collect()  # a life is cycles: those of a few rounds took half a gigabyte
        if self._done == self._inputs or self._done % REPORTED == 0:
            self._report()

    def _saw(self, what: str) -> None:
        edge = self._edges.get(what)
        if edge is None:
            edge = self._edges[what] = self._free.pop()
        atheris._trace_branch(edge)

    def _report(self) -> None:
        figures = {
            "inputs": self._done,
            "seconds": time.monotonic() - self._start,
            "counts": self._counts,
            "counted": self._counted,
            "stages": self._stages,
            "edges": self._code_edges,
            "sights": len(self._edges),
        }
        print(json.dumps(figures), flush=True)


def _mutate(record: bytes, max_size: int, seed: int) -> bytes:
    if seed % 1000 < RAW_RATIO * 1000:
        return bytes(atheris.Mutate(record, max_size))
    return mutate(record, max_size, seed)


def main() -> None:
    """Run as `python -m tests.fuzz.target <inputs> <libFuzzer's options>`; never returns."""
    inputs = int(sys.argv[1])
    monitor.counting.event.MAX_BYTES = MAX_BYTES - 500  # so that records too large are met as well
    instrument(monitor.counting.event)
    instrument(monitor.counting.judging)
    options = [sys.argv[0], *sys.argv[2:], f"-runs={inputs}", f"-max_len={MAX_BYTES}", *GUIDANCE]
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
    atheris.Setup(options, Target(inputs), custom_mutator=_mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
