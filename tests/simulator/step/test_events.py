"""The event simulation against numbers reckoned by hand and against independent oracles."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.cost.step_costs import LayerCosts, StepCosts
from simulator.schedule import Kind, actions_of, make_schedule
from simulator.schedule.timeline import finish_times
from simulator.spec.errors import InputError
from simulator.spec.plan import PlanSpec
from simulator.step.events import EventStep, simulate_step
from tests.simulator.pipelines import pipelines
from tests.simulator.step.price_list import column, edge, layer, model, step_costs, with_edges


def simulate(plan: PlanSpec, costs: StepCosts, n_layers: int | None = None) -> EventStep:
    return simulate_step(costs, plan, model(n_layers or plan.n_chunks))


LAYER = layer(1.0, 2.0)


@st.composite
def plans(draw: st.DrawFn) -> PlanSpec:
    zero = draw(st.sampled_from([0, 1, 3]))
    return PlanSpec(**draw(pipelines()), dp_shard=2 if zero else 1, zero_stage=zero)


@st.composite
def prices(draw: st.DrawFn, plan: PlanSpec) -> StepCosts:
    time = st.floats(0.0, 2.0)
    share = st.floats(0.0, 1.0)
    priced = layer(
        draw(time),
        draw(time),
        recompute_s=draw(time),
        tp_s=draw(time),
        reduce_s=draw(time),
        gather_s=draw(time) if plan.zero_stage else 0.0,
    )
    costs = step_costs(
        priced,
        p2p_s=draw(time) if plan.pp > 1 else 0.0,
        p2p_overlap=draw(share),
        dp_overlap=draw(share),
        gather_once_overlap=draw(share),
        dp_contention=draw(st.floats(0.0, 0.5)),
        gather_every_pass=plan.zero_stage == 3,
        reduce_every_microbatch=plan.zero_stage == 3,
        optimizer_s=draw(time),
        step_constant_s=draw(time),
        scale_factor=draw(st.floats(1.0, 1.5)),
    )
    return with_edges(costs, embedding=edge(draw(time), draw(time)), head=edge(draw(time)))


@given(st.data())
def test_breakdown_adds_up_and_no_rank_loses_time(data: st.DataObject) -> None:
    plan = data.draw(plans())
    costs = data.draw(prices(plan))
    step = simulate(plan, costs)
    assert step.breakdown.total_s == pytest.approx(step.step_s, rel=1e-9)
    assert min(seconds for _, seconds in step.breakdown.parts()) >= -1e-12
    ready_s = step.ranks[step.critical_rank].finished_s
    for rank in step.ranks:
        assert rank.busy_s + rank.communication_s + rank.idle_s == pytest.approx(ready_s, rel=1e-9)


@given(plans(), st.floats(0.1, 3.0), st.floats(0.1, 3.0))
def test_without_communication_it_is_the_ideal_time_line(
    plan: PlanSpec, forward_s: float, backward_s: float
) -> None:
    step = simulate(plan, step_costs(layer(forward_s, backward_s)))
    durations: dict[Kind, float] = {
        "F": forward_s,
        "B": backward_s,
        "I": backward_s / 2,
        "W": backward_s / 2,
    }
    assert step.step_s == pytest.approx(max(finish_times(actions_of(plan), durations)))


@pytest.mark.parametrize(("overlap", "step_s"), [(0.0, 10.5), (1.0, 10.0)])
def test_transfers_worked_number(overlap: float, step_s: float) -> None:
    """Two ranks, two microbatches, F 1 s, B 2 s, transfer 0.5 s.

    Blocking: rank 0 F0 0-1, sends to 1.5, F1 1.5-2.5; rank 1 F0 1.5-2.5, B0 2.5-4.5, sends to 5,
    F1 5-6, B1 6-8, sends to 8.5; rank 0 B0 5-7, B1 8.5-10.5. Overlapped: rank 1 F1 follows B0 at
    once, B1 ends at 7.5 and is there at 8.
    """
    plan = PlanSpec(pp=2, n_microbatches=2)
    step = simulate(plan, step_costs(LAYER, p2p_s=0.5, p2p_overlap=overlap))
    assert step.step_s == pytest.approx(step_s)


def test_two_transfers_in_the_same_direction_share_the_link() -> None:
    """Chunk 0's forward and chunk 2's backward both leave rank 0 for rank 1."""
    plan = PlanSpec(pp=2, virtual_stages=2, schedule="interleaved-1f1b", n_microbatches=2)
    step = simulate(plan, step_costs(layer(1.0, 1.0), p2p_s=10.0, p2p_overlap=1.0))
    # 0F0 0-1, 0F1 1-2 and their transfers 1-11, 11-21: the second waits for the first, so 1F1
    # ends at 22 and not at 13; with 3 crossings forward and 3 back behind it, and 2 s of work each.
    assert step.step_s == pytest.approx(22 + 2 * 10 + 2 + 3 * 10 + 4)


def test_weights_gathered_once_a_step_and_gradients_reduced_once() -> None:
    """Nothing hides the first layer's gather (0.25 s) and the last reduction (0.5 s)."""
    plan = PlanSpec(dp_shard=2, zero_stage=1, n_microbatches=8)
    costs = step_costs(layer(1.0, 2.0, reduce_s=0.5, gather_s=0.25))
    step = simulate(plan, costs, n_layers=4)
    assert step.step_s == pytest.approx(8 * 4 * 3.0 + 0.25 + 0.5)
    assert step.breakdown.dp_s == pytest.approx(0.75)


def test_nothing_hides_without_overlap() -> None:
    plan = PlanSpec(dp_shard=2, zero_stage=1, n_microbatches=8)
    costs = step_costs(layer(1.0, 2.0, reduce_s=0.5, gather_s=0.25), dp_overlap=0.0)
    step = simulate(plan, costs, n_layers=4)
    assert step.breakdown.dp_s == pytest.approx(4 * 0.75)


def test_weights_gathered_once_may_hide_less_than_gradients() -> None:
    """Gradients show at the end only (0.5 s), the weights of all four layers stand alone (1 s)."""
    plan = PlanSpec(dp_shard=2, zero_stage=1, n_microbatches=8)
    priced = layer(1.0, 2.0, reduce_s=0.5, gather_s=0.25)
    step = simulate(plan, step_costs(priced, gather_once_overlap=0.0), n_layers=4)
    assert step.breakdown.dp_s == pytest.approx(0.5 + 4 * 0.25)


def test_reduction_longer_than_the_backward_beside_it() -> None:
    """Reductions of 3 s behind backwards of 2 s: 4 x 3 s begin after the first backward."""
    step = simulate(PlanSpec(dp_replicate=2), step_costs(layer(1.0, 2.0, reduce_s=3.0)), 4)
    assert step.step_s == pytest.approx(4 * 1.0 + 2.0 + 4 * 3.0)


def test_weights_gathered_for_every_pass_hide_behind_the_layer_before() -> None:
    """Gathers of 0.5 s behind layers of 1 s: only the first of the step shows."""
    plan = PlanSpec(dp_shard=2, zero_stage=3)
    costs = step_costs(layer(1.0, 2.0, gather_s=0.5), gather_every_pass=1.0)
    step = simulate(plan, costs, n_layers=4)
    assert step.breakdown.dp_s == pytest.approx(0.5)


def test_gathers_longer_than_layers_set_the_pace() -> None:
    """Forward: 4 gathers of 3 s. Layer 3 is gathered again beside its forward: 3 more and 3 x 3 s
    for the others, and the last layer's backward of 2 s.
    """
    plan = PlanSpec(dp_shard=2, zero_stage=3)
    costs = step_costs(layer(1.0, 2.0, gather_s=3.0), gather_every_pass=1.0)
    assert simulate(plan, costs, n_layers=4).step_s == pytest.approx(12.0 + 12.0 + 2.0)


def test_later_chunks_reduce_earlier_with_interleaving() -> None:
    """The same traffic shows less when most chunks are done before the last backward."""
    priced = layer(1.0, 2.0, reduce_s=6.0)
    plain = PlanSpec(pp=2, n_microbatches=8)
    interleaved = PlanSpec(pp=2, virtual_stages=4, schedule="interleaved-1f1b", n_microbatches=8)
    exposed = [simulate(p, step_costs(priced), 8).breakdown.dp_s for p in (plain, interleaved)]
    assert exposed[1] < exposed[0]


def test_contention_slows_compute_beside_collectives() -> None:
    """Reductions of 1 s beside three of four backwards of 2 s, which lose half their speed then."""
    plan = PlanSpec(dp_replicate=2)
    prices = (step_costs(layer(1.0, 2.0, reduce_s=1.0), dp_contention=c) for c in (0.0, 0.5))
    free, slowed = (simulate(plan, costs, 4) for costs in prices)
    assert slowed.step_s == pytest.approx(free.step_s + 3 * 0.5)
    assert slowed.breakdown.dp_s == pytest.approx(1.0 + 1.5)


def test_the_slowest_stage_paces_the_pipeline() -> None:
    """Three stages of 1, 2 and 1 layers: the middle one works 10 x 6 s.

    Before and behind it stand one pass each of the first stage (1 + 2 s), and it waits 1 s for its
    first gradient: 3 s through the last stage, less the 2 s of a forward run ahead.
    """
    plan = PlanSpec(pp=3, n_microbatches=10, layers_per_chunk=(1, 2, 1))
    assert simulate(plan, step_costs(LAYER), 4).step_s == pytest.approx(3.0 + 60.0 + 1.0)


def test_mixture_layers_have_their_own_price() -> None:
    from simulator.spec.model import MoeSpec

    moe = MoeSpec(n_experts=4, top_k=1, expert_ffn_size=64, n_dense_layers=1)
    shape = model(4).model_copy(update={"moe": moe})
    costs = replace(step_costs(LAYER), moe=layer(10.0, 20.0))
    assert simulate_step(costs, PlanSpec(), shape).step_s == pytest.approx(3.0 + 3 * 30.0)


def test_further_predicted_tokens_pass_through_one_more_layer_and_head() -> None:
    shape = model(2).model_copy(update={"n_mtp_layers": 1})
    costs = with_edges(step_costs(LAYER), embedding=edge(), head=edge(0.25, 0.5, reduce_s=1.0))
    assert simulate_step(costs, PlanSpec(), shape).step_s == pytest.approx(3 * 3.0 + 2 * 0.75)


def test_scale_and_constants_stand_behind_everything() -> None:
    costs = step_costs(LAYER, optimizer_s=0.5, step_constant_s=0.25, scale_factor=1.1)
    step = simulate(PlanSpec(), costs)
    assert step.step_s == pytest.approx(1.1 * 3.5 + 0.25)
    assert step.breakdown.optimizer_s == 0.5
    assert step.breakdown.other_s == pytest.approx(0.25 + 0.35)


@pytest.mark.parametrize("name", ["zero-bubble", "zb-v", "dualpipe-v"])
def test_put_off_weight_gradients_shorten_a_step(name: str) -> None:
    """Of 4 ranks with 2 chunks, 3 x 3 s of idle time shrink to 3 x 1 s."""
    plan = PlanSpec(pp=4, virtual_stages=2, schedule="interleaved-1f1b", n_microbatches=8)
    other = make_schedule(name, 4, 2, 8)
    costs = step_costs(LAYER)
    plain = simulate(plan, costs)
    placed = plan.model_copy(update={"schedule": name})
    split = simulate_step(costs, placed, model(8), schedule=other)
    assert plain.step_s == pytest.approx(16 * 3.0 + 9.0)
    assert split.step_s == pytest.approx(16 * 3.0 + 3.0)
    assert split.breakdown.total_s == pytest.approx(split.step_s)


def test_a_schedule_for_another_plan_is_refused() -> None:
    with pytest.raises(InputError, match="schedule 1f1b is for"):
        simulate_step(
            step_costs(LAYER), PlanSpec(pp=2), model(2), schedule=make_schedule("1f1b", 2, 1, 2)
        )


@given(st.data())
def test_slower_parts_never_make_a_step_faster(data: st.DataObject) -> None:
    plan = data.draw(plans())
    costs = data.draw(prices(plan))
    slower_layer: LayerCosts = replace(costs.dense, reduce_s=costs.dense.reduce_s + 0.5)
    slower = replace(costs, dense=slower_layer, p2p_s=costs.p2p_s + column(0.1))
    assert simulate(plan, slower).step_s >= simulate(plan, costs).step_s - 1e-9
