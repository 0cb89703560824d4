"""Hands exported files to the target's own code: `python accept.py`, cases as JSON lines on stdin.

A case is {target, folder, n_ranks, dp}; the answer to each is a line, "accepted" or what the target
said. It runs in a process of its own, because the targets change torch and warn when imported.
"""

from __future__ import annotations

import importlib.util
import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock


def torchtitan(folder: Path, n_ranks: int, _dp: int) -> None:
    """Build ParallelDims and its meshes on a fake process group; let torch check the schedule."""
    import torch.distributed as dist
    from torch.testing._internal.distributed.fake_pg import FakeStore
    from torchtitan.config import ParallelismConfig, TrainingConfig
    from torchtitan.distributed import ParallelDims

    from planner.export.torchtitan import recipe_constants

    recipe = (folder / "armillary_recipe" / "config_registry.py").read_text()
    parallelism, training, _ = recipe_constants(recipe)
    config: Any = ParallelismConfig(**parallelism)
    TrainingConfig(**training)
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=n_ranks)
    try:
        ParallelDims.from_config(config, n_ranks).build_mesh()
    finally:
        dist.destroy_process_group()
    if (folder / "schedule.csv").exists():
        _torch_schedule(folder / "schedule.csv", config)


def _torch_schedule(path: Path, config: Any) -> None:
    from torch.distributed.pipelining.schedules import _Action, _validate_schedule

    rows = [line.split(",") for line in path.read_text().splitlines()]
    actions = {rank: [_Action.from_str(cell) for cell in row] for rank, row in enumerate(rows)}
    n_stages = len(config.module_fqns_per_model_part)
    n_microbatches = 1 + max(a.microbatch_index for row in actions.values() for a in row if a)
    _validate_schedule(actions, config.pipeline_parallel_degree, n_stages, n_microbatches)


def megatron(folder: Path, n_ranks: int, dp: int) -> None:
    """Build the TransformerConfig that the flags mean, and Megatron's microbatch calculator."""
    from megatron.core.num_microbatches_calculator import ConstantNumMicroBatchesCalculator
    from megatron.core.transformer.transformer_config import MLATransformerConfig, TransformerConfig

    from planner.export.megatron import flags

    given = flags((folder / "megatron.args").read_text())
    kind: Any = MLATransformerConfig if "--multi-latent-attention" in given else TransformerConfig
    names = {"num_query_groups", *kind.__dataclass_fields__}
    fields = {
        flag[2:].replace("-", "_"): _value(value)
        for flag, value in given.items()
        if flag[2:].replace("-", "_") in names
    }
    fields |= {"num_moe_experts": int(given["--num-experts"])} if "--num-experts" in given else {}
    if "--swiglu" in given:
        fields["gated_linear_unit"] = True
    if "--disable-bias-linear" in given:
        fields["add_bias_linear"] = False
    if fields["pipeline_model_parallel_size"] > 1:
        import torch

        fields["pipeline_dtype"] = torch.bfloat16
    virtual = given.get("--num-virtual-stages-per-pipeline-rank")
    if virtual is not None:
        fields["virtual_pipeline_model_parallel_size"] = int(virtual)
    kind(**fields)
    shape = [given[f"--{name}-parallel-size"] for name in ("tensor-model", "pipeline-model")]
    inner = int(shape[0]) * int(shape[1]) * int(given["--context-parallel-size"])
    if n_ranks % inner or n_ranks // inner != dp:
        raise ValueError(f"megatron derives dp={n_ranks / inner:g}, and the plan has dp={dp}")
    batch, microbatch = int(given["--global-batch-size"]), int(given["--micro-batch-size"])
    ConstantNumMicroBatchesCalculator(batch, microbatch, dp, False, 0)


def _value(text: str) -> Any:
    if text == "":
        return True
    try:
        return json.loads(text)
    except ValueError:
        return text


def deepspeed(folder: Path, n_ranks: int, dp: int) -> None:
    """Build DeepSpeedConfig, told the number of ranks that it would find when running."""
    from deepspeed.runtime.config import DeepSpeedConfig

    config = json.loads((folder / "ds_config.json").read_text())
    topology = mock.Mock()
    topology.get_data_parallel_world_size.return_value = dp
    with (
        mock.patch("deepspeed.comm.get_rank", return_value=0),
        mock.patch("deepspeed.comm.get_world_size", return_value=n_ranks),
    ):
        DeepSpeedConfig(config, mpu=topology if n_ranks != dp else None)


def script(folder: Path, _n_ranks: int, _dp: int) -> None:
    """Let bash read every script without running it, and torchrun's parser its arguments."""
    import subprocess

    from torch.distributed.run import get_args_parser

    for path in [*folder.glob("*.sh"), *folder.glob("*.sbatch")]:
        subprocess.run(["bash", "-n", str(path)], check=True)
        line = next(line for line in path.read_text().splitlines() if "torchrun " in line)
        get_args_parser().parse_args(shlex.split(line[line.index("torchrun ") :])[1:])


CHECKS: dict[str, tuple[str, Callable[[Path, int, int], None]]] = {
    "torchtitan": ("torchtitan", torchtitan),
    "megatron": ("megatron", megatron),
    "deepspeed": ("deepspeed", deepspeed),
    "torchrun": ("torch", script),
    "slurm": ("torch", script),
}


def main() -> None:
    """Answer every case."""
    for line in sys.stdin:
        case = json.loads(line)
        package, check = CHECKS[case["target"]]
        if importlib.util.find_spec(package) is None:
            answer = f"absent: {package}"
        else:
            try:
                check(Path(case["folder"]), case["n_ranks"], case["dp"])
                answer = "accepted"
            except (Exception, SystemExit) as error:
                answer = f"{type(error).__name__}: {error}".replace("\n", " ")
        sys.stdout.write(f"ANSWER {answer}\n")


if __name__ == "__main__":
    main()
