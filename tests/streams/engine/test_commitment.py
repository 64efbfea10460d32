"""What is committed beside an offset is read back, and tells a changelog that was lost."""

import pytest

from streams.engine.commitment import Changelog, Commitment

BEFORE = Commitment("source-1", Changelog("changelog-1"), Changelog("kept-1"))
NOW_MS = 1_777_888_999_123
LOST = Changelog("changelog-2", NOW_MS)


@pytest.mark.parametrize(
    "said", [BEFORE, Commitment("source-1"), BEFORE._replace(changelog=LOST), BEFORE._replace(journeys=LOST)]
)
def test_what_is_written_is_read(said: Commitment) -> None:
    """Nothing is added, nothing is lost."""
    assert Commitment.read(said.write()) == said


def test_older_versions_and_brokers_are_read() -> None:
    """They wrote the topic's id alone, or nothing: nothing is known of a changelog, so none is lost."""
    assert Commitment.read("source-1") == Commitment("source-1")
    assert Commitment.read("source-1:changelog-1:0") == Commitment("source-1", Changelog("changelog-1"))
    assert Commitment.read("") == Commitment()
    assert Commitment().write() == ""
    for foreign in ("set by hand", "a:b:c", "::", "a:b:" + "9" * 14, "a:b:-1", "a:b:1:c", "a:b:1:c:x"):
        assert Commitment.read(foreign) == Commitment(foreign)
    assert Commitment.read("source-1").now("source-1", "changelog-1", "kept-1", NOW_MS) == BEFORE


def test_another_changelog_is_a_lost_one() -> None:
    """From then on the time stays, until the next one is lost; what nobody knows changes nothing."""
    lost = BEFORE.now("source-1", "changelog-2", "kept-1", NOW_MS)
    assert lost == BEFORE._replace(changelog=LOST)
    assert lost.now("source-1", "changelog-2", "kept-1", NOW_MS + 1) == lost
    assert lost.now("source-1", "changelog-3", "kept-1", NOW_MS + 1).whole_since_ms == NOW_MS + 1
    assert BEFORE.now("source-2", "changelog-1", "kept-1", NOW_MS) == BEFORE._replace(topic_id="source-2")
    assert BEFORE.now("source-1", "changelog-1", "kept-2", NOW_MS).journeys == Changelog("kept-2", NOW_MS)
    assert BEFORE.now(None, None, None, NOW_MS) == BEFORE
