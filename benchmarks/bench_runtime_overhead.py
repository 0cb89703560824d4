"""Tokens per second of the runtime against a training loop written by hand, on the same two ranks.

The loop below is what one would write for this one model and one mechanism: its own model file, DDP
or FSDP2, AdamW, gradient clipping, the loss read in every step. Both train the same shapes in the
same process group, turn by turn, so that a disturbance hits both. Beside the time of a step stands
the processor time that it takes, which tells on a busy machine too.

    .venv/bin/python benchmarks/bench_runtime_overhead.py [--rounds 5] [--model tiny-llama-5m]
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.rank_job import RankJob
from runtime.ranks import run_ranks
from runtime.result import StepMetrics
from runtime.run_dir import RunDir
from simulator.campaign.predict import predict
from simulator.catalog import find_model
from simulator.catalog.plan_json import read_plan_file, write_plan_file
from simulator.catalog.scenario_file import load_scenario
from simulator.spec.plan import PlanSpec
from simulator.spec.plan_file import PlanFile, Provenance, inputs_sha256

if TYPE_CHECKING:
    from torch import nn

SCENARIO = Path(__file__).parent.parent / "scenarios" / "first-light.yaml"
WARMUP, STEPS = 1, 7
PLANS = {
    "DDP": PlanSpec(dp_replicate=2, microbatch_sequences=4, precision="fp32"),
    "FSDP2": PlanSpec(dp_shard=2, zero_stage=3, microbatch_sequences=4, precision="fp32"),
}


@dataclass(slots=True)
class Laps:
    """Seconds of every step of one rank, without the first of each turn."""

    step_s: list[float] = field(default_factory=list)
    processor_s: list[float] = field(default_factory=list)
    _ticks: list[tuple[float, float]] = field(default_factory=list)

    def tick(self) -> None:
        """End a step, or a turn's start."""
        self._ticks.append((time.perf_counter(), time.process_time()))

    def turn(self) -> None:
        """End a turn."""
        for before, after in itertools.pairwise(self._ticks[WARMUP:]):
            self.step_s.append(after[0] - before[0])
            self.processor_s.append(after[1] - before[1])
        self._ticks = []


def by_hand(plan_file: PlanFile, laps: Laps) -> None:
    """Train with a loop written for this model."""
    import torch
    from hand_written_model import Llama
    from torch import distributed as dist
    from torch.distributed.fsdp import fully_shard
    from torch.nn.parallel import DistributedDataParallel

    spec, job, plan = plan_file.scenario.model, plan_file.scenario.job, plan_file.plan
    torch.manual_seed(0)
    model: nn.Module = Llama(spec, job.sequence_length)
    if plan.dp_shard > 1:
        for layer in model.layers:
            fully_shard(layer)
        fully_shard(model)
    else:
        model = DistributedDataParallel(model, gradient_as_bucket_view=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), fused=True)
    text = torch.randint(spec.vocab_size, (2**20,))
    length, n_rows = job.sequence_length + 1, plan.microbatch_sequences
    for step in range(STEPS):
        first = (step * 2 + dist.get_rank()) * n_rows * length
        rows = text[first : first + n_rows * length].view(n_rows, length)
        loss = model(rows[:, :-1], rows[:, 1:])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        loss.item()
        laps.tick()
    laps.turn()


def by_runtime(plan_file: PlanFile, place: RunDir, laps: Laps) -> None:
    """Train as `armillary run` does."""
    import torch.distributed as dist

    from runtime import worker
    from runtime.telemetry import MetricsLog

    class Ticking(MetricsLog):
        def write(self, metrics: StepMetrics) -> None:
            super().write(metrics)
            laps.tick()

    worker.MetricsLog = Ticking  # type: ignore[misc]
    if dist.get_rank() == 0:
        place.root.mkdir(parents=True)
    dist.barrier()
    worker.train(plan_file, place, worker.local_device())
    laps.turn()


def main(arguments: Sequence[str]) -> None:
    """What every rank does."""
    import torch.distributed as dist

    folder, n_rounds = Path(arguments[0]), int(arguments[1])
    results = {}
    for name in PLANS:
        plan_file = read_plan_file(folder / f"{name}.json")
        hand, runtime = Laps(), Laps()
        for turn in range(n_rounds):
            by_hand(plan_file, hand)
            by_runtime(plan_file, RunDir(folder / f"{name}-{turn}"), runtime)
        results[name] = {
            "median step": (statistics.median(hand.step_s), statistics.median(runtime.step_s)),
            "fastest step": (min(hand.step_s), min(runtime.step_s)),
            "processor time": (
                statistics.median(hand.processor_s),
                statistics.median(runtime.processor_s),
            ),
        }
    if dist.get_rank() == 0:
        (folder / "results.json").write_text(json.dumps(results))


def plan_file_of(model: str, plan: PlanSpec) -> PlanFile:
    """Return a plan of two ranks for the job of first light, of as many steps as are measured."""
    scenario = load_scenario(SCENARIO, overrides=(f"model={model}", "job.global_batch_sequences=8"))
    scenario = scenario.model_copy(
        update={"run": scenario.run.model_copy(update={"steps": STEPS}), "model": find_model(model)}
    )
    return PlanFile(
        scenario=scenario,
        plan=plan,
        prediction=predict(scenario, plan),
        provenance=Provenance(
            armillary_version="benchmark",
            seed=scenario.seed,
            inputs_sha256=inputs_sha256(scenario),
        ),
    )


def bench() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", default="tiny-llama-5m")
    options = parser.parse_args()
    here = str(Path(__file__).parent)
    os.environ["PYTHONPATH"] = os.pathsep.join((here, os.environ.get("PYTHONPATH", "")))
    with tempfile.TemporaryDirectory(prefix="armillary-") as folder:
        for name, plan in PLANS.items():
            write_plan_file(Path(folder) / f"{name}.json", plan_file_of(options.model, plan))
        run_ranks(
            RankJob(
                module="bench_runtime_overhead",
                arguments=(folder, str(options.rounds)),
                n_ranks=2,
                folder=folder,
            )
        )
        results = json.loads((Path(folder) / "results.json").read_text())
    print(f"{options.model}, 2 ranks, load {os.getloadavg()[0]:.1f}")
    print(f"{'':<22}{'by hand':>10}{'runtime':>10}{'speed of the runtime':>24}")
    for name, found in results.items():
        for kind, (hand_s, runtime_s) in found.items():
            print(
                f"{name + ' ' + kind:<22}{1e3 * hand_s:>7.0f} ms{1e3 * runtime_s:>7.0f} ms"
                f"{hand_s / runtime_s:>22.3f} x"
            )


if __name__ == "__main__":
    bench()
