"""What `touchpoint journey` says in words."""

from streams.commands.journey import why_missed


def test_what_made_a_journey_miss_its_goal() -> None:
    """Where nothing went wrong that anybody saw it says so, instead of "failed by none none"."""
    assert why_missed("stage", "web_checkout") == "failed by stage web_checkout"
    assert why_missed("none", "none").startswith("missed its goal, though no encounter was bad")
