import pytest

from simulator.catalog import find_software
from simulator.validate.rows import RunRow
from simulator.validate.software import RULES, has_unfused_attention, software_rule


@pytest.mark.parametrize("profile", sorted({rule.profile for rule in RULES}))
def test_every_rule_names_a_profile(profile: str) -> None:
    assert find_software(profile).name == profile


@pytest.mark.parametrize(
    ("source", "notes", "device", "profile"),
    [
        ("Megatron-Bridge", "NeMo container 25.09; FP8", "GB200", "megatron-bridge-25.09"),
        ("Megatron-Bridge", "NeMo container 26.02; FP8", "B200", "megatron-bridge-25.11"),
        ("Megatron-Bridge", "NeMo container 26.02.01; FP8", "B200", "megatron-bridge-26.02.01"),
        ("Megatron-Bridge", "NeMo container 26.06; FP8", "GB200", "megatron-bridge-26.06"),
        ("Megatron-Bridge", "NeMo container 26.06; FP8", "H100-SXM", "megatron-bridge-26.02.01"),
        ("SimuMax validation", "", "B200", "megatron-plain-b200"),
        ("SimuMax validation", "", "A100-PCIE", "megatron-plain"),
        ("BigScience, Megatron-DeepSpeed", "", "A100", "megatron-deepspeed"),
        ("somebody, DeepSpeed ZeRO-3", "", "A100", "fsdp-eager"),
        ("Hugging Face accelerate", "", "A100", "fsdp-eager"),
        ("picotron", "", "H100", "nanotron"),
        ("own runs", "torch.compile", "H100", "torchtitan"),
        ("levanter", "", "A100", "maxtext-gpu"),
        ("anything", "", "TPU v5e", "maxtext"),
        ("anything", "", "A100", "default"),
    ],
)
def test_rows_get_their_software_generation(
    source: str, notes: str, device: str, profile: str
) -> None:
    row = RunRow(source=source, notes=notes, device=device)
    assert software_rule(row).profile == profile


def test_attention_sinks_had_no_fused_kernel_at_first() -> None:
    early = RunRow(model="GPT OSS 120B", notes="NeMo container 25.11")
    late = RunRow(model="GPT OSS 120B", notes="NeMo container 26.06")
    assert has_unfused_attention(early)
    assert not has_unfused_attention(late)


@pytest.mark.parametrize(
    ("source", "device", "profile", "unfused"),
    [
        ("Megatron-LM (arXiv 1909.08053)", "V100-SXM2-32GB", "megatron-2021", True),
        ("somebody (arXiv:2107.01234)", "A100", "megatron-2021", True),
        ("somebody with fairseq (arXiv 2205.01234)", "A100", "fsdp-eager", True),
        ("somebody (arXiv 2212.1)", "TPU v4", "maxtext", True),
        ("somebody (arXiv 2301.1)", "A100", "default", False),
        ("own runs", "V100", "default", True),
    ],
)
def test_early_articles_had_no_fused_attention(
    source: str, device: str, profile: str, unfused: bool
) -> None:
    row = RunRow(source=source, device=device)
    assert (software_rule(row).profile, has_unfused_attention(row)) == (profile, unfused)
    assert not has_unfused_attention(RunRow(source=source, attention_impl="flash", device=device))
