"""What is committed beside an offset is read back, and tells a changelog that was lost."""

import pytest

from streams.engine.commitment import Commitment

BEFORE = Commitment("source-1", "changelog-1", 0)
NOW_MS = 1_777_888_999_123


@pytest.mark.parametrize(
    "said", [BEFORE, Commitment("source-1", "", 0), BEFORE._replace(whole_since_ms=NOW_MS)]
)
def test_what_is_written_is_read(said: Commitment) -> None:
    """Nothing is added, nothing is lost."""
    assert Commitment.read(said.write()) == said


def test_older_versions_and_brokers_are_read() -> None:
    """They wrote the topic's id alone, or nothing: nothing is known of a changelog, so none is lost."""
    assert Commitment.read("source-1") == Commitment("source-1", "", 0)
    assert Commitment.read("") == Commitment()
    assert Commitment().write() == ""
    for foreign in ("set by hand", "a:b:c", "::", "a:b:" + "9" * 14, "a:b:-1"):
        assert Commitment.read(foreign) == Commitment(foreign)
    assert Commitment.read("source-1").of("source-1", "changelog-1", NOW_MS) == BEFORE


def test_another_changelog_is_a_lost_one() -> None:
    """From then on the time stays, until the next one is lost; what nobody knows changes nothing."""
    lost = BEFORE.of("source-1", "changelog-2", NOW_MS)
    assert lost == Commitment("source-1", "changelog-2", NOW_MS)
    assert lost.of("source-1", "changelog-2", NOW_MS + 1) == lost
    assert lost.of("source-1", "changelog-3", NOW_MS + 1).whole_since_ms == NOW_MS + 1
    assert BEFORE.of("source-2", "changelog-1", NOW_MS) == BEFORE._replace(topic_id="source-2")
    assert BEFORE.of(None, None, NOW_MS) == BEFORE
