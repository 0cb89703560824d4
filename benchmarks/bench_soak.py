"""Random faults done to a run of two ranks: whether each is noticed, blamed and made up for.

Trains a small model again and again, each time with ten faults at random steps, of random kinds, on
random nodes, half of the runs with replacements at hand and half with two spares. Leaves with 1
where a promise is broken: a loss that differs from that of an undisturbed run, a process that is
left over, a step lost beyond one interval, a fault that is blamed on the wrong rank or cause.

    .venv/bin/python benchmarks/bench_soak.py [--faults 200] [--seed 1]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtime.launch import run
from runtime.result import StepMetrics
from runtime.run_dir import RunDir, read_events
from runtime.supervise import Recovery
from simulator.campaign.predict import predict
from simulator.catalog.scenario_file import load_scenario
from simulator.spec.base import Precision
from simulator.spec.plan import PlanSpec
from simulator.spec.plan_file import PlanFile, Provenance, inputs_sha256
from simulator.spec.reliability import Outage

SCENARIO = Path(__file__).parent.parent / "scenarios" / "first-light.yaml"
PER_RUN = 10
CHECKPOINT_EVERY = 8
GAP_STEPS = (3, 12)
LASTS_STEPS = 6
SILENCE_S = 8.0

FOUND_AS = {
    "killed": "killed",
    "hung": "hung",
    "corruption": "not finite",
    "rendezvous": "rendezvous",
    "slow": None,
    "full-disk": None,
}
"""The cause to be found for a class of the trace; None: the run goes on."""


@dataclass(slots=True)
class Watch:
    """Follows the steps of a run: the clock of its faults, and what was lost."""

    last_step: int = 0
    furthest: int = 0
    lost: list[int] = field(default_factory=list)

    def __call__(self, metrics: StepMetrics) -> None:
        if metrics.step <= self.last_step:
            self.lost.append(self.last_step - metrics.step + 1)
        self.last_step = metrics.step
        self.furthest = max(self.furthest, metrics.step)

    def clock(self) -> float:
        return float(self.furthest)


@dataclass(slots=True)
class Tally:
    """What became of all faults of one kind."""

    injected: int = 0
    notice_s: list[float] = field(default_factory=list)
    restart_s: list[float] = field(default_factory=list)


def plan_file_of(n_steps: int) -> PlanFile:
    """Return data parallelism over two nodes of one core each."""
    scenario = load_scenario(SCENARIO)
    model = scenario.model.model_copy(
        update={"n_layers": 2, "hidden_size": 64, "n_heads": 4, "n_kv_heads": 2, "head_dim": 16}
        | {"ffn_size": 128, "vocab_size": 256}
    )
    fabric = scenario.cluster.fabric.model_copy(update={"kind": "ethernet"})
    nodes = {"n_nodes": 2, "devices_per_node": 1, "scale_up_domain_devices": 1, "fabric": fabric}
    steps = {"steps": n_steps, "checkpoint_every_steps": CHECKPOINT_EVERY}
    shape = {"sequence_length": 32, "global_batch_sequences": 4}
    scenario = scenario.model_copy(
        update={
            "model": model,
            "cluster": scenario.cluster.model_copy(update=nodes),
            "run": scenario.run.model_copy(update=steps),
            "job": scenario.job.model_copy(update=shape),
        }
    )
    plan = PlanSpec(dp_replicate=2, microbatch_sequences=2, precision=Precision.FP32)
    return PlanFile(
        scenario=scenario,
        plan=plan,
        prediction=predict(scenario, plan),
        provenance=Provenance(
            armillary_version="benchmark", seed=1, inputs_sha256=inputs_sha256(scenario)
        ),
    )


def draw(rng: random.Random, n_faults: int) -> tuple[Outage, ...]:
    """Draw faults; times are steps."""
    step, outages = 0, []
    for _ in range(n_faults):
        step += rng.randint(*GAP_STEPS)
        cause = rng.choice(list(FOUND_AS))
        outages.append(
            Outage(node=rng.randrange(2), start_s=step, end_s=step + LASTS_STEPS, cause=cause)
        )
    return tuple(outages)


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def records_of(place: RunDir) -> list[dict[str, Any]]:
    return [json.loads(line) for line in place.events.read_text().splitlines()]


def judge(place: RunDir, tallies: dict[str, Tally]) -> list[str]:
    """Set the failures of a run beside its faults; return what is wrong.

    Faults that come together stop a run once; it may be blamed on any of them.
    """
    wrong: list[str] = []
    felt: list[dict[str, Any]] = []
    records = records_of(place)
    for at, record in enumerate(records):
        if record["event"] == "fault":
            tallies[record["cause"]].injected += 1
            if record["cause"] == "rendezvous" or record["ranks"]:
                felt.append(record)
        elif record["event"] == "failure":
            ready_s = [r["time_s"] for r in records[at:] if r["event"] == "ready"][:2]
            guilty = [fault for fault in felt if is_blamed(record, fault)]
            if not guilty:
                wrong.append(f"{[(f['cause'], f['ranks']) for f in felt]} became {record}")
            for fault in guilty[:1]:
                tally = tallies[fault["cause"]]
                tally.notice_s.append(record["time_s"] - fault["time_s"])
                tally.restart_s.append(max(ready_s) - record["time_s"])
            felt.clear()
    wrong += [
        f"{fault['cause']} of ranks {fault['ranks']} was not noticed"
        for fault in felt
        if FOUND_AS[fault["cause"]] is not None
    ]
    return wrong


def is_blamed(failure: dict[str, Any], fault: dict[str, Any]) -> bool:
    """Whether a failure names the cause of a fault, and its rank where it has one."""
    ranks = [None] if fault["cause"] == "rendezvous" else fault["ranks"]
    return failure["cause"] == FOUND_AS[fault["cause"]] and failure["failed_rank"] in ranks


def soak(n_faults: int, seed: int) -> list[str]:
    """Run until so many faults were done, print the counts, and return what went wrong."""
    rng = random.Random(seed)
    tallies: dict[str, Tally] = defaultdict(Tally)
    wrong: list[str] = []
    lost: list[int] = []
    n_runs, n_orphans, n_unsaved = 0, 0, 0
    longest = PER_RUN * GAP_STEPS[1] + CHECKPOINT_EVERY
    with tempfile.TemporaryDirectory(prefix="armillary-") as folder:
        calm = run(plan_file_of(longest), run_dir=Path(folder) / "calm").losses
        while sum(tally.injected for tally in tallies.values()) < n_faults:
            outages = draw(rng, min(PER_RUN, n_faults - PER_RUN * n_runs))
            place, watch = RunDir(Path(folder) / f"run-{n_runs}"), Watch()
            n_steps = int(outages[-1].start_s) + CHECKPOINT_EVERY
            result = run(
                plan_file_of(n_steps),
                run_dir=place.root,
                on_step=watch,
                silence_s=SILENCE_S,
                recovery=Recovery(
                    outages=outages,
                    n_spares=2 if n_runs % 2 else None,
                    clock=watch.clock,
                ),
            )
            wrong += [f"run {n_runs}: {text}" for text in judge(place, tallies)]
            if result.losses != calm[:n_steps]:
                wrong.append(f"run {n_runs}: losses differ from those of a calm run")
            pids = {event.pid for event in read_events(place)} - {os.getpid()}
            n_orphans += sum(map(alive, pids))
            unsaved = sum(r["event"] == "checkpoint-failed" for r in records_of(place))
            limit = CHECKPOINT_EVERY * (2 if unsaved else 1)
            wrong += [f"run {n_runs}: {n} steps lost" for n in watch.lost if n > limit]
            lost += watch.lost
            n_unsaved += unsaved
            n_runs += 1
            done = sum(tally.injected for tally in tallies.values())
            print(f"{done} faults in {n_runs} runs, {len(wrong)} wrong", file=sys.stderr)
    report(tallies, lost)
    print(f"{n_runs} runs, {n_orphans} processes left over, {n_unsaved} checkpoints without room")
    if n_orphans:
        wrong.append(f"{n_orphans} processes left over")
    return wrong


def report(tallies: dict[str, Tally], lost: list[int]) -> None:
    print(f"load {os.getloadavg()[0]:.1f}; a checkpoint every {CHECKPOINT_EVERY} steps")
    print(f"{'fault':<12}{'done':>6}{'blamed':>8}{'noticed':>11}{'restarted':>11}")
    for cause, tally in sorted(tallies.items()):
        line = f"{cause:<12}{tally.injected:>6}{len(tally.notice_s):>8}"
        if tally.notice_s:
            notice_s = statistics.median(tally.notice_s)
            restart_s = statistics.median(tally.restart_s)
            line += f"{notice_s:>9.1f} s{restart_s:>9.1f} s"
        print(line)
    if lost:
        print(f"steps done again: {statistics.fmean(lost):.1f} a restart, {max(lost)} at most")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    wrong = soak(options.faults, options.seed)
    for text in wrong:
        print(f"WRONG: {text}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
