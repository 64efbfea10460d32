"""Waiting in tests: ask until it holds, or fail with what was seen last. Nothing here waits a fixed time."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PAUSE_S = 0.05


def until(probe: Callable[[], T], what: str, deadline_s: float = 60.0) -> T:
    """The first truthy answer of `probe`; AssertionError after `deadline_s`."""
    ends = time.monotonic() + deadline_s
    while True:
        answer = probe()
        if answer:
            return answer
        assert time.monotonic() < ends, f"not within {deadline_s:g} s: {what} (last answer {answer!r})"
        threading.Event().wait(PAUSE_S)
