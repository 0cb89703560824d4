"""Weights of transformers' own models give the same logits here, and go back as they came."""

from __future__ import annotations

from pathlib import Path
from shutil import copytree, rmtree
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from runtime.exchange.load import load_weights, require_weights
from runtime.exchange.places import family_of
from runtime.exchange.save import save_weights
from runtime.launch import _require_weights, run
from runtime.model.transformer import Transformer, whole_model
from runtime.rank_job import RankJob
from runtime.ranks import run_ranks
from runtime.result import read_metrics
from runtime.run_dir import RunDir
from runtime.worker import train
from simulator.catalog.hf_config import read_hf_config
from simulator.spec.errors import InputError
from simulator.spec.model import ModelSpec
from simulator.spec.scenario import RunSpec
from tests.runtime.plans import fp32, plan_file
from tests.runtime.plans_equal import DEEPSEEK, NEOX, QWEN

COMMON: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 256,
    "max_position_embeddings": 64,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "initializer_range": 0.1,
}
EXPERTS: dict[str, Any] = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
MODELS: dict[str, dict[str, Any]] = {
    "llama": COMMON,
    "mistral": COMMON | {"sliding_window": 8},
    "qwen2": COMMON,
    "qwen3": COMMON | {"head_dim": 16, "tie_word_embeddings": True},
    "mixtral": COMMON | {"num_local_experts": 4, "num_experts_per_tok": 2},
    "qwen2_moe": COMMON | EXPERTS | {"shared_expert_intermediate_size": 48},
    "qwen3_moe": COMMON | EXPERTS | {"head_dim": 16, "norm_topk_prob": True},
    "deepseek_v2": COMMON
    | {
        "num_key_value_heads": 4,
        "q_lora_rank": 24,
        "kv_lora_rank": 16,
        "qk_nope_head_dim": 16,
        "qk_rope_head_dim": 8,
        "v_head_dim": 12,
        "n_routed_experts": 8,
        "n_shared_experts": 2,
        "num_experts_per_tok": 3,
        "moe_intermediate_size": 32,
        "first_k_dense_replace": 1,
        "routed_scaling_factor": 2.0,
        "topk_method": "group_limited_greedy",
        "n_group": 4,
        "topk_group": 2,
    },
    "gpt2": {
        "n_embd": 64,
        "n_layer": 2,
        "n_head": 4,
        "vocab_size": 256,
        "n_positions": 64,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "initializer_range": 0.1,
    },
}
TOKENS = torch.randint(256, (2, 24), generator=torch.Generator().manual_seed(0))

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.filterwarnings("ignore"),  # of transformers, about itself
]


def saved(kind: str, folder: Path) -> Path:
    """Save a small model with random weights, as transformers does."""
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    model: Any = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **MODELS[kind]))  # type: ignore[no-untyped-call]
    for weight in model.parameters():  # biases and norms too, which begin as 0 and 1
        nn.init.normal_(weight, std=0.2)
    model.save_pretrained(folder)
    return folder


def their_logits(folder: Path) -> Tensor:
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        logits: Tensor = model.eval()(TOKENS).logits
    return logits


class _Logits(nn.Module):
    """In the place of the loss."""

    def forward(self, logits: Tensor, _targets: Tensor) -> Tensor:
        return logits


def our_logits(spec: ModelSpec, folder: Path) -> Tensor:
    model = Transformer(spec, whole_model(spec))
    load_weights(model, spec, folder)
    model.loss = _Logits()  # type: ignore[assignment]
    with torch.no_grad():
        logits: Tensor = model(TOKENS, TOKENS)
    return logits


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {kind: saved(kind, tmp_path_factory.mktemp(kind)) for kind in MODELS}


@pytest.mark.parametrize("kind", MODELS)
def test_logits_are_those_of_transformers(kind: str, folders: dict[str, Path]) -> None:
    spec = read_hf_config(folders[kind])
    assert family_of(spec).model_type == kind
    require_weights(spec, folders[kind])
    theirs = their_logits(folders[kind])
    assert theirs.std() > 0.1
    torch.testing.assert_close(our_logits(spec, folders[kind]), theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.ranks
def test_weights_go_through_every_plan_and_back(folders: dict[str, Path], tmp_path: Path) -> None:
    """Trained for a step at a rate of next to nothing: what is saved is what was loaded."""
    files, plans = (
        {},
        {
            "llama": fp32(tp=2, sequence_parallel=True, microbatch_sequences=8),
            "qwen3": fp32(dp_shard=2, zero_stage=3, microbatch_sequences=4),
            "qwen2_moe": fp32(dp_shard=2, zero_stage=3, ep=2, microbatch_sequences=4),
            "mixtral": fp32(tp=2, sequence_parallel=True, microbatch_sequences=8),
            "deepseek_v2": fp32(dp_shard=2, zero_stage=3, ep=2, microbatch_sequences=4),
            "gpt2": fp32(pp=2, microbatch_sequences=4, n_microbatches=2),
        },
    )
    for kind, plan in plans.items():
        place = RunDir(tmp_path / kind)
        place.root.mkdir()
        settings = RunSpec(
            steps=1,
            learning_rate=1e-12,
            weight_decay=0.0,
            data="random",
            init_from=str(folders[kind]),
        )
        spec = read_hf_config(folders[kind])
        file = plan_file(plan, model=spec, run=settings)
        place.plan.write_text(file.model_dump_json())
        files[kind] = place
    run_ranks(
        RankJob(
            module="runtime.worker",
            arguments=tuple(str(place.plan) for place in files.values()),
            n_ranks=2,
            folder=str(tmp_path),
        )
    )
    for kind, place in files.items():
        save_weights(place, tmp_path / f"{kind}-saved")
        assert read_hf_config(tmp_path / f"{kind}-saved").model_copy(
            update={"name": "", "source": ""}
        ) == read_hf_config(folders[kind]).model_copy(update={"name": "", "source": ""})
        torch.testing.assert_close(
            their_logits(tmp_path / f"{kind}-saved"),
            their_logits(folders[kind]),
            rtol=1e-5,
            atol=1e-5,
        )


def test_weights_to_begin_with_are_not_needed_to_go_on(
    folders: dict[str, Path], tmp_path: Path, one_process_group: None
) -> None:
    spec, place = read_hf_config(folders["llama"]), RunDir(tmp_path / "run")
    place.root.mkdir()
    gone = copytree(folders["llama"], tmp_path / "gone")
    for steps in (1, 2):
        settings = RunSpec(steps=steps, data="random", init_from=str(gone))
        file = plan_file(fp32(microbatch_sequences=8), model=spec, run=settings)
        _require_weights(place, file)
        train(file, place, torch.device("cpu"))
        if steps == 1:
            rmtree(gone)
    assert [step.step for step in read_metrics(place.metrics)] == [1, 2]
    with pytest.raises(InputError, match="gone"):
        _require_weights(RunDir(tmp_path / "new"), file)


def test_large_models_are_saved_in_several_files(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from runtime.exchange import save

    monkeypatch.setattr(save, "LARGEST_FILE_BYTES", 100_000)
    spec = read_hf_config(folders["llama"])
    model = Transformer(spec, whole_model(spec))
    load_weights(model, spec, folders["llama"])
    weights = {name: weight.detach() for name, weight in model.named_weights()}
    written = save._write(save._joined(spec, weights), tmp_path)
    assert len(written) > 3
    (tmp_path / "config.json").write_text((folders["llama"] / "config.json").read_text())
    torch.testing.assert_close(their_logits(tmp_path), their_logits(folders["llama"]))


def test_a_model_that_does_not_match_says_which_tensors(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    spec = read_hf_config(folders["llama"])
    other = spec.model_copy(update={"n_layers": 3, "ffn_size": 128, "vocab_size": 256})
    with pytest.raises(InputError) as caught:
        run(
            plan_file(fp32(), model=other, run=RunSpec(init_from=str(folders["llama"]))),
            run_dir=tmp_path / "run",
        )
    said = str(caught.value)
    assert "missing: model.layers.2.input_layernorm.weight" in said
    assert "of another shape: model.layers.0.mlp." in said
    assert "(96, 64), and the model has (128, 64)" in said
    assert not (tmp_path / "run").exists()
    fewer = spec.model_copy(update={"n_layers": 1})
    with pytest.raises(InputError, match=r"not in the model: model\.layers.1.input_layernorm"):
        require_weights(fewer, folders["llama"])


def test_folders_without_weights(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there are no safetensors files here"):
        require_weights(QWEN.model_copy(update={"qkv_bias": False}), tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0nonsense")
    with pytest.raises(InputError, match="damaged: "):
        require_weights(QWEN.model_copy(update={"qkv_bias": False}), tmp_path)


@pytest.mark.parametrize("spec", [NEOX, DEEPSEEK], ids=lambda spec: spec.name)
def test_models_of_no_family(spec: ModelSpec) -> None:
    """DEEPSEEK has a router with biases and sigmoids: to leave that out would be another model."""
    with pytest.raises(InputError, match=f"{spec.name} is like no model of llama, "):
        family_of(spec)
