"""Things are found by name or alias; unknown names suggest near ones; every number has a source."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import BaseModel

from simulator import catalog
from simulator.catalog.registry import KINDS, find, prices_of
from simulator.spec.base import Basis
from simulator.spec.cluster import DeviceSpec
from simulator.spec.errors import InputError


def numeric_fields(value: BaseModel, prefix: str = "") -> Iterator[tuple[str, float]]:
    """Numbers that the data file states, dotted; what stayed at its default is left out."""
    for name in sorted(value.model_fields_set):
        inner = getattr(value, name)
        if isinstance(inner, BaseModel):
            yield from numeric_fields(inner, f"{prefix}{name}.")
        elif isinstance(inner, int | float):
            yield prefix + name, inner


@pytest.mark.parametrize("kind", KINDS)
def test_every_listed_name_is_found_under_its_name(kind: str) -> None:
    names = catalog.list_names(kind)
    assert names
    assert len(set(names)) == len(names)
    for name in names:
        assert find(KINDS[kind], name).name == name


SOURCED = [
    (kind, name)
    for kind in ("devices", "fabrics", "software", "failures")
    for name in catalog.list_names(kind)
]
ITS_NAME_SAYS_IT = {("fabrics", "nic.bandwidth_bytes_per_s")}


@pytest.mark.parametrize(("kind", "name"), SOURCED)
def test_every_number_has_a_source(kind: str, name: str) -> None:
    thing = find(KINDS[kind], name)
    explained = {source.field for source in thing.sources}
    for field, value in numeric_fields(thing):
        parents = {field.rsplit(".", up)[0] for up in range(field.count(".") + 1)}
        sourced = parents & explained or (kind, field) in ITS_NAME_SAYS_IT
        assert sourced, f"{field} = {value} has no source"


@pytest.mark.parametrize(("kind", "name"), SOURCED)
def test_every_source_explains_a_field_that_exists(kind: str, name: str) -> None:
    thing = find(KINDS[kind], name)
    for source in thing.sources:
        value: object = thing
        for part in source.field.split("."):
            assert isinstance(value, BaseModel)
            value = getattr(value, part)
        assert source.source


@pytest.mark.parametrize(("kind", "name"), SOURCED)
def test_what_is_from_memory_counts_as_assumed(kind: str, name: str) -> None:
    for source in find(KINDS[kind], name).sources:
        if "from memory" in source.source:
            assert source.basis is Basis.ASSUMED


def test_aliases_find_the_device_and_case_does_not_matter() -> None:
    assert catalog.find_device("H100-SXM") == catalog.find_device("h100-sxm-80gb")


@pytest.mark.parametrize(
    "name",
    [
        "A100-SXM-80GB",
        "B200-class (184GiB)",
        "B200-SXM-180GB-power-limited",
        "B300-SXM",
        "GB200",
        "H100-96GB-HBM2e-500W",
        "MI300X",
        "TPU-v7x (Ironwood)",
        "Trainium1 (chip = 2 NeuronCores)",
    ],
)
def test_devices_are_found_as_published_tables_write_them(name: str) -> None:
    assert catalog.find_device(name).name


def test_an_unknown_name_suggests_near_ones_and_says_where() -> None:
    with pytest.raises(InputError) as caught:
        catalog.find_device("h200-sxm-141g", where="a.yaml:3")
    assert str(caught.value) == (
        "a.yaml:3: unknown device 'h200-sxm-141g'; did you mean h200-sxm-141gb or "
        "b200-sxm-180gb or h20-sxm-96gb?"
    )


def test_prices_lie_in_the_file_of_their_device() -> None:
    for name in catalog.list_names("devices"):
        assert all(price.device == name for price in prices_of(name))
    for name in catalog.list_names("prices"):
        assert catalog.find_price(name) in prices_of(catalog.find_price(name).device)


def test_datasheet_values_of_the_h100() -> None:
    device: DeviceSpec = catalog.find_device("h100-sxm-80gb")
    assert device.memory_bytes == 80 * 2**30
    assert device.memory_bandwidth_bytes_per_s == pytest.approx(3.35e12)
    assert device.peak.bf16_flops_per_s == pytest.approx(989e12)
    assert device.scale_up.bandwidth_bytes_per_s == pytest.approx(450e9)
    assert device.nic_bandwidth_bytes_per_s == pytest.approx(50e9)
