"""Waiting in tests: ask until it holds, or fail with what was seen last. Nothing here waits a fixed time."""

import threading
import time
from collections.abc import Callable
from http.client import HTTPException
from typing import TypeVar
from urllib.error import HTTPError, URLError

T = TypeVar("T")

PAUSE_S = 0.05
MOST_PAUSE_S = 1.0


def until(probe: Callable[[], T], what: str, deadline_s: float = 60.0) -> T:
    """The first truthy answer of `probe`; AssertionError after `deadline_s`.

    A probe that reaches nobody is made again: whom it asks may be starting, or too busy to listen. One that
    takes long is made less often: asked without a pause, a worker would do nothing but answer.
    """
    ends = time.monotonic() + deadline_s
    while True:
        began = time.monotonic()
        try:
            answer = probe()
        except HTTPError:
            raise
        except (URLError, ConnectionError, HTTPException, TimeoutError) as error:
            said = repr(error)
        else:
            if answer:
                return answer
            said = repr(answer)
        now = time.monotonic()
        assert now < ends, f"not within {deadline_s:g} s: {what} (last answer {said})"
        threading.Event().wait(min(max(PAUSE_S, now - began), MOST_PAUSE_S))
