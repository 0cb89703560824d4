"""What one rank of a plan issues to each axis of its mesh: `python -m tests.runtime.issued`.

Plans come as JSON lines on stdin; the answer to each is a line {axis: {collective: bytes}}. Under
torch's fake process group one process stands for a rank of a job of any size: our runtime's own
code builds its model and runs one step, and every collective is noted instead of done.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist
from torch.distributed import distributed_c10d
from torch.distributed.pipelining import PipelineStage
from torch.nn.parallel import DistributedDataParallel
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils._python_dispatch import TorchDispatchMode

from runtime.execute import forward_backward_of
from runtime.mesh import EXPERT_AXES, Mesh
from runtime.parallel import experts
from runtime.pipeline import tied_weight
from runtime.stage import build_stages, named_parameters
from simulator.spec.plan import AXES, PlanSpec
from simulator.spec.scenario import Scenario

Issued = dict[str, dict[str, float]]

KINDS = {
    "all_gather_into_tensor": "all_gather",
    "_allgather_base_": "all_gather",
    "reduce_scatter_tensor": "reduce_scatter",
    "_reduce_scatter_base_": "reduce_scatter",
    "all_reduce": "all_reduce",
    "allreduce_": "all_reduce",
    "send": "send",
    "all_to_all_single": "all_to_all",
}
"""torch's names of collectives, in _c10d_functional and c10d."""
NOT_COUNTED = {"wait_tensor", "_wrap_tensor_autograd", "recv_", "barrier"}


class Noting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the full message of every collective by axis."""

    def __init__(self, axis_of_group: dict[str, str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        self._axis_of_group = axis_of_group

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        space, _, name = func._schema.name.partition("::")
        if space in ("c10d", "_c10d_functional"):
            kind = KINDS.get(name)
            if kind is not None:
                self.bytes[self._axis(space, args)][kind] += _size(
                    _whole(space, kind, args, result)
                )
            elif name not in NOT_COUNTED:
                raise AssertionError(f"{func._schema.name} is not counted")
        return result

    def _axis(self, space: str, args: Any) -> str:
        if space == "_c10d_functional":
            resolve = distributed_c10d._resolve_process_group  # type: ignore[attr-defined]
            group: Any = resolve(args[-1])
        else:
            script = next(each for each in args if isinstance(each, torch.ScriptObject))
            group = dist.ProcessGroup.unbox(script)
        return self._axis_of_group.get(group.group_name, f"other {group.size()}")


def _whole(space: str, kind: str, args: Any, result: Any) -> Any:
    """The whole tensor. c10d's operations take (output, input, ...), functional ones (input)."""
    if kind == "all_gather":
        return args[0] if space == "c10d" else result
    return args[1] if kind == "reduce_scatter" and space == "c10d" else args[0]


def _size(whole: Any) -> float:
    tensors = whole if isinstance(whole, (list, tuple)) else [whole]
    return float(sum(tensor.numel() * tensor.element_size() for tensor in tensors))


def axes_of_groups(mesh: Mesh) -> dict[str, str]:
    """Name the groups that this rank belongs to."""
    copies, shards = mesh.data()
    meshes = {axis: mesh.axes(axis) for axis in AXES if mesh.has(axis)}
    if mesh.has("ep"):
        meshes |= {axis: mesh.experts(axis) for axis in EXPERT_AXES[1:]}
    if copies is not None:
        meshes["dp_replicate"] = copies
    if shards is not None:
        meshes["dp_shard"] = shards
    return {each.get_group().group_name: axis for axis, each in meshes.items()}


@contextmanager
def equal_loads() -> Iterator[None]:
    """Let every rank receive as many copies of tokens as it sends: nobody else is there."""
    with mock.patch.object(experts, "exchange_counts", lambda sent, _: sent):
        yield


def reduced(bucket: Any) -> torch.futures.Future[torch.Tensor]:
    """Reduce a bucket of DDP; its own way asks the fake group for a result, which has none."""
    dist.all_reduce(bucket.buffer())
    future: torch.futures.Future[torch.Tensor] = torch.futures.Future()
    future.set_result(bucket.buffer())
    return future


@contextmanager
def agreed_on_shapes() -> Iterator[None]:
    """Skip the vote of pipeline stages on what they send each other: nobody else is there."""
    vote = mock.patch.multiple(
        PipelineStage,
        _warmup_forward_vote=lambda *_args, **_options: torch.ones(()),
        _warmup_backward_result=lambda *_args, **_options: torch.ones(()),
    )
    with vote:
        yield


def issued(scenario: Scenario, plan: PlanSpec, rank: int) -> Issued:
    """Return what one rank issues in the passes of one step."""
    dist.init_process_group("fake", store=FakeStore(), rank=rank, world_size=plan.n_ranks)
    try:
        mesh = Mesh.build(plan, "cpu")
        stages = build_stages(scenario, mesh, torch.device("cpu"))
        for stage in stages:
            if isinstance(stage.module, DistributedDataParallel):
                stage.module.register_comm_hook(None, lambda _, bucket: reduced(bucket))
        forward_backward = forward_backward_of(scenario, mesh, stages)
        n_sequences = plan.microbatch_sequences * plan.n_microbatches
        n_tokens = scenario.job.sequence_length // plan.cp
        tokens = torch.zeros(n_sequences, n_tokens, dtype=torch.int64)
        tied = tied_weight(scenario, mesh, stages)
        with agreed_on_shapes(), equal_loads(), Noting(axes_of_groups(mesh)) as noted:
            forward_backward(tokens, tokens)
            if tied is not None:
                tied.add_gradients()
        assert named_parameters(stages)
        return {axis: dict(kinds) for axis, kinds in noted.bytes.items()}
    finally:
        dist.destroy_process_group()


def answer(line: str) -> None:
    """Print what one case issues."""
    case = json.loads(line)
    scenario = Scenario.model_validate(case["scenario"])
    plan = PlanSpec.model_validate(case["plan"])
    sys.stdout.write(json.dumps(issued(scenario, plan, case["rank"])) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Answer every line in a process of its own: DTensor remembers groups that are gone."""
    torch.set_num_threads(1)
    context = multiprocessing.get_context("fork")
    for line in sys.stdin:
        child = context.Process(target=answer, args=(line,))
        child.start()
        child.join()
        if child.exitcode:
            sys.exit(child.exitcode)


if __name__ == "__main__":
    main()
