"""Recorded prices: what is read, and what is refused."""

from pathlib import Path

import pytest

from simulator.catalog.price_file import read_prices
from simulator.catalog.scenario_file import load_scenario
from simulator.spec.errors import InputError

SPOT = """date,price,currency,provider,commitment
2026-10-01,1.90,USD,aws,spot
2026-10-02,2.40,USD,aws,spot
2026-10-02T12:00,2.10,USD,aws,spot
"""


def test_the_campaign_begins_on_the_first_date(tmp_path: Path) -> None:
    path = tmp_path / "spot.csv"
    path.write_text(SPOT)
    steps = read_prices(path)
    assert [step.from_s for step in steps] == [0.0, 86400.0, 1.5 * 86400]
    assert [step.usd_per_device_hour for step in steps] == [1.90, 2.40, 2.10]


def test_provider_and_commitment_choose_the_rows(tmp_path: Path) -> None:
    path = tmp_path / "all.csv"
    path.write_text(SPOT + "2026-10-01,3,USD,aws,on-demand\n2026-10-03,1,USD,else,spot\n")
    assert [step.usd_per_device_hour for step in read_prices(path, "aws", "spot")] == [
        1.9,
        2.4,
        2.1,
    ]
    assert len(read_prices(path, commitment="on-demand")) == 1
    with pytest.raises(InputError, match="no price of else reserved in it; it has those of aws on"):
        read_prices(path, "else", "reserved")
    with pytest.raises(InputError, match=r"set economics\.provider and economics\.commitment"):
        read_prices(path)
    scenario = tmp_path / "s.yaml"
    scenario.write_text(
        "model: llama3-8b\ncluster: h100-sxm:16\n"
        "economics: {price_series: all.csv, provider: else, commitment: spot}\n"
    )
    assert len(load_scenario(scenario).economics.price_series) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("date,price\n2026-10-01,2\n", r"p\.csv:1: column 'currency' is missing"),
        ("date,price,currency\n2026-10-01,2,\n", r"p\.csv:2: currency is missing"),
        ("date,price,currency\n,2,USD\n", r"p\.csv:2: date is missing"),
        ("date,price,currency\n2026-10-01,2,EUR\n", r"p\.csv:2: the price is in 'EUR'"),
        ("date,price,currency\nsoon,2,USD\n", r"p\.csv:2: 'soon' is not a date"),
        ("date,price,currency\n2026-10-01,-2,USD\n", r"p\.csv:2: price: .*greater than or equal"),
        ("date,price,currency\n", r"there is no price in it"),
        (SPOT + "2026-10-01,2,USD,aws,spot\n", r"p\.csv:5: 2026-10-01 comes after 2026-10-02"),
        (SPOT + "2026-10-05,2,USD,aws,on-demand\n", r"of aws on-demand among those of aws spot"),
    ],
)
def test_bad_files(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "p.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_prices(path)


def test_a_scenario_names_its_tables(tmp_path: Path) -> None:
    (tmp_path / "spot.csv").write_text(SPOT)
    (tmp_path / "outages.csv").write_text("node,start,end,class\n1,1h,2h,nic\n")
    scenario = tmp_path / "s.yaml"
    scenario.write_text(
        "model: llama3-8b\ncluster: h100-sxm:16\n"
        "reliability: {replay: outages.csv}\neconomics: {price_series: spot.csv}\n"
    )
    loaded = load_scenario(scenario)
    assert loaded.reliability.replay[0].cause == "nic"
    assert len(loaded.economics.price_series) == 3
    (tmp_path / "outages.csv").write_text("node,start,end,class\n1,3h,2h,nic\n")
    with pytest.raises(InputError, match=r"outages\.csv:2: node 1 is back at 7200 s"):
        load_scenario(scenario)
    with pytest.raises(InputError, match=r"none\.csv: cannot be read"):
        load_scenario(scenario, overrides=["economics.price_series=none.csv"])


@pytest.mark.parametrize("name", ["provider", "commitment"])
def test_a_number_does_not_name_an_offer(tmp_path: Path, name: str) -> None:
    (tmp_path / "spot.csv").write_text(SPOT)
    scenario = tmp_path / "s.yaml"
    scenario.write_text(
        "model: llama3-8b\ncluster: h100-sxm:16\n"
        f"economics: {{price_series: spot.csv, {name}: 5}}\n"
    )
    with pytest.raises(InputError, match=rf"economics\.{name}"):
        load_scenario(scenario)
