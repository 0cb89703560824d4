"""Prices by provider and commitment: which one is taken, and what is said where there is none."""

import pytest

from simulator.catalog.offers import chosen_offer, has_offer, offers_of
from simulator.catalog.scenario_file import scenario_from_flags
from simulator.spec.economics import EconomicsSpec
from simulator.spec.errors import InputError
from simulator.spec.scenario import Scenario

QUOTED = "{name: ours, device: h100-sxm, provider: Us, date: 2026-11, commitment: reserved, "
QUOTED += "usd_per_device_hour: 1.8, committed_s: 1y}"


def scenario(*overrides: str) -> Scenario:
    return scenario_from_flags(model="llama3-8b", cluster="h100-sxm:16", overrides=overrides)


@pytest.mark.parametrize(
    ("economics", "name"),
    [
        ({}, "lambda-2026-09"),
        ({"commitment": "spot"}, "gcp-a3-spot-2026-09"),
        ({"provider": "AWS"}, "aws-p5-2026-11"),
        ({"provider": "AWS", "commitment": "capacity-block"}, "aws-block-h100-2024"),
        ({"price": "akash-2026-09"}, "akash-2026-09"),
    ],
)
def test_the_first_price_of_a_provider_and_commitment(economics: dict[str, str], name: str) -> None:
    offer = chosen_offer(EconomicsSpec.model_validate(economics), "h100-sxm-80gb")
    assert offer is not None
    assert offer.name == name


def test_quotes_come_first_and_bring_their_term() -> None:
    quoted = scenario(f"economics.offers=[{QUOTED}]").economics
    assert [offer.name for offer in offers_of(quoted, "h100-sxm-80gb")][:2] == [
        "ours",
        "lambda-2026-09",
    ]
    assert "ours" not in [offer.name for offer in offers_of(quoted, "h200-sxm-141gb")]
    named = scenario(f"economics.offers=[{QUOTED}]", "economics.price=ours").economics
    assert chosen_offer(named, "h100-sxm-80gb") == quoted.offers[0]


def test_what_no_offer_has_is_said_with_what_there_is() -> None:
    wanted = EconomicsSpec(provider="Lambda", commitment="spot")
    assert not has_offer(wanted, "h100-sxm-80gb")
    with pytest.raises(InputError, match="no Lambda spot price of h100-sxm-80gb") as caught:
        chosen_offer(wanted, "h100-sxm-80gb")
    assert "Lambda on-demand" in str(caught.value)
    assert caught.value.where == "economics.commitment"
    assert chosen_offer(wanted, "tpu-v4") is None


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ((f"economics.offers=[{QUOTED.replace('date: 2026-11, ', '')}]",), r"0\.date: is missing"),
        ((f"economics.offers=[{QUOTED.replace('2026-11', 'soon')}]",), "date: .*match pattern"),
        ((f"economics.offers=[{QUOTED.replace('1.8', '3 EUR')}]",), "unknown unit 'EUR'"),
        ((f"economics.offers=[{QUOTED.replace('h100-sxm', 'h1000')}]",), "unknown device 'h1000'"),
        ((f"economics.offers=[{QUOTED}, {QUOTED}]",), "offer 'ours' is given twice"),
        (("economics.price=ours",), "unknown price list 'ours'"),
        (("economics.price=lambda-2026-09", "economics.commitment=spot"), "price or commitment"),
        (("economics.own={usd_per_device: 1}", "economics.provider=AWS"), "own or provider"),
    ],
)
def test_bad_offers(overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        scenario(*overrides)
