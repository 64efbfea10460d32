"""Text that nobody sees by accident: it is neither printed nor compared in time that tells of it."""

import hmac
from pathlib import Path

from streams.files import FileProblemError, content_of

MAX_SECRET_BYTES = 64 * 1024
"""A secret is a line; reading on in a large or endless file would hang the start."""


class Secret:
    """Text that no log, error or page may show; `reveal` is for the one who sends it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The secret itself."""
        return self._text

    def __repr__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash(self._text)


def first_line(path: Path) -> str:
    """What a file of one line holds; ValueError without the path, which could be a misplaced secret."""
    try:
        return content_of(path, MAX_SECRET_BYTES).decode().removesuffix("\n").removesuffix("\r")
    except FileProblemError as error:
        raise ValueError(error.problem) from None
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8 text") from None
