"""Polling goes on while nobody answers, and says at its end what was seen last."""

from email.message import Message
from http.client import IncompleteRead
from urllib.error import HTTPError, URLError

import pytest

from tests.kit.polling import until


@pytest.mark.parametrize(
    "error",
    [URLError("refused"), ConnectionResetError(), IncompleteRead(b""), TimeoutError()],
    ids=lambda error: type(error).__name__,
)
def test_nobody_there_is_asked_again(error: Exception) -> None:
    """As a worker that starts anew is not."""
    answers: list[object] = [error, 0, 7]

    def probe() -> object:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert until(probe, "an answer") == 7
    with pytest.raises(AssertionError, match=r"not within 0 s: an answer \(last answer None\)"):
        until(lambda: None, "an answer", 0)


def test_an_error_that_is_an_answer_ends_the_polling() -> None:
    """Who says 404 is there."""

    def probe() -> None:
        raise error

    with HTTPError("http://127.0.0.1/", 404, "Not Found", Message(), None) as error, pytest.raises(HTTPError):
        until(probe, "an answer")
