"""Hands exported files to the target's own code: `python accept.py`, cases as JSON lines on stdin.

A case is a `Case` below; the answer to each is a line, "accepted" or what the target said. It runs
in a process of its own, because the targets change torch and warn when imported. The checks that
end in -whole need what `scripts/export-check` installs.
"""

from __future__ import annotations

import importlib.util
import json
import os
import runpy
import shlex
import subprocess
import sys
import types
import typing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from simulator.spec.model import ModelSpec


@dataclass(frozen=True, slots=True)
class Case:
    """An export on disk, and what the target should find in it."""

    check: str
    folder: str
    n_ranks: int
    dp: int
    n_parameters: int
    """Of the whole model."""
    model: str
    """The model as JSON."""

    @property
    def path(self) -> Path:
        """The export's folder."""
        return Path(self.folder)


@contextmanager
def _fake_ranks(n_ranks: int) -> Iterator[None]:
    import torch.distributed as dist
    from torch.testing._internal.distributed.fake_pg import FakeStore

    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=n_ranks)
    try:
        yield
    finally:
        dist.destroy_process_group()


def torchtitan(case: Case) -> None:
    """Build ParallelDims and its meshes on a fake process group, and place the stages."""
    from torchtitan.config import ParallelismConfig, TrainingConfig
    from torchtitan.distributed import ParallelDims
    from torchtitan.distributed.pipeline_parallel import _get_pp_rank_to_stage_indices_mapping

    from planner.export.torchtitan import RECIPE
    from planner.export.torchtitan_recipe import recipe_constants

    parallelism, training = recipe_constants((case.path / RECIPE).read_text())
    config: Any = ParallelismConfig(**parallelism)
    TrainingConfig(**training)
    with _fake_ranks(case.n_ranks):
        ParallelDims.from_config(config, case.n_ranks).build_mesh()
    pp, parts = config.pipeline_parallel_degree, config.module_fqns_per_model_part or [[]]
    schedule = config.pipeline_parallel_schedule
    ranks = [
        _get_pp_rank_to_stage_indices_mapping(rank, pp, schedule, len(parts)) for rank in range(pp)
    ]
    if sorted(stage for stages in ranks for stage in stages) != list(range(len(parts))):
        raise ValueError(f"{len(parts)} stages are placed as {ranks}")


def torchtitan_whole(case: Case) -> None:
    """Run the recipe as torchtitan's command line does, and make its model on the meta device."""
    import torch

    sys.path.insert(0, case.folder)
    for name in [name for name in sys.modules if name.startswith("armillary_recipe")]:
        del sys.modules[name]
    try:
        from torchtitan.config import ConfigManager

        words = ["--module", "armillary_recipe", "--config", "plan"]
        config: Any = ConfigManager().parse_args(words)
    finally:
        sys.path.remove(case.folder)
    config.model_spec.model.update_from_config(config=config)
    with torch.device("meta"):
        model = config.model_spec.model.build()
    found = sum(each.numel() for each in model.parameters())
    if found != case.n_parameters:
        raise ValueError(f"{found} parameters, and the plan's model has {case.n_parameters}")
    _compare_numbers(model, ModelSpec.model_validate_json(case.model))


def _compare_numbers(built: Any, spec: ModelSpec) -> None:
    """Compare norms, rotary positions and routing of torchtitan's own model with the plan's."""
    from torchtitan.models.common.moe import MoE
    from torchtitan.models.common.nn_modules import RMSNorm
    from torchtitan.models.common.rope import RoPE

    scaling = spec.rope_scaling
    for module in built.modules():
        if isinstance(module, RMSNorm):
            _expect("eps", module.eps, spec.norm_eps)
        elif isinstance(module, RoPE):
            _expect("theta", module.config.theta, spec.rope_base)
            kind = scaling.kind if scaling is not None else "none"
            _expect("scaling", module.config.scaling, {"llama3": "llama"}.get(kind, kind))
            if scaling is not None:
                theirs = module.config.scaling_factor, module.config.rope_factor
                _expect("factor", theirs[scaling.kind == "yarn"], scaling.factor)
        elif isinstance(module, MoE) and spec.moe is not None:
            router = module.router
            _expect("score_func", router.score_func, spec.moe.router_score)
            _expect("route_norm", router.route_norm, spec.moe.normalize_top_k)
            _expect("route_scale", router.route_scale, spec.moe.routed_scale)
            _expect("groups", router.num_expert_groups or 1, spec.moe.n_groups)
            _expect("limited groups", router.num_limited_groups or 1, spec.moe.top_groups)
            _expect("bias rate", module.load_balance_coeff, spec.moe.expert_bias_rate or 1e-3)


def _expect(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise ValueError(f"{what}={found}, and the plan's model has {wanted}")


def megatron(case: Case) -> None:
    """Build the TransformerConfig that the flags mean, and Megatron's microbatch calculator."""
    from megatron.core.num_microbatches_calculator import ConstantNumMicroBatchesCalculator
    from megatron.core.transformer.transformer_config import MLATransformerConfig, TransformerConfig

    from planner.export.megatron import ARGUMENTS
    from planner.export.settings import script_flags

    words = script_flags((case.path / ARGUMENTS).read_text(), ARGUMENTS)
    given = {name: str(value) for name, value in words.items()}
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
    if "recompute_modules" in fields:
        fields["recompute_modules"] = given["--recompute-modules"].split()  # nargs="*"
    if fields["pipeline_model_parallel_size"] > 1:
        import torch

        fields["pipeline_dtype"] = torch.bfloat16
    virtual = given.get("--num-virtual-stages-per-pipeline-rank")
    if virtual is not None:
        fields["virtual_pipeline_model_parallel_size"] = int(virtual)
    kind(**fields)
    shape = [given[f"--{name}-parallel-size"] for name in ("tensor-model", "pipeline-model")]
    inner = int(shape[0]) * int(shape[1]) * int(given["--context-parallel-size"])
    if case.n_ranks % inner or case.n_ranks // inner != case.dp:
        derived = case.n_ranks / inner
        raise ValueError(f"megatron derives dp={derived:g}, and the plan has dp={case.dp}")
    batch, microbatch = int(given["--global-batch-size"]), int(given["--micro-batch-size"])
    ConstantNumMicroBatchesCalculator(batch, microbatch, case.dp, False, 0)


def megatron_whole(case: Case) -> None:
    """Parse and validate the arguments with Megatron-LM's own code, told of a Hopper device."""
    if not hasattr(typing, "override"):  # Python 3.11
        from typing_extensions import override

        typing.override = override  # type: ignore[attr-defined, unused-ignore]
    from megatron.training.arguments import (
        core_transformer_config_from_args,
        parse_args,
        validate_args,
    )

    from planner.export.megatron import ARGUMENTS

    # Fused rotary embeddings need Transformer Engine, which needs a GPU.
    words = [*shlex.split((case.path / ARGUMENTS).read_text(), comments=True), "--no-rope-fusion"]
    words += ["--lr", "1e-4"] * ("--lr" not in words)  # the launch script asks for it
    ranks = {"WORLD_SIZE": str(case.n_ranks), "RANK": "0", "CUDA_DEVICE_MAX_CONNECTIONS": "1"}
    device = types.SimpleNamespace(major=9, minor=0)
    with (
        mock.patch.dict(os.environ, ranks),
        mock.patch.object(sys, "argv", ["pretrain_gpt.py", *words]),
        mock.patch("torch.cuda.get_device_properties", return_value=device),
        mock.patch("torch.cuda.get_device_capability", return_value=(9, 0)),
    ):
        arguments = parse_args()
        validate_args(arguments, {})
        config = core_transformer_config_from_args(arguments)
    spec = ModelSpec.model_validate_json(case.model)
    _expect("norm epsilon", config.layernorm_epsilon, spec.norm_eps)
    _expect("init std", config.init_method_std, spec.init_std)
    if spec.moe is not None:
        _expect("score function", config.moe_router_score_function, spec.moe.router_score)
        _expect("bias", config.moe_router_enable_expert_bias, spec.moe.expert_bias_rate > 0)
        _expect("aux loss", config.moe_aux_loss_coeff, spec.moe.aux_loss_coefficient)
    if spec.position == "rope":
        _expect("rotary base", arguments.rotary_base, spec.rope_base)
        scales = spec.rope_scaling is not None and spec.rope_scaling.kind == "llama3"
        _expect("llama3's scaling", arguments.use_rope_scaling, scales)
    if spec.mla is not None and spec.rope_scaling is not None:
        _expect("yarn factor", config.rotary_scaling_factor, spec.rope_scaling.factor)
        _expect("mscale_all_dim", config.mscale_all_dim, spec.rope_scaling.mscale_all_dim)
    if arguments.data_parallel_size != case.dp:
        raise ValueError(
            f"megatron derives dp={arguments.data_parallel_size}, and the plan has dp={case.dp}"
        )


def _value(text: str) -> Any:
    if text == "":
        return True
    try:
        return json.loads(text)
    except ValueError:
        return text


def deepspeed(case: Case) -> None:
    """Build DeepSpeedConfig, told the number of ranks that it would find when running."""
    from deepspeed.runtime.config import DeepSpeedConfig

    config = json.loads((case.path / "ds_config.json").read_text())
    topology = mock.Mock()
    topology.get_data_parallel_world_size.return_value = case.dp
    with (
        mock.patch("deepspeed.comm.get_rank", return_value=0),
        mock.patch("deepspeed.comm.get_world_size", return_value=case.n_ranks),
    ):
        DeepSpeedConfig(config, mpu=topology if case.n_ranks != case.dp else None)


def accelerate(case: Case) -> None:
    """Build ParallelismConfig, its mesh on a fake process group, and the settings of FSDP.

    accelerate compares the sizes with the number of ranks in a function of its own.
    """
    from accelerate.parallelism_config import ParallelismConfig

    found = runpy.run_path(str(case.path / "armillary_accelerate.py"))
    config = ParallelismConfig(**found["PARALLELISM"])
    if found["FSDP"]:
        found["plugin"]()
    ranks = types.SimpleNamespace(
        num_processes=case.n_ranks, multi_device=True, is_fsdp2=bool(found["FSDP"])
    )
    config._validate_accelerator(ranks)
    with _fake_ranks(case.n_ranks):
        config.build_device_mesh("cpu")


def kubernetes(case: Case) -> None:
    """Validate every object against the schemas of Kubernetes, unknown fields refused."""
    found = _kubernetes_objects(case)
    _job_fits(found["Job"]["spec"], case)


def job_set(case: Case) -> None:
    """Take the JobSet through its own model, which drops what it does not know, and its Job."""
    from kubeflow_trainer_api import models
    from kubernetes_validate import validate

    found = _kubernetes_objects(case)["JobSet"]
    kept = models.JobsetV1alpha2JobSet.from_dict(found)
    _same(found, kept.to_dict() if kept else None)
    (nodes,) = found["spec"]["replicatedJobs"]
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": nodes["name"]}}
    validate(job | nodes["template"], "1.31", strict=True)
    _job_fits(nodes["template"]["spec"], case)


def pytorch_job(case: Case) -> None:
    """Take the PyTorchJob through its operator's client, and its pods through Kubernetes."""
    from kubeflow.training import ApiClient
    from kubernetes_validate import validate

    found = _kubernetes_objects(case)["PyTorchJob"]
    client, response = ApiClient(), types.SimpleNamespace(data=json.dumps(found))
    kept = client.deserialize(response, "KubeflowOrgV1PyTorchJob")
    _same(found, client.sanitize_for_serialization(kept))
    replicas = found["spec"]["pytorchReplicaSpecs"].values()
    for each in replicas:
        pod = {"apiVersion": "v1", "kind": "Pod"} | each["template"]
        validate(pod | {"metadata": {"name": "pod", **pod["metadata"]}}, "1.31", strict=True)
        _ranks_fit(each["template"], sum(each["replicas"] for each in replicas), case)


def _kubernetes_objects(case: Case) -> dict[str, Any]:
    """Return the objects by kind, those that Kubernetes itself has validated."""
    from kubernetes_validate import validate

    from planner.export.kubernetes import JOB
    from planner.export.kubernetes_objects import objects

    found = {each["kind"]: each for each in objects((case.path / JOB).read_text())}
    for kind, each in found.items():
        if kind not in ("JobSet", "PyTorchJob"):
            validate(each, "1.31", strict=True)
    return found


def _same(ours: object, theirs: object) -> None:
    if theirs != ours:
        raise ValueError(f"read as {theirs}, written as {ours}")


def _job_fits(job: dict[str, Any], case: Case) -> None:
    _ranks_fit(job["template"], job["completions"], case)


def _ranks_fit(template: dict[str, Any], n_pods: int, case: Case) -> None:
    """Let torchrun's parser read the command of a pod, which a shell may begin."""
    words = template["spec"]["containers"][0]["command"]
    if words[0] == "/bin/sh":
        subprocess.run(["sh", "-n", "-c", words[2]], check=True)
        line = words[2].partition("exec ")[2].removesuffix(' "$@"')
        words = shlex.split(line)
    options = _torchrun(words)
    if int(options.nproc_per_node) * n_pods != case.n_ranks:
        raise ValueError(f"{options.nproc_per_node} ranks in each of {n_pods} pods")


def script(case: Case) -> None:
    """Let bash read both scripts without running them, and torchrun's parser its arguments."""
    launch, job = case.path / "launch.sh", case.path / "job.sbatch"
    for path in (launch, job):
        subprocess.run(["bash", "-n", str(path)], check=True)
    line = next(line for line in launch.read_text().splitlines() if "torchrun " in line)
    options = _torchrun(shlex.split(line[line.index("torchrun ") :]))
    n_nodes = int(options.nnodes.partition(":")[0])  # torchrun's own default is "1:1"
    if int(options.nproc_per_node) * n_nodes != case.n_ranks:
        raise ValueError(f"{options.nproc_per_node} ranks on each of {options.nnodes} nodes")


def _torchrun(command: list[str]) -> Any:
    from torch.distributed.run import get_args_parser

    return get_args_parser().parse_args(command[1:])


CHECKS: dict[str, tuple[tuple[str, ...], Callable[[Case], None]]] = {
    "torchtitan": (("torchtitan",), torchtitan),
    "torchtitan-whole": (("torchtitan", "triton", "datasets"), torchtitan_whole),
    "megatron": (("megatron",), megatron),
    "megatron-whole": (("megatron", "triton"), megatron_whole),
    "deepspeed": (("deepspeed",), deepspeed),
    "accelerate": (("accelerate",), accelerate),
    "torchrun": (("torch",), script),
    "slurm": (("torch",), script),
    "kubernetes": (("kubernetes_validate",), kubernetes),
    "kubernetes-jobset": (("kubernetes_validate", "kubeflow_trainer_api"), job_set),
    "kubernetes-pytorchjob": (("kubernetes_validate", "kubeflow"), pytorch_job),
}
"""Packages that a check needs, and the check."""


def main() -> None:
    """Answer every case."""
    for line in sys.stdin:
        case = Case(**json.loads(line))
        packages, check = CHECKS[case.check]
        absent = [package for package in packages if importlib.util.find_spec(package) is None]
        if absent:
            answer = f"absent: {', '.join(absent)}"
        else:
            try:
                check(case)
                answer = "accepted"
            except (Exception, SystemExit) as error:
                answer = f"{type(error).__name__}: {error}".replace("\n", " ")
        sys.stdout.write(f"ANSWER {answer}\n")


if __name__ == "__main__":
    main()
