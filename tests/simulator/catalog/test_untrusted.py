"""Whatever the bytes of a scenario, a plan or a configuration are: a value or an InputError."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulator.catalog.hf_config import FAMILIES, read_hf_config
from simulator.catalog.hf_defaults import DEFAULTS
from simulator.catalog.plan_json import read_plan_file
from simulator.catalog.scenario_file import load_scenario, scenario_from_flags
from simulator.spec.errors import InputError
from simulator.spec.scenario import Scenario

settings.register_profile(
    "files", suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
FILES = settings.get_profile("files")

SCENARIO = Path("scenarios/llama3-405b-on-16k-h100.yaml").read_bytes()

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.sampled_from([0, 1, 10**9, 10**12, 10**18]),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(["1T", "30d", "80 GiB", "400 Gb/s", "llama3-8b", "h100:8", "./x.yaml", "cpu"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)
FIELDS = [
    (section, field)
    for section, info in Scenario.model_fields.items()
    for field in (getattr(info.annotation, "model_fields", None) or {"": None})
]
CLUSTER_FIELDS = ["base", "device", "devices", "nodes", "fabric", "scale_up", "host", "memory"]


@st.composite
def mutated(draw: st.DrawFn, original: bytes) -> bytes:
    """Some bytes replaced, some taken out, some put in, perhaps cut off."""
    data = bytearray(original)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        match draw(st.sampled_from(["replace", "remove", "insert", "copy", "cut"])):
            case "replace" if data:
                data[at] = draw(st.integers(0, 255))
            case "remove":
                del data[at : at + draw(st.integers(1, 8))]
            case "insert":
                data[at:at] = draw(st.binary(max_size=6))
            case "copy":
                data[at:at] = data[at : at + draw(st.integers(1, 20))]
            case "cut":
                del data[at + draw(st.integers(0, 200)) :]
    return bytes(data)


@FILES
@given(data=mutated(SCENARIO))
def test_mutated_scenarios(data: bytes, tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_bytes(data)
    with contextlib.suppress(InputError):
        load_scenario(file)


@FILES
@given(places=st.lists(st.tuples(st.sampled_from(FIELDS), VALUES), min_size=1, max_size=4))
def test_strange_values_in_known_fields(places: list[Any], tmp_path: Path) -> None:
    value: dict[str, Any] = {"model": "llama3-8b", "cluster": "h100-sxm:64"}
    for (section, field), strange in places:
        if field and isinstance(value.get(section, {}), dict):
            value.setdefault(section, {})[field] = strange
        else:
            value[section] = strange
    check_json_scenario(value, tmp_path)


@FILES
@given(fields=st.dictionaries(st.sampled_from(CLUSTER_FIELDS), VALUES, min_size=1))
def test_strange_clusters(fields: dict[str, Any], tmp_path: Path) -> None:
    check_json_scenario({"model": "llama3-8b", "cluster": {"device": "h100"} | fields}, tmp_path)


@FILES
@given(value=VALUES)
def test_strange_scenarios(value: Any, tmp_path: Path) -> None:
    check_json_scenario(value, tmp_path)


def check_json_scenario(value: Any, folder: Path) -> None:
    """Load a scenario written as JSON, which is YAML."""
    file = folder / "a.yaml"
    file.write_text(json.dumps(value))
    with contextlib.suppress(InputError):
        load_scenario(file)


@given(override=st.one_of(st.text(), st.text().map("job.tokens=".__add__)))
def test_any_override(override: str) -> None:
    with contextlib.suppress(InputError):
        scenario_from_flags(model="llama3-8b", cluster="cpu:2", overrides=[override])


@given(model=st.text(), cluster=st.text(), tokens=st.text())
def test_any_flags(model: str, cluster: str, tokens: str) -> None:
    with pytest.raises(InputError):
        scenario_from_flags(model=model, cluster=cluster, tokens=tokens)


PLAN = b'{"kind": "armillary-plan", "version": 1, "plan": {"tp": 8}, "scenario": {"name": "a"}}'


@FILES
@given(data=mutated(PLAN))
def test_mutated_plans(data: bytes, tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    file.write_bytes(data)
    with pytest.raises(InputError):
        read_plan_file(file)


CONFIG_KEYS = sorted({key for defaults in DEFAULTS.values() for key in defaults})


@FILES
@given(
    model_type=st.sampled_from(sorted(FAMILIES)),
    changes=st.dictionaries(st.sampled_from(CONFIG_KEYS), VALUES, max_size=4),
)
def test_strange_configurations(model_type: str, changes: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"model_type": model_type} | changes))
    with contextlib.suppress(InputError):
        read_hf_config(file)
