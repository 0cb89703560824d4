from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.campaign.campaign_table import campaign_table
from simulator.campaign.closed_form import predict_campaign
from simulator.campaign.losses import Loss
from simulator.campaign.money import MoneyTerms
from simulator.campaign.power import PowerTerms
from simulator.campaign.removals import Removals
from simulator.campaign.rhythm import checkpoint_rhythm
from simulator.campaign.spare_pools import spare_terms
from simulator.campaign.terms import (
    CampaignTerms,
    Rate,
    TierTerms,
    campaign_terms,
)
from simulator.spec.economics import EconomicsSpec
from simulator.spec.errors import InputError, NoFeasiblePlan
from simulator.spec.job import JobSpec
from simulator.spec.plan import PlanSpec
from simulator.spec.prediction import StepPrediction
from simulator.spec.reliability import CheckpointTier, ReliabilitySpec
from simulator.spec.scenario import Scenario

DAY_S = 86400.0
STATE_BYTES = 405e9 * 14


def with_reliability(scenario: Scenario, **values: object) -> Scenario:
    reliability = ReliabilitySpec.model_validate(values)
    return scenario.model_copy(update={"reliability": reliability})


def test_fifty_four_days_of_llama_3(llama3: Scenario, plan: PlanSpec, step: StepPrediction) -> None:
    scenario = with_reliability(llama3, checkpoint_stall_s=20, restart_s=300)
    campaign = predict_campaign(scenario, plan, step, state_bytes=STATE_BYTES)
    per_day = campaign.expected_failures / (campaign.calendar_s / DAY_S)
    assert per_day == pytest.approx(419 / 54, rel=2e-3)
    assert campaign.checkpoint_interval_s == pytest.approx(654.12, abs=0.1)
    # reliability.md: 0.91624 where a checkpoint is safe at once; here its write takes 2.8 s.
    assert campaign.goodput == pytest.approx(0.91624 * np.exp(-2.835 / 11135), abs=2e-4)
    assert campaign.goodput_interval.low < campaign.goodput < campaign.goodput_interval.high
    # 405 B parameters of 14 bytes, 16,384 ways to write: milliseconds instead of 20 s.
    light = predict_campaign(llama3, plan, step, state_bytes=STATE_BYTES)
    assert light.goodput > campaign.goodput
    assert light.checkpoint_stall_s == pytest.approx(10 * 2**30 / 25e9)


def test_a_fixed_interval_is_kept(llama3: Scenario, plan: PlanSpec, step: StepPrediction) -> None:
    scenario = with_reliability(llama3, checkpoint_stall_s=0, restart_s=420)
    fixed = plan.model_copy(update={"checkpoint_interval_s": 1800.0})
    campaign = predict_campaign(scenario, fixed, step, state_bytes=1.0)
    assert campaign.checkpoint_interval_s == 1800
    assert campaign.goodput == pytest.approx(0.8872, abs=2e-4)


def test_goodput_and_losses_add_up(llama3: Scenario, plan: PlanSpec, step: StepPrediction) -> None:
    scenario = with_reliability(llama3, spares=24)
    campaign = predict_campaign(scenario, plan, step, state_bytes=STATE_BYTES)
    assert campaign.goodput + sum(campaign.losses.values()) == pytest.approx(1, abs=1e-9)
    assert campaign.losses["idle"] == pytest.approx(24 / (2048 + 24))
    assert campaign.losses["waiting_for_spares"] > 0
    hours = 16_384 * (2048 + 24) / 2048 * campaign.calendar_s / 3600
    assert campaign.device_hours == pytest.approx(hours)


def test_the_plan_may_bring_its_own_spares(
    llama3: Scenario, plan: PlanSpec, step: StepPrediction
) -> None:
    scenario = with_reliability(llama3, spares=24)
    more = plan.model_copy(update={"n_spare_nodes": 32})
    campaign = predict_campaign(scenario, more, step, state_bytes=STATE_BYTES)
    assert campaign.losses["idle"] == pytest.approx(32 / (2048 + 32))


RATE = Rate(per_device_s=0.4736e-3 / DAY_S)
STORE = CheckpointTier(
    name="store", survives="region", write_bandwidth_bytes_per_s=1e11, shared=True
)
TERMS = CampaignTerms(
    job=JobSpec(tokens=100_000 * 2**20, sequence_length=1024, global_batch_sequences=1024),
    devices_per_node=8,
    cores_per_node=96,
    input=None,
    causes=(),
    replayed={},
    failures=RATE,
    isolated=Rate(per_device_s=1e-9),
    recovery="wait",
    slow=(),
    warned=Rate(per_job_s=1 / DAY_S),
    planned_share=0.5,
    restart_s=300,
    restart_s_per_device=0.0,
    loads_at_restart=False,
    startup_s=200,
    usual_repair_s=2 * DAY_S,
    removals=Removals(
        per_device_s=RATE.per_device_s / 2, repair_s=2 * DAY_S, unpaid_share=0.0, n_crews=inf
    ),
    spares=spare_terms(ReliabilitySpec()),
    n_spare_nodes=None,
    slowdown=1.01,
    tiers=(TierTerms(spec=STORE, failures=RATE, undone_s=0.0),),
    device_copy_bytes_per_s=25e9,
    node_write_bytes_per_s=4e11,
    checkpoint_stall_s=None,
    stored_bytes=0.0,
    money=MoneyTerms(
        times_s=(0.0,),
        usd_per_device_hour=(4.0,),
        committed_s=0.0,
        usd_per_kwh=0.1,
        usd_per_s=0.01,
        usd_once=5.0,
    ),
    power=PowerTerms(
        busy_w=1000, communicating_w=900, idle_w=200, spare_w=200, pue=1.1, kg_co2_per_kwh=0.4
    ),
    assumptions=(),
)


@given(
    n_ranks=st.lists(st.integers(1, 10**6), min_size=1, max_size=5),
    step_s=st.floats(1e-3, 100),
    interval_s=st.sampled_from([0.0, 30.0, 3600.0]),
    spares=st.sampled_from([None, 0, 4, 400]),
)
def test_device_time_is_conserved(
    n_ranks: list[int], step_s: float, interval_s: float, spares: int | None
) -> None:
    rhythm = checkpoint_rhythm(
        TERMS,
        n_ranks=n_ranks,
        step_s=step_s,
        state_bytes=1e12,
        held_bytes=1e10,
        interval_s=interval_s,
    )
    table = campaign_table(TERMS, rhythm, n_ranks=n_ranks, step_s=step_s, n_spare_nodes=spares)
    total = table.goodput + sum(table.losses.values())
    assert total == pytest.approx(np.ones(len(n_ranks)), abs=1e-9)
    assert all(np.all(share >= 0) for share in table.losses.values())
    assert np.all(table.device_hours * table.goodput < np.inf)


def test_one_row_is_one_plan() -> None:
    ranks = np.array([1024, 16_384, 131_072])
    rhythm = checkpoint_rhythm(TERMS, n_ranks=ranks, step_s=4.0, state_bytes=1e12, held_bytes=1e10)
    table = campaign_table(TERMS, rhythm, n_ranks=ranks, step_s=4.0)
    assert np.all(np.diff(table.goodput) < 0)
    for row, n in enumerate(ranks):
        alone_rhythm = checkpoint_rhythm(
            TERMS, n_ranks=n, step_s=4.0, state_bytes=1e12, held_bytes=1e10
        )
        alone = campaign_table(TERMS, alone_rhythm, n_ranks=n, step_s=4.0)
        assert alone.calendar_s[0] == table.calendar_s[row]
        assert alone.losses[Loss.LOST_WORK][0] == table.losses[Loss.LOST_WORK][row]


def test_a_save_waits_for_the_one_before_it() -> None:
    # 10 TB over 100 GB/s take 100 s; saving every 30 s stalls for the other 70.
    rhythm = checkpoint_rhythm(
        TERMS, n_ranks=16_384, step_s=1.0, state_bytes=1e13, held_bytes=0.0, interval_s=30.0
    )
    assert rhythm.tiers[0].persist_s == pytest.approx(100)
    assert rhythm.tiers[0].stall_s == pytest.approx(70)
    best = checkpoint_rhythm(TERMS, n_ranks=16_384, step_s=1.0, state_bytes=1e13, held_bytes=0.0)
    assert best.tiers[0].interval_s == pytest.approx(100)
    assert best.tiers[0].stall_s == 0


def test_nothing_fails(llama3: Scenario, plan: PlanSpec, step: StepPrediction) -> None:
    scenario = with_reliability(
        llama3, failures_per_device_day=0, restart_s=0, checkpoint_stall_s=0
    )
    campaign = predict_campaign(scenario, plan, step, state_bytes=STATE_BYTES)
    assert campaign.goodput == pytest.approx(1, abs=1e-15)
    assert campaign.expected_failures == 0
    assert campaign.calendar_s == pytest.approx(4.5 * llama3.job.n_steps)
    assert set(campaign.losses.values()) == {0.0}
    assert campaign.cost_usd == pytest.approx(campaign.device_hours * 3.99)


def test_unknown_prices_and_power_are_not_zero(
    llama3: Scenario, plan: PlanSpec, step: StepPrediction
) -> None:
    device = llama3.cluster.device.model_copy(update={"name": "secret-chip", "tdp_w": 0.0})
    cluster = llama3.cluster.model_copy(update={"device": device})
    scenario = llama3.model_copy(update={"cluster": cluster})
    campaign = predict_campaign(scenario, plan, step, state_bytes=STATE_BYTES)
    assert campaign.cost_usd is None
    assert campaign.energy_j is None
    assert campaign.co2_kg is None
    assert any("price" in sentence for sentence in campaign.assumptions)


def test_unknown_price_list(llama3: Scenario) -> None:
    scenario = llama3.model_copy(update={"economics": EconomicsSpec(price="lamda-2026-09")})
    with pytest.raises(InputError, match=r"economics\.price: .*did you mean lambda-2026-09"):
        campaign_terms(scenario)


def test_a_campaign_that_never_finishes_says_why(
    llama3: Scenario, plan: PlanSpec, step: StepPrediction
) -> None:
    hopeless = with_reliability(llama3, failures_per_device_day=1, restart_s=60)
    with pytest.raises(NoFeasiblePlan, match=r"a restart takes 60 s and something fails every 5"):
        predict_campaign(hopeless, plan, step, state_bytes=STATE_BYTES)
    slow = with_reliability(llama3, restart_s=3.2 * 3600)
    campaign = predict_campaign(slow, plan, step, state_bytes=STATE_BYTES)
    assert any("longer than the time between failures" in line for line in campaign.assumptions)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            {"repair_crews": 30},
            "the closed form takes repairs that queue for a crew as exponential",
        ),
        (
            {"recovery": "replan"},
            "the closed form lets every node that is left do as much as before under a new plan",
        ),
    ],
)
def test_what_the_closed_form_leaves_out_is_said(
    llama3: Scenario,
    plan: PlanSpec,
    step: StepPrediction,
    values: dict[str, object],
    sentence: str,
) -> None:
    for asked, said in ((values, True), ({}, False)):
        scenario = with_reliability(llama3, spares=24, **asked)
        campaign = predict_campaign(scenario, plan, step, state_bytes=STATE_BYTES)
        assert (sentence in campaign.assumptions) is said
