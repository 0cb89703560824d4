"""Predicted against really measured goodput of a run on this machine, with ranks killed on the way.

Trains first light under its best plan, calmly and with the outages below, and sets the share of the
time that steps took beside what the campaign by events predicts for the same steps and outages.

    .venv/bin/python benchmarks/bench_goodput.py [--cluster FILE] [--steps 60]
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from armillary.recovery import recovery_of
from planner.search import search
from runtime.calibrate import calibrate
from runtime.compare import compare
from runtime.launch import run
from simulator.catalog.cluster import read_cluster_file
from simulator.catalog.scenario_file import load_scenario
from simulator.spec.plan_file import PlanFile
from simulator.spec.reliability import Outage

SCENARIO = Path(__file__).parent.parent / "scenarios" / "first-light.yaml"
CHECKPOINT_EVERY = 10


def outages_of(plan_file: PlanFile) -> tuple[Outage, ...]:
    """Two outages: one third and two thirds through the steps of a calm run."""
    calibration = plan_file.scenario.cluster.calibration
    assert calibration is not None
    work_s = plan_file.scenario.run.steps * plan_file.prediction.step.step_s
    moments_s = (calibration.start_s + work_s / 3, 2 * calibration.start_s + 2 * work_s / 3)
    return tuple(Outage(node=0, start_s=start_s, end_s=start_s) for start_s in moments_s)


def show(name: str, predicted: float, measured: float) -> None:
    print(
        f"  {name:<18}{100 * predicted:>9.1f} %{100 * measured:>9.1f} %"
        f"{100 * (predicted - measured):>+9.1f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--cluster", type=Path, help="measured cluster; default: measure now")
    parser.add_argument("--steps", type=int, default=60)
    options = parser.parse_args()
    if options.cluster is not None:
        cluster = read_cluster_file(options.cluster)
    else:
        cluster = calibrate(date="today", ranks=(1, 2), quick=True)
    scenario = load_scenario(SCENARIO)
    steps = {"steps": options.steps, "checkpoint_every_steps": CHECKPOINT_EVERY}
    scenario = scenario.model_copy(
        update={"cluster": cluster, "run": scenario.run.model_copy(update=steps)}
    )
    calm = search(scenario).plan_file()
    replay = {"replay": outages_of(calm)}
    reliability = scenario.reliability.model_copy(update=replay)
    struck = calm.asked(scenario.model_copy(update={"reliability": reliability}))
    print(f"{calm.plan.label()}, {options.steps} steps, load {os.getloadavg()[0]:.1f}")
    print(f"{'':<20}{'predicted':>11}{'measured':>11}{'points':>9}")
    for plan_file, injects in ((calm, False), (struck, True)):
        with tempfile.TemporaryDirectory(prefix="armillary-") as folder:
            recovery = recovery_of(plan_file, injects=injects, max_restarts=0)
            run(plan_file, run_dir=Path(folder) / "run", recovery=recovery)
            comparison = compare(Path(folder) / "run")
        goodput, step = comparison.goodput, comparison.step_s
        print(f"{len(recovery.outages)} outages; a step was predicted {100 * step.error:+.1f} %")
        show("goodput", goodput.predicted, goodput.measured)
        for loss in comparison.losses:
            show(loss.name, loss.predicted, loss.measured)


if __name__ == "__main__":
    main()
