from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from simulator.campaign.bill import J_PER_KWH, Bill, bill
from simulator.campaign.money import MONTH_S, money_terms
from simulator.campaign.power import PowerTerms
from simulator.campaign.terms import campaign_terms
from simulator.catalog import find_grid
from simulator.spec.economics import EconomicsSpec
from simulator.spec.price import PriceProfile
from simulator.spec.reliability import ReliabilitySpec
from simulator.spec.scenario import Scenario

# Grid, device hours, W, MWh (hours x W) and t CO2e as printed in model cards: Meta's
# (meta-llama/llama-models@a9c89c4), BLOOM's dynamic part (arXiv 2211.02001) and, for its energy
# alone, DeepSeek-V3's. The 12.9 t of Llama 3.3 are a slip of its card (as many hours as 3.1 70B).
MODEL_CARDS = [
    ("Llama 3 8B", "us-average-2023", 1.3e6, 700, 910, 390),
    ("Llama 3 70B", "us-average-2023", 6.4e6, 700, 4480, 1900),
    ("Llama 3.1 8B", "us-average-2024", 1.46e6, 700, 1022, 420),
    ("Llama 3.1 70B", "us-average-2024", 7.0e6, 700, 4900, 2040),
    ("Llama 3.1 405B", "us-average-2024", 30.84e6, 700, 21588, 8930),
    ("Llama 3.2 1B", "us-average-2024", 370e3, 700, 259, 107),
    ("Llama 3.2 3B", "us-average-2024", 460e3, 700, 322, 133),
    ("Llama 3.2-Vision 11B", "us-average-2024", 246_120, 700, 172.28, 71),
    ("Llama 3.2-Vision 90B", "us-average-2024", 1_775_120, 700, 1242.58, 513),
    ("Llama 3.3 70B", "us-average-2024", 7.0e6, 700, 4900, None),
    ("BLOOM 176B", "france-2022", 1_082_990, 400, 433.196, 24.69),
    ("DeepSeek-V3", "zero-carbon", 2_664_000, 700, 1864.8, 0),
]


def billed(
    scenario: Scenario,
    *,
    device_s: float,
    busy_share: float = 1.0,
    calendar_s: float = 1.0,
    spare_share: float = 0.0,
    communication_share: float = 0.0,
    **terms: object,
) -> Bill:
    """Bill one campaign of the scenario, some of its terms replaced."""
    return bill(
        replace(campaign_terms(scenario), **terms),  # type: ignore[arg-type]
        device_s=np.array([device_s]),
        calendar_s=np.array([calendar_s]),
        busy_share=np.array([busy_share]),
        spare_share=spare_share,
        communication_share=communication_share,
    )


def power_of(*, busy_w: float, idle_w: float = 0.0, pue: float = 1.0, grid: str) -> PowerTerms:
    return PowerTerms(
        busy_w=busy_w,
        communicating_w=busy_w / 2,
        idle_w=idle_w,
        spare_w=0.0,
        pue=pue,
        kg_co2_per_kwh=find_grid(grid).kg_co2_per_kwh,
    )


def drawing(scenario: Scenario, **economics: object) -> Scenario:
    """Return the scenario with devices alone, or what else the economics say, drawing power."""
    host = scenario.cluster.host.model_copy(update={"power_w": 0.0})
    changes = {
        "cluster": scenario.cluster.model_copy(update={"host": host}),
        "economics": EconomicsSpec.model_validate(economics),
    }
    return scenario.model_copy(update=changes)


@pytest.mark.parametrize(("model", "grid", "hours", "watts", "mwh", "tonnes"), MODEL_CARDS)
def test_energy_and_carbon_of_model_cards(
    llama3: Scenario,
    model: str,
    grid: str,
    hours: float,
    watts: float,
    mwh: float,
    tonnes: float | None,
) -> None:
    pue = 1.08 if model.startswith("Llama") else 1.0  # BLOOM counts its infrastructure apart
    of_card = drawing(llama3, device_power=watts, pue=pue, grid=grid)
    total = billed(of_card, device_s=hours * 3600)
    assert total.energy_j is not None
    assert total.co2_kg is not None
    assert total.energy_j[0] / J_PER_KWH / 1000 / pue == pytest.approx(mwh, rel=1e-3)
    if tonnes is not None:
        assert total.co2_kg[0] / 1000 == pytest.approx(tonnes, rel=0.012)


def test_infrastructure_of_bloom_draws_whether_devices_are_busy_or_not(llama3: Scenario) -> None:
    """256,646 kWh beside the devices' 433,196 in 1,082,990 device-hours: 237 W a device, 14.6 t."""
    hours = 1_082_990
    bloom = drawing(
        llama3,
        device_power=400,
        idle_power=0,
        fabric_power_per_device=256_646 * 1000 / hours,
        pue=1.0,
        grid="france-2022",
    )
    busy = billed(bloom, device_s=hours * 3600)
    idle = billed(bloom, device_s=hours * 3600, busy_share=0.0)
    for bill_, kwh, tonnes in ((busy, 433_196 + 256_646, 24.69 + 14.6), (idle, 256_646, 14.6)):
        assert bill_.energy_j is not None
        assert bill_.co2_kg is not None
        assert bill_.energy_j[0] / J_PER_KWH == pytest.approx(kwh, rel=1e-4)
        assert bill_.co2_kg[0] / 1000 == pytest.approx(tonnes, rel=2e-3)


def test_money_of_llama_3_1_405b(llama3: Scenario) -> None:
    total = billed(llama3, device_s=30.84e6 * 3600, calendar_s=30.84e6 * 3600 / 16_384)
    assert total.cost_usd is not None
    assert total.cost_usd[0] == pytest.approx(123e6, rel=0.01)


def test_idle_devices_draw_less(llama3: Scenario) -> None:
    terms = campaign_terms(llama3)
    half = billed(llama3, device_s=1.0, busy_share=0.5)
    assert terms.power is not None
    assert half.energy_j is not None
    assert half.energy_j[0] == pytest.approx(1.1 * (terms.power.busy_w + terms.power.idle_w) / 2)
    # Acme: an idle A100 server draws 0.3 of a busy one.
    assert 0.2 < terms.power.idle_w / terms.power.busy_w < 0.4


def test_cold_spares_draw_nothing(llama3: Scenario) -> None:
    cold = llama3.model_copy(update={"reliability": ReliabilitySpec(spare_kind="cold")})
    warm_power, cold_power = campaign_terms(llama3).power, campaign_terms(cold).power
    assert warm_power is not None
    assert cold_power is not None
    assert warm_power.spare_w == warm_power.idle_w == cold_power.idle_w
    assert cold_power.spare_w == 0
    energies = [
        billed(scenario, device_s=1.0, busy_share=0.5, spare_share=0.5).energy_j
        for scenario in (llama3, cold)
    ]
    assert energies[0] is not None
    assert energies[1] is not None
    assert energies[0][0] - energies[1][0] == pytest.approx(1.1 * 0.5 * warm_power.idle_w)


def test_what_never_ends_costs_everything(llama3: Scenario) -> None:
    endless = billed(llama3, device_s=np.inf, calendar_s=np.inf, busy_share=0.0)
    assert endless.cost_usd is not None
    assert endless.energy_j is not None
    assert np.isposinf([endless.cost_usd[0], endless.energy_j[0]]).all()


def test_devices_that_only_communicate_draw_less_if_one_says_so(llama3: Scenario) -> None:
    power = power_of(busy_w=1000, grid="france-2022")
    quarter = billed(llama3, device_s=100.0, communication_share=0.5, power=power)
    assert quarter.energy_j is not None
    assert quarter.energy_j[0] == pytest.approx(100 * 750)


def usd(scenario: Scenario, *, device_s: float, calendar_s: float, **economics: object) -> float:
    spec = EconomicsSpec.model_validate(economics)
    changed = scenario.model_copy(update={"economics": spec})
    total = billed(changed, device_s=device_s, calendar_s=calendar_s)
    assert total.cost_usd is not None
    return float(total.cost_usd[0])


def test_prices_that_change(llama3: Scenario) -> None:
    hour = 3600.0
    series = [
        {"from_s": 0, "usd_per_device_hour": 1.0},
        {"from_s": 10 * hour, "usd_per_device_hour": 3.0},
        {"from_s": 20 * hour, "usd_per_device_hour": 2.0},
    ]
    for hours, per_device in ((5, 5), (10, 10), (15, 25), (25, 50)):
        paid = usd(llama3, device_s=8 * hours * hour, calendar_s=hours * hour, price_series=series)
        assert paid == pytest.approx(8 * per_device)


def test_a_reservation_is_paid_to_its_end(llama3: Scenario) -> None:
    hour = 3600.0
    for hours, expected in ((50, 100), (100, 100), (150, 150)):
        paid = usd(
            llama3,
            device_s=8 * hours * hour,
            calendar_s=hours * hour,
            usd_per_device_hour=2.0,
            committed_s=100 * hour,
        )
        assert paid == pytest.approx(8 * expected * 2.0)


def test_hardware_of_ones_own_pays_capital_and_electricity(llama3: Scenario) -> None:
    years = 1 / 12
    paid = usd(
        llama3,
        device_s=MONTH_S,
        calendar_s=MONTH_S,
        own={"usd_per_device": 35_064.0, "years": 4.0, "usd_per_kwh": 0.1},
    )
    power = campaign_terms(llama3).power
    assert power is not None
    kwh = MONTH_S * power.busy_w * 1.1 / J_PER_KWH
    assert paid == pytest.approx(35_064 / 4 * years + 0.1 * kwh)


def test_storage_and_egress(llama3: Scenario) -> None:
    extra = usd(
        llama3,
        device_s=1.0,
        calendar_s=MONTH_S,
        usd_per_device_hour=0.0,
        usd_per_tb_month=20.0,
        stored_bytes=5e15,
        egress_bytes=1e15,
        usd_per_tb_egress=50.0,
    )
    assert extra == pytest.approx(5000 * 20 + 1000 * 50)
    cluster, economics = llama3.cluster, EconomicsSpec(usd_per_tb_month=1.0)
    terms = money_terms(cluster, economics, stored_bytes=3e12)
    assert terms is not None
    assert terms.usd_per_s * MONTH_S == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"usd_per_device_hour": 2, "own": {"usd_per_device": 1}},
            "give usd_per_device_hour or own, not both",
        ),
        (
            {"price_series": [{"from_s": 5, "usd_per_device_hour": 1}]},
            "price_series begins at from_s=0",
        ),
        ({"own": {"usd_per_device": 1}, "committed_s": "1y"}, "committed_s is of a rent"),
        ({"usd_per_device_hour": "4 EUR"}, "unknown unit 'EUR'"),
        ({"usd_per_device_hour": -1}, "greater than or equal to 0"),
    ],
)
def test_impossible_prices(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        EconomicsSpec.model_validate(values)


def test_a_price_list_needs_its_date() -> None:
    with pytest.raises(ValidationError, match="date"):
        PriceProfile.model_validate(
            {
                "name": "x",
                "device": "h100",
                "usd_per_device_hour": 3,
                "provider": "x",
                "source": "x",
            }
        )
