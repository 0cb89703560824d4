"""Random pipelines of every schedule, for property tests."""

from typing import Any

from hypothesis import strategies as st

from simulator.spec.schedules import SCHEDULE_TRAITS


@st.composite
def pipelines(
    draw: st.DrawFn, max_pp: int = 5, max_virtual: int = 3, max_rounds: int = 4
) -> dict[str, Any]:
    """Draw the decisions of a plan that make up a legal pipeline."""
    name = draw(st.sampled_from(list(SCHEDULE_TRAITS)))
    traits = SCHEDULE_TRAITS[name]
    pp = draw(st.integers(1, max_pp))
    fewest = traits.fewest_chunks
    virtual_stages = draw(st.integers(fewest, max(fewest, min(traits.most_chunks, max_virtual))))
    least = traits.rounds_at_least * pp
    if traits.whole_rounds and virtual_stages > 1:
        n_microbatches = pp * draw(st.integers(1, max_rounds))
    else:
        n_microbatches = draw(st.integers(max(1, least), max(1, least) + max_rounds * pp))
    return {
        "schedule": name,
        "pp": pp,
        "virtual_stages": virtual_stages,
        "n_microbatches": n_microbatches,
    }
