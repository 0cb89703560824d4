"""What a site must have: spares by Erlang's formula, power, network and storage by hand."""

import pytest

from simulator.campaign.predict import predict
from simulator.campaign.site import enough_spares, site_needs
from simulator.campaign.terms import campaign_terms
from simulator.catalog.scenario_file import scenario_from_flags
from simulator.spec.errors import NoFeasiblePlan
from simulator.spec.plan import PlanSpec
from simulator.spec.reliability import ReliabilitySpec
from simulator.spec.scenario import Scenario
from simulator.spec.site import SiteNeeds
from tests.simulator.campaign.erlang import waiting_share

PLAN = PlanSpec(dp_shard=16, zero_stage=1, n_microbatches=64)
VIDEO = (
    "input={dataset_bytes: 1 PB, bytes_per_token: 20000, store_bandwidth_bytes_per_s: 1 GB/s, "
    "node_bandwidth_bytes_per_s: 5 GB/s, decode_tokens_per_core_s: 500}"
)


def needs(*overrides: str) -> SiteNeeds:
    scenario = scenario_from_flags(model="llama3-8b", cluster="h100-sxm:16", overrides=overrides)
    return site_needs(scenario, PLAN, predict(scenario, PLAN).campaign)


def test_nodes_power_network_and_storage() -> None:
    site = needs("reliability.spares=1", "economics.pue=1.2", "economics.idle_power=100")
    assert (site.nodes, site.spare_nodes) == (2, 1)
    # Two nodes of 8 x 700 W + 4.6 kW; a warm spare of 8 x 100 W and 0.55 of the rest of its node.
    idle_share = (1512 - 8 * 63) / (5040 - 8 * 400)
    busy_w, spare_w = 2 * (8 * 700 + 4600), 8 * 100 + idle_share * 4600
    assert site.power_w == pytest.approx(1.2 * (busy_w + spare_w))
    assert site.node_network_bytes_per_s == 8 * 400e9 / 8
    assert site.checkpoint_bytes == pytest.approx(8.03e9 * 14, rel=1e-3)
    assert site.storage_bytes == 2 * site.checkpoint_bytes
    assert site.store_read_bytes_per_s is None
    assert site.reader_hosts == 0


def test_spares_at_hand_draw_their_power_elsewhere() -> None:
    site = needs("economics.pue=1.2")
    assert site.spares_at_hand
    assert site.spare_nodes > 0
    assert site.power_w == pytest.approx(1.2 * 2 * (8 * 700 + 4600))
    assert not needs("reliability.spares=1").spares_at_hand


def test_data_and_tiers_of_every_node() -> None:
    tier = "[{name: disk, survives: region, write_bandwidth_bytes_per_s: 3 GB/s}]"
    site = needs(f"reliability.checkpoint_tiers={tier}", VIDEO)
    assert site.store_write_bytes_per_s == 2 * 3e9
    assert site.storage_bytes == pytest.approx(1e15 + 2 * site.checkpoint_bytes)
    assert site.store_read_bytes_per_s is not None
    assert site.store_read_bytes_per_s > 1e9
    assert site.reader_hosts > 0


def test_data_that_hardly_arrive_are_the_cause_of_a_training_that_never_finishes() -> None:
    with pytest.raises(NoFeasiblePlan, match=r"never finishes: .*% of the time is .* for data"):
        needs(VIDEO.replace("500}", "1}"))


def test_spares_at_hand_are_enough_for_99_percent_of_the_time(llama3: Scenario) -> None:
    """Failures of 3.79e-3 a node and day and repairs of 2 days: 15.52 nodes are away on average."""
    asked = ReliabilitySpec(
        failures_per_device_day=3.79e-3 / 8, repair_s=2 * 86400.0, profile="none"
    )
    terms = campaign_terms(llama3.model_copy(update={"reliability": asked}))
    spares = enough_spares(terms, 2048)
    assert waiting_share(15.52, spares) <= 0.01 < waiting_share(15.52, spares - 1)
