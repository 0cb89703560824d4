"""Memory per rank against worked numbers, published peaks and what must hold for any plan."""

from dataclasses import fields
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from simulator.catalog import find_model, find_software
from simulator.catalog.cluster import parse_cluster
from simulator.cost.activations import layer_activations
from simulator.cost.memory import memory_breakdown, memory_held
from simulator.cost.plan_table import PlanTable
from simulator.cost.recompute import whole_share
from simulator.cost.setting import Setting
from simulator.spec.base import Precision
from simulator.spec.job import JobSpec
from simulator.spec.model import ModelSpec
from simulator.spec.plan import PlanSpec
from simulator.spec.prediction import MemoryBreakdown
from simulator.spec.profiles import MemoryProfile, SoftwareProfile

CLUSTER = parse_cluster("a100-sxm-80gb:64")
TOY = ModelSpec(
    name="toy",
    n_layers=4,
    hidden_size=1024,
    n_heads=8,
    n_kv_heads=8,
    head_dim=128,
    ffn_size=4096,
    vocab_size=32000,
    gated_ffn=True,
    norm="rmsnorm",
    position="rope",
)
LAYER_MATRICES = 4 * 1024**2 + 3 * 1024 * 4096
LAYER = LAYER_MATRICES + 2 * 1024
N_PARAMETERS = 4 * LAYER + 2 * 32000 * 1024 + 1024
JOB = JobSpec(sequence_length=2048, global_batch_sequences=64)


def plain(**memory: object) -> SoftwareProfile:
    """Software that holds nothing but what the mathematics needs."""
    nothing = {"workspace_bytes": 0, "framework_bytes": 0, "fragmentation": 0, "logits_bytes": 0}
    without = {"fused_gradients": True, "nccl_buffers": False}
    held = MemoryProfile.model_validate(nothing | without | memory)
    return SoftwareProfile(name="plain", description="", memory=held)


def held(software: SoftwareProfile, **plan: object) -> MemoryBreakdown:
    """What the first stage of a plan of the toy model holds."""
    return memory_breakdown(TOY, CLUSTER, JOB, software, PlanSpec.model_validate(plan))[0]


@pytest.mark.parametrize(
    ("zero_stage", "weights", "gradients", "optimizer"),
    [
        (0, 2.0, 4.0, 12.0),
        (1, 2.0, 4.0, 12 / 8),
        (2, 2.0, 4 / 8, 12 / 8),
        (3, 2 / 8, 4 / 8, 12 / 8),
    ],
)
def test_states_by_zero_stage(
    zero_stage: int, weights: float, gradients: float, optimizer: float
) -> None:
    """16-bit weights, fp32 gradients, and 12 bytes of fp32 weight and moments a parameter."""
    ranks = "dp_shard" if zero_stage else "dp_replicate"
    found = held(plain(), zero_stage=zero_stage, **{ranks: 8})
    per_parameter = (found.weights_bytes, found.gradients_bytes, found.optimizer_bytes)
    assert per_parameter == pytest.approx(
        tuple(N_PARAMETERS * each for each in (weights, gradients, optimizer)), rel=1e-4
    )


def test_shards_of_fsdp_are_the_master_weights() -> None:
    """16 bytes a parameter: fp32 weight and gradient, two moments; no further master copy."""
    found = held(plain(shards_fp32_weights=True), zero_stage=3, dp_shard=8)
    states = found.weights_bytes + found.gradients_bytes + found.optimizer_bytes
    assert states == pytest.approx(16 * N_PARAMETERS / 8, rel=1e-4)


def test_fsdp_gathers_copies_of_fp32_weights() -> None:
    """Whole weights beside an eighth of them, and two moments of that eighth."""
    job = JOB.model_copy(update={"precision": Precision.FP32})
    plan = PlanSpec(dp_shard=8, zero_stage=1)
    software = plain(shards_fp32_weights=True)
    (found,) = memory_breakdown(TOY, CLUSTER, job, software, plan)
    assert found.weights_bytes == pytest.approx((4 + 4 / 8) * N_PARAMETERS, rel=1e-4)
    assert found.optimizer_bytes == pytest.approx(N_PARAMETERS, rel=1e-4)


def test_activations_of_a_layer() -> None:
    """8 h of two norms, 8 h around attention, 6 f of a gated network, 4 a of statistics a token."""
    found = held(plain())
    per_token = 8 * 1024 + 8 * 1024 + 6 * 4096 + 4 * 8
    gradient = 2 * 4096
    assert found.activations_bytes == pytest.approx(2048 * (4 * per_token + gradient))


def test_dropout_keeps_two_masks_of_a_byte_a_value() -> None:
    job = JOB.model_copy(update={"dropout": 0.1})
    (found,) = memory_breakdown(TOY, CLUSTER, job, plain(), PlanSpec())
    masks = 2048 * 4 * 2 * 1024
    assert found.activations_bytes - held(plain()).activations_bytes == pytest.approx(masks)


def test_full_recompute_keeps_boundaries_and_brings_back_one_layer() -> None:
    found = held(plain(), recompute="full")
    per_token = 8 * 1024 + 8 * 1024 + 6 * 4096 + 4 * 8
    working = per_token - 2 * 1024 + 2 * 4096
    assert found.activations_bytes == pytest.approx(2048 * (4 * 2 * 1024 + working))


PER_TOKEN = 8 * 1024 + 8 * 1024 + 6 * 4096 + 4 * 8
"""What a layer of the toy model keeps of a token."""


@pytest.mark.parametrize(
    ("recompute", "dropped"),
    [
        ("layernorm", 2 * 2 * 1024),
        ("core-attn", 4 * 8),
        ("mlp", 6 * 4096),
        ("layernorm+mlp", 2 * 2 * 1024 + 6 * 4096),
    ],
)
def test_repeated_parts_are_not_kept(recompute: str, dropped: int) -> None:
    """Outputs of both norms (2 bytes a value), statistics, inner values; of one layer they come
    back while it is differentiated."""
    found = held(plain(), recompute=recompute)
    working = dropped + 2 * 4096
    assert found.activations_bytes == pytest.approx(2048 * (4 * (PER_TOKEN - dropped) + working))


def test_unfused_attention_keeps_its_scores_unless_the_core_is_repeated() -> None:
    """5 bytes a score for all 8 heads and 2,048 keys; a whole layer's come back.

    Of unfused attention, selective recompute is that of its core.
    """
    job = JOB.model_copy(update={"attention": "unfused"})
    found = [
        memory_breakdown(TOY, CLUSTER, job, plain(), PlanSpec(recompute=kind))[0].activations_bytes
        for kind in ("none", "core-attn", "selective")
    ]
    scores = 2048 * 5 * 8 * 2048
    assert found[0] - found[1] == pytest.approx(3 * scores)
    assert found[2] == found[1]


@pytest.mark.parametrize(
    ("recompute", "n_whole", "rest"),
    [
        ("every-2", 2, PER_TOKEN),
        ("every-3", 1, PER_TOKEN),
        ("first-3", 3, PER_TOKEN),
        ("every-2+mlp", 2, PER_TOKEN - 6 * 4096),
    ],
)
def test_some_layers_keep_their_input_only(recompute: str, n_whole: int, rest: int) -> None:
    found = held(plain(), recompute=recompute)
    kept = n_whole * 2 * 1024 + (4 - n_whole) * rest
    working = PER_TOKEN - 2 * 1024 + 2 * 4096
    assert found.activations_bytes == pytest.approx(2048 * (kept + working))


def test_groups_of_layers_keep_one_input_and_come_back_together() -> None:
    found = held(plain(), recompute="groups-of-2")
    kept, working = 2 * 2 * 1024, 2 * PER_TOKEN - 2 * 1024 + 2 * 4096
    assert found.activations_bytes == pytest.approx(2048 * (kept + working))


def test_first_layers_are_those_of_every_chunk() -> None:
    """Of two chunks of two layers one each, of one chunk of four one."""
    looped = {"pp": 2, "virtual_stages": 2, "schedule": "interleaved-1f1b", "n_microbatches": 2}
    whole = [
        whole_share(TOY, PlanTable.of([PlanSpec.model_validate({"recompute": "first-1"} | plan)]))
        for plan in ({}, {"pp": 2}, looped)
    ]
    assert [share[0] for share in whole] == [1 / 4, 2 / 4, 4 / 4]


@pytest.mark.parametrize(
    ("recompute", "dropped"),
    [
        ("moe-act", 2 * 8 * 2048),
        ("shared-experts", 2 * 3 * 2048),
        ("moe", 2 * 8 * (2 * 7168 + 3 * 2048) + 8 * 256 + 2 * 3 * 2048),
        ("mla-up-proj", 2 * 128 * (192 + 192 + 128)),
    ],
)
def test_parts_of_mixtures_and_of_latent_attention(recompute: str, dropped: int) -> None:
    """DeepSeek-V3: 8 copies a token, experts of 2,048, 128 heads; per mixture layer."""
    model = find_model("deepseek-v3")
    table = PlanTable.of([PlanSpec(), PlanSpec.model_validate({"recompute": recompute})])
    setting = Setting.of(model, CLUSTER, JOB, plain(), table)
    layer = layer_activations(setting, mixture=True)
    assert layer.kept_bytes[0] - layer.kept_bytes[1] == pytest.approx(2048 * dropped)
    assert layer.working_bytes[1] - layer.working_bytes[0] == pytest.approx(2048 * dropped)


def test_gathered_logits_are_not_divided() -> None:
    whole = held(plain(logits_bytes=10, gathers_logits=True), tp=8, sequence_parallel=True)
    divided = held(plain(logits_bytes=10), tp=8, sequence_parallel=True)
    assert whole.logits_bytes == 10 * 2048 * 32000
    assert divided.logits_bytes == whole.logits_bytes / 8


def test_the_update_can_be_the_fullest_moment() -> None:
    """Then activations are gone and 100 bytes a parameter are there."""
    found = held(plain(update_bytes=100))
    assert found.buffers_bytes == pytest.approx(100 * N_PARAMETERS, rel=1e-4)
    assert (found.activations_bytes, found.logits_bytes) == (0.0, 0.0)


def test_measures_add_up() -> None:
    found = held(find_software("default"))
    assert sum(size for _, size in found.parts()) == pytest.approx(found.total_bytes)
    outside = found.framework_bytes + found.communicators_bytes
    assert found.reserved_bytes == pytest.approx(found.total_bytes - outside)
    assert found.fragmentation_bytes == pytest.approx(0.03 * found.allocated_bytes)


def test_table_and_breakdown_agree() -> None:
    model = find_model("llama3-70b")
    plan = PlanSpec(pp=4, tp=4, dp_shard=4, zero_stage=1, n_microbatches=8)
    software = find_software("torchtitan")
    table = memory_held(model, CLUSTER, JOB, software, PlanTable.of([plan]))
    stages = memory_breakdown(model, CLUSTER, JOB, software, plan)
    assert table.stage_bytes[0, 0] == pytest.approx(stages[0].total_bytes)
    assert table.peak_bytes[0] == pytest.approx(max(stage.total_bytes for stage in stages))
    parts = sum(getattr(table, field.name) for field in fields(table))
    np.testing.assert_allclose(parts, table.stage_bytes)


def states(stage: MemoryBreakdown) -> float:
    return stage.weights_bytes + stage.gradients_bytes + stage.optimizer_bytes


def fullest_states(**plan: object) -> float:
    stages = memory_breakdown(TOY, CLUSTER, JOB, plain(), PlanSpec.model_validate(plan))
    return max(states(stage) for stage in stages)


@given(
    st.sampled_from([1, 2, 4]),
    st.sampled_from([1, 2, 4]),
    st.sampled_from([1, 2, 8]),
    st.integers(1, 3),
    st.sampled_from(["pp", "tp", "dp_shard"]),
)
def test_dividing_more_never_holds_more_states(
    pp: int, tp: int, dp_shard: int, zero_stage: int, axis: str
) -> None:
    """But for the first division into stages under ZeRO 2 and 3, which keeps gradients whole."""
    sizes = {"pp": pp, "tp": tp, "dp_shard": dp_shard}
    more = sizes | {axis: 2 * sizes[axis]}
    assume(more["pp"] <= TOY.n_layers and not (axis == "pp" and pp == 1 and zero_stage >= 2))
    less = fullest_states(**sizes, zero_stage=zero_stage)
    assert fullest_states(**more, zero_stage=zero_stage) <= less * (1 + 1e-12)


@given(st.sampled_from([1, 2, 4]), st.sampled_from(["none", "selective", "full"]))
def test_stages_together_hold_the_model_once(pp: int, recompute: str) -> None:
    plan = PlanSpec.model_validate({"pp": pp, "recompute": recompute})
    stages = memory_breakdown(TOY, CLUSTER, JOB, plain(), plan)
    together = sum(stage.weights_bytes for stage in stages)
    assert together == pytest.approx(2 * N_PARAMETERS, rel=1e-4)


def test_gpipe_keeps_the_softmax_of_every_loss() -> None:
    """4 bytes a logit for seven losses that wait, and 10 for the one that is differentiated."""
    found = held(plain(logits_bytes=10), schedule="gpipe", n_microbatches=8)
    assert found.logits_bytes == (10 + 7 * 4) * 2048 * 32000


@pytest.mark.parametrize(
    ("plan", "buckets"),
    [
        ({"dp_replicate": 2, "n_microbatches": 4}, 1),
        ({"dp_replicate": 2}, 0),
        ({"dp_shard": 2, "zero_stage": 1, "n_microbatches": 4}, 0),
        ({"dp_replicate": 2, "tp": 2, "n_microbatches": 4}, 0),
    ],
)
def test_buckets_lie_beside_gradients_that_add_up(plan: dict[str, int], buckets: int) -> None:
    """4 bytes a parameter."""
    with_them, without = (held(plain(ddp_buckets=on), **plan) for on in (True, False))
    more = with_them.buffers_bytes - without.buffers_bytes
    assert more == pytest.approx(buckets * 4 * N_PARAMETERS, rel=1e-4)


def test_layers_that_are_gathered_and_freed_leave_holes() -> None:
    """Half of 4 bytes of gradients, and of twice 2 bytes of weights, for each of all parameters,
    whatever the number of shards."""
    software = plain(gathered_holes=0.5, fragmentation=0.1)
    stages = [held(software, dp_shard=8, zero_stage=stage) for stage in (1, 2, 3)]
    stages.insert(0, held(software, dp_replicate=8))
    holes = [each.fragmentation_bytes - 0.1 * each.allocated_bytes for each in stages]
    expected = [0.5 * size * N_PARAMETERS for size in (0, 4, 4, 8)]
    assert holes == pytest.approx(expected, rel=1e-4)


def test_gathered_sequences_come_with_the_software() -> None:
    """Two kept inputs of a layer, and three gradients, whole instead of an eighth."""
    divided = held(plain(), tp=8, sequence_parallel=True).activations_bytes
    gathered = held(plain(keeps_gathered_inputs=True), tp=8, sequence_parallel=True)
    more = gathered.activations_bytes - divided
    assert more == pytest.approx((4 * 2 + 3) * 7 / 8 * 2 * 1024 * 2048)


@given(
    st.sampled_from([1, 2, 4]),
    st.sampled_from([1, 2]),
    st.sampled_from([2, 8]),
    st.sampled_from(["default", "torchtitan", "megatron-core-2024", "gloo-cpu"]),
)
def test_a_higher_zero_stage_never_holds_more_states(
    pp: int, tp: int, copies: int, software: str
) -> None:
    """Weights, gradients and optimizer state, whatever the software keeps of them."""
    mesh = {"pp": pp, "tp": tp, "n_microbatches": 2 * pp}
    plans = [PlanSpec.model_validate({**mesh, "dp_replicate": copies})]
    plans += [
        PlanSpec.model_validate({**mesh, "dp_shard": copies, "zero_stage": stage})
        for stage in (1, 2, 3)
    ]
    profile = find_software(software)
    sizes = [
        max(states(stage) for stage in memory_breakdown(TOY, CLUSTER, JOB, profile, plan))
        for plan in plans
    ]
    assert sizes == sorted(sizes, reverse=True)


@given(
    st.sampled_from(["toy", "mixtral-8x7b", "deepseek-v3"]),
    st.sampled_from(["default", "llama-eager", "torchtitan"]),
    st.sampled_from([1, 2, 8]),
    st.booleans(),
    st.sampled_from(
        [
            ("none", "core-attn", "core-attn+layernorm", "core-attn+layernorm+moe", "full"),
            ("none", "mlp", "mlp+moe-act", "mlp+moe-act+core-attn", "full"),
            ("none", "selective", "full"),
            ("none", "every-4", "every-2", "full"),
            ("none", "first-1", "first-2", "full"),
            ("none", "full", "groups-of-2", "groups-of-4"),
        ]
    ),
)
def test_repeating_more_never_keeps_more(
    name: str, software: str, tp: int, sequence_parallel: bool, chain: tuple[str, ...]
) -> None:
    """From its forward to its backward, in each kind of layer."""
    model = TOY if name == "toy" else find_model(name)
    sequence_parallel = sequence_parallel and tp > 1
    kept = []
    for recompute in chain:
        fields_ = {"tp": tp, "sequence_parallel": sequence_parallel, "recompute": recompute}
        table = PlanTable.of([PlanSpec.model_validate(fields_)])
        setting = Setting.of(model, CLUSTER, JOB, find_software(software), table)
        layers = [layer_activations(setting, mixture=mixture) for mixture in (False, True)]
        kept.append([float(layer.kept_bytes[0]) for layer in layers])
    for less, more in pairwise(kept):
        assert all(b <= a * (1 + 1e-12) for a, b in zip(less, more, strict=True))


@given(
    st.sampled_from(["default", "llama-eager", "internevo", "maxtext", "gloo-cpu"]),
    st.sampled_from([1, 2, 4]),
    st.sampled_from([1, 2, 4]),
    st.sampled_from([1, 2, 8]),
    st.integers(0, 3),
    st.sampled_from(["none", "selective", "full"]),
)
def test_lines_are_not_negative_and_add_up(
    software: str, pp: int, tp: int, copies: int, zero_stage: int, recompute: str
) -> None:
    """To the peak of every stage, in the table and one by one."""
    axis = "dp_shard" if zero_stage else "dp_replicate"
    mesh = {"pp": pp, "tp": tp, axis: copies, "zero_stage": zero_stage}
    plan = PlanSpec.model_validate({**mesh, "recompute": recompute, "n_microbatches": pp})
    profile = find_software(software)
    stages = memory_breakdown(TOY, CLUSTER, JOB, profile, plan)
    table = memory_held(TOY, CLUSTER, JOB, profile, PlanTable.of([plan]))
    for stage in stages:
        sizes = [size for _, size in stage.parts()]
        assert min(sizes) >= 0.0
        assert sum(sizes) == pytest.approx(stage.total_bytes)
        assert stage.allocated_bytes <= stage.reserved_bytes <= stage.total_bytes
    fullest = max(stages, key=lambda stage: stage.total_bytes)
    assert table.peak_bytes[0] == pytest.approx(fullest.total_bytes)
    assert table.allocated_bytes[0] == pytest.approx(max(s.allocated_bytes for s in stages))
