"""A plan is refused with the factor that does not fit."""

import pytest

from simulator.spec.errors import InputError
from simulator.spec.job import JobSpec
from simulator.spec.legality import require_legal, violations
from simulator.spec.model import ModelSpec, MoeSpec
from simulator.spec.plan import PlanSpec

JOB = JobSpec(sequence_length=4096, global_batch_sequences=16)
MODEL = ModelSpec(
    name="m",
    n_layers=8,
    hidden_size=1024,
    n_heads=16,
    n_kv_heads=4,
    head_dim=64,
    ffn_size=4096,
    vocab_size=32000,
)
MOE = MODEL.model_copy(update={"moe": MoeSpec(n_experts=8, top_k=2, expert_ffn_size=512)})


def test_a_legal_plan_breaks_nothing() -> None:
    plan = PlanSpec(
        pp=2,
        dp_shard=2,
        cp=2,
        tp=4,
        zero_stage=1,
        sequence_parallel=True,
        schedule="interleaved-1f1b",
        virtual_stages=2,
        n_microbatches=8,
    )
    assert violations(MODEL, JOB, plan, n_devices=32) == []


@pytest.mark.parametrize(
    ("model", "plan", "field", "message"),
    [
        (MODEL, PlanSpec(tp=3, n_microbatches=16), "tp", "n_heads=16 is not divisible by tp=3"),
        (
            MODEL.model_copy(update={"n_heads": 12, "n_kv_heads": 6}),
            PlanSpec(tp=4, n_microbatches=16),
            "tp",
            "n_kv_heads=6 and tp=4: neither divides the other",
        ),
        (
            MODEL.model_copy(update={"ffn_size": 4098}),
            PlanSpec(tp=4, n_microbatches=16),
            "tp",
            "ffn_size=4098 is not divisible by tp=4",
        ),
        (
            MODEL,
            PlanSpec(pp=4, virtual_stages=4, schedule="interleaved-1f1b", n_microbatches=16),
            "pp",
            "pp 4 x virtual_stages 4 = 16 chunks, and the model has 8 layers",
        ),
        (
            MODEL,
            PlanSpec(dp_replicate=3, n_microbatches=5),
            "n_microbatches",
            "dp 3 x microbatch_sequences 1 x n_microbatches 5 = 15 sequences, and the job's batch "
            "is 16",
        ),
        (
            MODEL,
            PlanSpec(
                pp=4,
                virtual_stages=2,
                schedule="interleaved-1f1b",
                dp_replicate=8,
                n_microbatches=2,
            ),
            "n_microbatches",
            "interleaved-1f1b needs n_microbatches=2 divisible by pp=4",
        ),
        (
            MODEL,
            PlanSpec(
                pp=4, virtual_stages=2, schedule="dualpipe-v", dp_replicate=4, n_microbatches=4
            ),
            "n_microbatches",
            "dualpipe-v needs at least 2 x pp = 8 microbatches, and n_microbatches=4",
        ),
        (
            MODEL,
            PlanSpec(cp=3, n_microbatches=16),
            "sequence_length",
            "sequence_length=4096 is not divisible by 6 (cp=3 with two pieces per rank)",
        ),
        (
            MODEL,
            PlanSpec(ep=2, dp_replicate=2, n_microbatches=8),
            "ep",
            "ep=2, and the model has no experts",
        ),
        (
            MOE,
            PlanSpec(ep=16, dp_replicate=16, n_microbatches=1),
            "ep",
            "n_experts=8 is not divisible by ep=16",
        ),
        (
            MODEL,
            PlanSpec(sequence_parallel=True, n_microbatches=16),
            "sequence_parallel",
            "sequence_parallel needs tp > 1",
        ),
        (
            MODEL,
            PlanSpec(pp=2, layers_per_chunk=(4, 5), n_microbatches=16),
            "layers_per_chunk",
            "layers_per_chunk [4, 5] adds up to 9, and the model has 8 layers",
        ),
        (
            MODEL,
            PlanSpec(tp=16, dp_replicate=16, n_microbatches=1),
            "n_ranks",
            "pp 1 x dp 16 x cp 1 x tp 16 = 256 ranks, and the cluster has 64 devices",
        ),
    ],
)
def test_the_broken_rule_is_named(
    model: ModelSpec, plan: PlanSpec, field: str, message: str
) -> None:
    broken, *_ = violations(model, JOB, plan, n_devices=64)
    assert broken.field == field
    assert message in broken.message


def test_an_encoder_needs_one_piece_per_context_rank() -> None:
    job = JobSpec(sequence_length=6, global_batch_sequences=1)
    plan = PlanSpec(cp=6, n_microbatches=1)
    encoder = MODEL.model_copy(update={"kind": "encoder"})
    assert violations(encoder, job, plan, n_devices=6) == []
    assert [v.field for v in violations(MODEL, job, plan, n_devices=6)] == ["sequence_length"]


def test_the_first_factor_is_an_input_error_with_its_place() -> None:
    with pytest.raises(InputError) as raised:
        require_legal(MODEL, JOB, PlanSpec(tp=3), n_devices=1, where="plan.json")
    assert str(raised.value).startswith("plan.json: plan.n_ranks: pp 1 x dp 1")
