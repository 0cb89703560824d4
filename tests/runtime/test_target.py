"""What the target "armillary" says and what this runtime does are the same."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
import torch.distributed as dist

from planner.space import Space
from runtime.execute import forward_backward_of
from runtime.launch import require_runnable
from runtime.mesh import Mesh
from runtime.model.transformer import Transformer, whole_model
from runtime.stage import build_stages
from simulator.catalog import find_model
from simulator.cost.parameters import count_parameters
from simulator.spec.base import Precision
from simulator.spec.errors import InputError
from simulator.spec.job import JobSpec
from simulator.spec.model import ModelSpec
from simulator.spec.plan import PlanSpec
from simulator.spec.scenario import Scenario
from simulator.spec.target import OWN_TARGET, TARGETS
from tests.runtime.plans import CLUSTER, TINY, fp32, plan_file
from tests.runtime.plans_equal import DEEPSEEK, GPT, LATENT, MIXTRAL, NEOX, QWEN, Case
from tests.runtime.test_equality import ALL_CASES

OWN = TARGETS[OWN_TARGET]
WIDE = TINY.model_copy(update={"name": "wide", "n_heads": 8, "head_dim": 8, "n_kv_heads": 2})


def runs(model: ModelSpec, plan: PlanSpec) -> bool:
    """Whether `armillary run` would start."""
    try:
        require_runnable(plan_file(plan, model=model))
    except InputError:
        return False
    return True


@pytest.mark.parametrize(
    "case", [case for cases in ALL_CASES for case in cases], ids=lambda case: case.name
)
def test_the_target_takes_what_was_shown_to_train(case: Case) -> None:
    job = JobSpec(precision=Precision.FP32)
    assert OWN.refusal(case.model, job, case.plan) is None
    assert runs(case.model, case.plan)


def answers(model: ModelSpec) -> Iterator[bool]:
    """Yield whether the runtime takes plans that some executor does, after asking it."""
    job = JobSpec(sequence_length=64, global_batch_sequences=8, precision=Precision.FP32)
    scenario = Scenario(name="all", model=model, cluster=CLUSTER, job=job)
    choice = random.Random(0)
    for table in Space.of(scenario).tables():
        for row in choice.sample(range(len(table)), min(len(table), 100)):
            plan = table.plan(row, job.precision)
            answer = OWN.refusal(model, job, plan) is None
            assert runs(model, plan) is answer, plan.label()
            yield answer


@pytest.mark.parametrize("model", [TINY, GPT, WIDE, DEEPSEEK, LATENT], ids=lambda model: model.name)
def test_agreement_on_legal_plans_of_every_executor(model: ModelSpec) -> None:
    assert set(answers(model)) == {True, False}


@contextmanager
def fake_ranks(n_ranks: int) -> Iterator[None]:
    """The first of several ranks whose collectives do nothing."""
    from torch.testing._internal.distributed.fake_pg import FakeStore

    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=n_ranks)
    try:
        yield
    finally:
        dist.destroy_process_group()


@pytest.mark.parametrize("tp", [1, 2, 4, 8])
def test_tensor_parallelism_is_refused_exactly_where_it_breaks(tp: int) -> None:
    plan = fp32(tp=tp, recompute="none")
    scenario = plan_file(plan, model=WIDE).scenario
    tokens = torch.zeros((1, scenario.job.sequence_length), dtype=torch.int64)
    with fake_ranks(tp):
        mesh = Mesh.build(plan, "cpu")
        step = forward_backward_of(scenario, mesh, build_stages(scenario, mesh, tokens.device))
        if OWN.plan_refusal(WIDE, scenario.job, plan) is None:
            step(tokens, tokens)
        else:
            with pytest.raises(RuntimeError, match="unflatten"):
                step(tokens, tokens)


FEATURES: dict[str, dict[str, object]] = {
    "plain": {},
    "no head": {"lm_head": False},
    "head behind a layer": {"lm_head_transform": True},
    "token types": {"n_token_types": 2},
    "multi-token prediction": {"n_mtp_layers": 1},
    "no final norm": {"final_norm": False},
    "no positions": {"position": "none"},
    "odd heads without rotation": {"position": "none", "head_dim": 15},
    "experts": {"moe": MIXTRAL.moe},
    "experts with a router's biases": {"moe": DEEPSEEK.moe},
    "experts with biases": {"moe": MIXTRAL.moe, "ffn_bias": True},
}


@pytest.mark.parametrize("feature", FEATURES)
def test_a_model_is_taken_exactly_where_all_of_it_is_built(feature: str) -> None:
    model = TINY.model_copy(update=FEATURES[feature])
    with torch.device("meta"):
        built = Transformer(model, whole_model(model))
    whole = sum(each.numel() for each in built.parameters()) == count_parameters(model).total
    assert (OWN.model_refusal(model, Precision.FP32) is None) is whole


@pytest.mark.parametrize(
    "model",
    [
        GPT,
        QWEN,
        NEOX,
        MIXTRAL,
        DEEPSEEK,
        LATENT,
        find_model("llama3-8b"),
        find_model("mixtral-8x7b"),
    ],
)
def test_whole_families_are_taken(model: ModelSpec) -> None:
    with torch.device("meta"):
        built = Transformer(model, whole_model(model))
    assert sum(each.numel() for each in built.parameters()) == count_parameters(model).total
    assert OWN.model_refusal(model, Precision.FP32) is None


def test_rotary_positions_need_heads_of_even_width() -> None:
    model = TINY.model_copy(update={"head_dim": 15})
    refusal = OWN.model_refusal(model, Precision.FP32)
    assert refusal == "armillary cannot run rotary positions in heads of odd width"
    tokens = torch.zeros((1, 4), dtype=torch.int64)
    with pytest.raises(RuntimeError, match="size of tensor"):
        Transformer(model, whole_model(model))(tokens, tokens)
