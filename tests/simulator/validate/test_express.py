from dataclasses import replace

import pytest

from simulator.validate.express import Case, Skipped, express
from simulator.validate.rows import RunRow

ROW = RunRow(
    id="a",
    source="Megatron-LM",
    model="GPT 22B",
    device="A100-SXM-80GB",
    interconnect="8x200Gb/s HDR IB per node",
    n_layers=48,
    hidden=6144,
    heads=64,
    ffn_hidden=24576,
    gated_ffn=False,
    vocab=51200,
    seq_len=2048,
    global_batch_seqs=64,
    micro_batch=1,
    n_devices=64,
    tp=8,
    pp=4,
    dp=2,
    recompute="full",
    precision="fp16",
    attention_impl="unfused",
    measured_step_s=1.0,
)


def case(**changes: object) -> Case:
    found = express(replace(ROW, **changes))  # type: ignore[arg-type]
    assert isinstance(found, Case), found
    return found


def test_a_complete_row_becomes_its_plan() -> None:
    found = case(vpp=1)
    assert found.assumed == ()
    assert found.plan.label() == "tp8+sp pp4 dp2 zero0 mb1 full-recompute"
    assert found.plan.n_microbatches == 32
    assert found.model.head_dim == 96
    assert found.job.attention == "unfused"
    assert found.job.software == "megatron-2021"
    assert found.cluster.fabric.nic.bandwidth_bytes_per_s == pytest.approx(25e9)


def test_blank_cells_are_filled_by_rule_and_named() -> None:
    found = case(micro_batch=None, recompute="", vpp=None)
    assert found.assumed == ("micro_batch", "recompute", "vpp")
    assert (found.plan.microbatch_sequences, found.plan.virtual_stages) == (1, 2)


def test_fsdp_pipelines_run_as_many_microbatches_as_stages() -> None:
    found = case(zero_stage_or_fsdp="FSDP2 (ZeRO-3)", micro_batch=None, vpp=1)
    assert (found.plan.n_microbatches, found.plan.dp_shard) == (4, 2)
    assert found.plan.zero_stage == 2  # gathered weights stay from forward to backward


@pytest.mark.parametrize(("sequence", "micro"), [(512, 8), (2048, 2), (4096, 1), (8192, 1)])
def test_microbatches_without_a_pipeline_keep_a_device_busy(sequence: int, micro: int) -> None:
    found = case(seq_len=sequence, micro_batch=None, pp=1, tp=4, dp=16, global_batch_seqs=256)
    assert found.plan.microbatch_sequences == micro
    assert "micro_batch" in found.assumed


@pytest.mark.parametrize(("source", "sequence_parallel"), [("arXiv 2104.1", False), ("x", True)])
def test_sequence_parallelism_is_newer_than_tensor_parallelism(
    source: str, sequence_parallel: bool
) -> None:
    assert case(source=source, vpp=1).plan.sequence_parallel == sequence_parallel


@pytest.mark.parametrize(
    ("interconnect", "gbps"),
    [
        ("8x200Gb/s HDR IB per node", 200),
        ("NVLink; 50Gb/s per GPU", 50),
        ("NVLink; 3200Gbps EFA per node", 400),
        ("1.6 Tb/s per server", 200),
        ("800 Gbps per node (RoCE)", 100),
    ],
)
def test_links_in_many_spellings(interconnect: str, gbps: float) -> None:
    nic = case(interconnect=interconnect, vpp=1).cluster.fabric.nic
    assert nic.bandwidth_bytes_per_s == pytest.approx(gbps / 8 * 1e9)


def test_layers_that_only_divide_with_embedding_and_head() -> None:
    found = case(n_layers=46, vpp=4, pp=4, tp=8, dp=2)
    assert found.plan.layers_per_chunk == (2, *[3] * 14, 2)


@pytest.mark.parametrize(
    ("zero", "sharded", "stage"),
    [
        ("ZeRO-1 over 2 ranks in-node", 2, 1),
        ("ZeRO-1", 8, 1),
        ("none", 1, 0),
        ("JAX FSDP 4 (HSDP)", 4, 3),
        ("FSDP SHARD_GRAD_OP (ZeRO-2)", 8, 2),
    ],
)
def test_sharding(zero: str, sharded: int, stage: int) -> None:
    found = case(zero_stage_or_fsdp=zero, dp=8, pp=1, tp=8)
    assert (found.plan.dp_shard, found.plan.zero_stage) == (sharded, stage)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"hidden": None}, "hidden not stated"),
        ({"pp": 8, "dp": 1, "vpp": 8}, "pp x vpp = 64 chunks, and the model has 48 layers"),
        ({"ep": 2}, "ep=2, and the model has no experts"),
        ({"dp": 3}, "tp x pp x dp x cp = 96, and n_devices is 64"),
        ({"task": "lora"}, "task lora is not pretraining"),
        ({"device": "abacus"}, "unknown device 'abacus'"),
        ({"precision": "int4"}, "precision int4 is not modelled"),
        ({"problem": "tp='x' cannot be read"}, "tp='x' cannot be read"),
        ({"kv_heads": 7}, "n_heads=64 is not a multiple of n_kv_heads=7"),
    ],
)
def test_rows_that_cannot_be_expressed_say_why(changes: dict[str, object], reason: str) -> None:
    found = express(replace(ROW, **changes))  # type: ignore[arg-type]
    assert isinstance(found, Skipped)
    assert reason in found.reason


@pytest.mark.parametrize(
    ("changes", "column", "plan"),
    [
        ({"micro_batch": 3}, "micro_batch", "mb2"),
        ({"global_batch_seqs": 63}, "global_batch_seqs", "mb1"),
        ({"global_batch_seqs": None}, "global_batch_seqs", "mb1"),
    ],
)
def test_batches_that_do_not_divide_are_rounded_and_named(
    changes: dict[str, object], column: str, plan: str
) -> None:
    found = case(vpp=1, **changes)
    assert column in found.assumed
    assert plan in found.plan.label()


def test_dimensions_of_a_model_by_name_come_from_the_catalog() -> None:
    found = case(
        model="Llama 3 8B", n_layers=None, hidden=None, heads=None, ffn_hidden=None, vocab=None,
        gated_ffn=None, tp=1, pp=1, dp=64, vpp=1,
    )  # fmt: skip
    assert (found.model.n_layers, found.model.ffn_size, found.model.n_kv_heads) == (32, 14336, 8)
    assert {"n_layers", "hidden", "vocab"} <= set(found.assumed)


def test_blank_widths_follow_from_the_hidden_width() -> None:
    found = case(heads=None, ffn_hidden=None, vocab=None, gated_ffn=True, vpp=1)
    assert (found.model.n_heads, found.model.ffn_size, found.model.vocab_size) == (48, 16384, 32000)
    assert found.assumed == ("ffn_hidden", "heads", "vocab")


@pytest.mark.parametrize(
    ("cell", "precision"),
    [("", "bf16"), ("FP8 (tensorwise)", "fp8"), ("bfloat16", "bf16"), ("FP16 mixed", "fp16")],
)
def test_number_formats_in_many_spellings(cell: str, precision: str) -> None:
    assert case(precision=cell, vpp=1).job.precision == precision


@pytest.mark.parametrize(
    ("notes", "precision"),
    [
        ('NeMo container 26.04; precision label "MXFP8"; cudagraphs on', "mxfp8"),
        ('precision label "FP8" (parenthesised variant: other granularity)', "mxfp8"),
        ("power-limited B200; mxfp8_cublas_rceil", "mxfp8"),
        ('NeMo container 26.04; precision label "FP8"; cudagraphs on', "fp8"),
        ("power-limited B200; float8 tensorwise", "fp8"),
    ],
)
def test_notes_say_which_scales_fp8_has(notes: str, precision: str) -> None:
    assert case(precision="fp8", notes=notes, vpp=1).job.precision == precision
    assert case(precision="bf16", notes=notes, vpp=1).job.precision == "bf16"


def test_devices_without_bf16_train_in_fp16() -> None:
    assert case(device="V100-SXM2-32GB", precision="", vpp=1).job.precision == "fp16"


@pytest.mark.parametrize(
    ("cell", "kind"),
    [
        ("No", "none"),
        ("full (uniform)", "full"),
        ("Selective", "core-attn"),
        ("True", "full"),
        ("full, uniform, 1 layer", "full"),
        ("full, block, 12 layers", "first-12"),
        ("uniform 4", "groups-of-4"),
        ("selective (every 2nd layer)", "every-2"),
        ("every layer", "full"),
        ("selective: core_attn", "core-attn"),
        ("selective: moe_act, layernorm", "layernorm+moe-act"),
        ("mla_up_proj mlp", "mlp+mla-up-proj"),
    ],
)
def test_recompute_in_many_spellings(cell: str, kind: str) -> None:
    assert case(recompute=cell, vpp=1).plan.recompute == kind


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("NeMo 24.07", "core-attn"),
        ("Megatron-DeepSpeed", "core-attn"),
        ("torchtitan", "selective"),
        ("MaxText", "selective"),
        ("somebody's own code", "selective"),
    ],
)
def test_selective_is_what_the_software_calls_so(source: str, kind: str) -> None:
    found = case(source=source, recompute="selective", attention_impl="", vpp=1)
    assert found.plan.recompute == kind


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        ("NVIDIA H100 80GB HBM3", "h100-sxm-80gb"),
        ("A100-PCIE-40GB", "a100-pcie-40gb"),
        ("TPU v5p", "tpu-v5p"),
        ("AMD MI300X", "mi300x"),
        ("H200 SXM", "h200-sxm-141gb"),
    ],
)
def test_devices_in_many_spellings(cell: str, name: str) -> None:
    assert case(device=cell, vpp=1).cluster.device.name == name


def test_a_row_without_measurements_is_predicted() -> None:
    assert case(measured_step_s=None, vpp=1).row.step_s is None


def test_experts_of_a_known_family() -> None:
    found = case(
        model="deepseekv3 truncated to 4 layers",
        n_layers=4,
        n_experts=256,
        top_k=8,
        moe_ffn_hidden=2048,
        pp=1,
        dp=8,
        ep=8,
    )
    assert found.model.mla is not None
    assert found.model.moe is not None
    assert (found.model.moe.n_dense_layers, found.model.moe.n_shared_experts) == (1, 1)
