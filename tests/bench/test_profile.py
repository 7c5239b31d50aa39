"""`make profile` wraps the service's parts by name, from outside."""

from __future__ import annotations

from tests.bench.profile import STAGES, places


def test_every_part_that_is_profiled_is_there_and_belongs_to_a_stage_of_the_table() -> None:
    """A method that is renamed in the service fails here, not in somebody's hour of measuring."""
    missing = [(owner, name) for parts in places().values() for owner, name in parts if not callable(vars(owner)[name])]

    assert missing == []
    assert set(places()) <= set(STAGES)
