"""`armillary list`: kinds, things, one thing with its sources."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from armillary import cli
from armillary.listings import LISTINGS
from simulator.spec.errors import InputError


def run(*arguments: str) -> str:
    result = CliRunner().invoke(cli._application(), ["list", *arguments], catch_exceptions=False)
    return result.stdout


def test_kinds() -> None:
    for kind in LISTINGS:
        assert f"\n{kind}" in run()
    items = json.loads(run("--json"))["items"]
    assert [item["name"] for item in items] == list(LISTINGS)
    assert all(item["what"] for item in items)


@pytest.mark.parametrize("kind", LISTINGS)
def test_every_kind_fits_a_screen_and_its_json_names_the_same(kind: str) -> None:
    lines = run(kind).splitlines()
    data = json.loads(run(kind, "--json"))
    assert (data["version"], data["kind"]) == (1, kind)
    table = "\n".join(lines).partition("\n\n")[0].splitlines()
    assert len(data["items"]) == sum(not line.startswith(" ") for line in table) - 1
    assert max(map(len, table)) <= (88 if kind == "scenarios" else 80)  # those are paths


@pytest.mark.parametrize("kind", [kind for kind in LISTINGS if kind != "scenarios"])
def test_everything_can_be_shown_alone(kind: str) -> None:
    for name in LISTINGS[kind].things():
        assert run(kind, name).startswith(name)
        assert len(json.loads(run(kind, name, "--json"))["items"]) == 1


def test_one_device_with_units_and_sources() -> None:
    screen = run("devices", "h100-sxm")
    assert "memory_bytes                                80.0 GiB" in screen
    assert "peak.bf16_flops_per_s                       989 TFLOP/s" in screen
    assert "datasheet, stas00/ml-engineering" in screen


def test_fabrics_say_how_many_interfaces_a_node_shares() -> None:
    cells = {line.split()[0]: line for line in run("fabrics").splitlines() if line}
    assert "100 Gb/s  1 " in cells["ethernet-100g"]
    assert "400 Gb/s  all " in cells["rail-optimized-400g"]


def test_deepseek_is_listed_as_published() -> None:
    line = next(line for line in run("models").splitlines() if line.startswith("deepseek-v3 "))
    assert "671 B" in line
    assert "37.6 B" in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("device",), "unknown kind 'device'; did you mean devices"),
        (("devices", "h100x"), "unknown device 'h100x'"),
        (("targets", "megatrn"), "unknown target 'megatrn'; did you mean megatron?"),
    ],
)
def test_unknown_names(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError) as caught:
        run(*arguments)
    assert str(caught.value).startswith(message)
