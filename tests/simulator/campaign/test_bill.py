from dataclasses import replace

import numpy as np
import pytest

from simulator.campaign.bill import J_PER_KWH, bill
from simulator.campaign.terms import PowerTerms, campaign_terms
from simulator.catalog import find_grid
from simulator.spec.scenario import Scenario

# Device hours, W, MWh and t CO2e as printed in Meta's model cards (meta-llama/llama-models).
MODEL_CARDS = [
    ("Llama 3.1 8B", 1.46e6, 700, 1022, 420),
    ("Llama 3.1 70B", 7.0e6, 700, 4900, 2040),
    ("Llama 3.1 405B", 30.84e6, 700, 21588, 8930),
    ("Llama 3.2 1B", 370e3, 700, 259, 107),
    ("Llama 3.2 3B", 460e3, 700, 322, 133),
]


@pytest.mark.parametrize(("model", "hours", "watts", "mwh", "tonnes"), MODEL_CARDS)
def test_energy_and_carbon_of_model_cards(
    llama3: Scenario, model: str, hours: float, watts: float, mwh: float, tonnes: float
) -> None:
    grid = find_grid("us-average-2024")
    power = PowerTerms(busy_w=watts, idle_w=0, pue=1.08, kg_co2_per_kwh=grid.kg_co2_per_kwh)
    terms = replace(campaign_terms(llama3), power=power)
    total = bill(terms, device_s=np.array([hours * 3600]), busy_share=np.array([1.0]))
    assert total.energy_j is not None
    assert total.co2_kg is not None
    assert total.energy_j[0] / J_PER_KWH / 1000 / 1.08 == pytest.approx(mwh, rel=0.01)
    assert total.co2_kg[0] / 1000 == pytest.approx(tonnes, rel=0.02)


def test_carbon_of_bloom(llama3: Scenario) -> None:
    grid = find_grid("france-2022")
    power = PowerTerms(busy_w=400, idle_w=63, pue=1.0, kg_co2_per_kwh=grid.kg_co2_per_kwh)
    terms = replace(campaign_terms(llama3), power=power)
    total = bill(terms, device_s=np.array([1_082_990 * 3600.0]), busy_share=np.array([1.0]))
    assert total.co2_kg is not None
    assert total.co2_kg[0] / 1000 == pytest.approx(24.69, rel=0.01)


def test_money_of_llama_3_1_405b(llama3: Scenario) -> None:
    total = bill(
        campaign_terms(llama3), device_s=np.array([30.84e6 * 3600]), busy_share=np.array([1.0])
    )
    assert total.cost_usd is not None
    assert total.cost_usd[0] == pytest.approx(123e6, rel=0.01)


def test_idle_devices_draw_less(llama3: Scenario) -> None:
    terms = campaign_terms(llama3)
    half = bill(terms, device_s=np.array([1.0]), busy_share=np.array([0.5]))
    assert terms.power is not None
    assert half.energy_j is not None
    assert half.energy_j[0] == pytest.approx(1.1 * (terms.power.busy_w + terms.power.idle_w) / 2)
    # Acme: an idle A100 server draws 0.3 of a busy one.
    assert 0.2 < terms.power.idle_w / terms.power.busy_w < 0.4
