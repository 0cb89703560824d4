"""Kinds of recompute: how they are written, what they stand for, which models have them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from simulator.catalog import find_model
from simulator.spec.job import JobSpec
from simulator.spec.legality import violations
from simulator.spec.plan import PlanSpec
from simulator.spec.recompute import PARTS, WHOLE_LAYERS, Recompute, parse_recompute


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("none", "none"),
        ("full", "full"),
        ("every-1", "full"),
        ("groups-of-1", "full"),
        ("Every-2", "every-2"),
        ("moe_act + layernorm", "layernorm+moe-act"),
        ("moe+moe-act+shared-experts", "moe"),
        ("layernorm+first-4", "first-4+layernorm"),
    ],
)
def test_spellings(written: str, name: str) -> None:
    assert PlanSpec(recompute=written).recompute == name


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("some", "'some' is none of these"),
        ("", "'' is none of these"),
        ("none+mlp", "'none' is none of these"),
        ("every-0", "the number is from 1 to 999"),
        ("every-2+first-2", "only one word says"),
        ("full+mlp", "no layer is left"),
        ("groups-of-4+mlp", "no layer is left"),
        ("selective+mlp", "selective says of every part"),
    ],
)
def test_what_is_no_kind(written: str, why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        PlanSpec(recompute=written)


@st.composite
def kinds(draw: st.DrawFn) -> Recompute:
    parts = [str(part) for part in PARTS if part != "selective"]
    words = draw(st.lists(st.sampled_from(parts), max_size=3))
    whole = draw(st.sampled_from([None, "every", "first"]))
    if whole:
        words.append(f"{whole}-{draw(st.integers(2, 999))}")
    return parse_recompute("+".join(words) or "none")


@given(kinds())
def test_names_and_codes_lead_back(kind: Recompute) -> None:
    assert parse_recompute(kind.name) == kind
    assert Recompute.of_code(kind.code) == kind


def test_codes_differ() -> None:
    names = ["none", "full", *PARTS, *(f"{whole}-{n}" for whole in WHOLE_LAYERS for n in (2, 3))]
    assert len({parse_recompute(name).code for name in names}) == len(names)
    assert parse_recompute("none").code == 0


def test_which_layers_are_whole() -> None:
    """Of 5 layers that begin with the model's fourth."""
    found = {
        name: [parse_recompute(name).is_whole(3 + at, at) for at in range(5)]
        for name in ("none", "mlp", "full", "every-2", "first-2", "groups-of-2")
    }
    assert found["none"] == found["mlp"] == [False] * 5
    assert found["full"] == found["groups-of-2"] == [True] * 5
    assert found["every-2"] == [True, False, True, False, True]
    assert found["first-2"] == [True, True, False, False, False]


@pytest.mark.parametrize(
    ("model", "recompute", "why"),
    [
        ("llama3-8b", "moe-act", "recompute=moe-act, and the model has no experts"),
        ("llama3-8b", "mla-up-proj", "the model has no latent attention"),
        ("mixtral-8x7b", "shared-experts", "the model has no shared experts"),
        ("mixtral-8x7b", "mlp", "the model has no dense layers"),
        ("llama3-8b", "every-33", "the model has 32 layers"),
        ("llama3-8b", "first-17", "a stage has 16 of the model's 32 layers"),
        ("llama3-8b", "first-16+layernorm", None),
        ("deepseek-v3", "layernorm+moe-act+shared-experts+mla-up-proj", None),
    ],
)
def test_what_a_model_has(model: str, recompute: str, why: str | None) -> None:
    plan = PlanSpec(pp=2, n_microbatches=2, recompute=recompute)
    job = JobSpec(sequence_length=4096, global_batch_sequences=2)
    found = violations(find_model(model), job, plan, n_devices=8)
    assert [each.field for each in found] == ["recompute"] * (why is not None)
    assert all(why is not None and why in each.message for each in found)
