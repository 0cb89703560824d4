"""Predicted against really measured steps on this machine, over plans of 2 and of 4 ranks.

Measures the machine (`armillary calibrate`), prices every legal plan of a small model, trains under
a sample of them, spread evenly over all, and under the one that is predicted to be the fastest.
One launch of ranks trains plan after plan, so that imports are paid once. Nothing of the model or
of its plans is known to the calibration.

    .venv/bin/python benchmarks/bench_closed_loop.py [--plans 24] [--cluster FILE] [--ranks 2,4]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from planner.space import Space
from runtime.calibrate import calibrate
from runtime.compare import Comparison, compare
from runtime.rank_job import RankJob
from runtime.ranks import run_ranks
from simulator.campaign.predict import predict
from simulator.catalog.cluster import read_cluster_file
from simulator.catalog.plan_json import write_plan_file
from simulator.catalog.scenario_file import load_scenario
from simulator.spec.cluster import ClusterSpec
from simulator.spec.plan import PlanSpec
from simulator.spec.plan_file import PlanFile, Provenance, inputs_sha256
from simulator.spec.prediction import Prediction
from simulator.spec.scenario import Scenario

SCENARIO = Path(__file__).parent.parent / "scenarios" / "first-light.yaml"
STEPS = 8


@dataclass(frozen=True, slots=True)
class Forecast:
    """A plan and what is predicted of it."""

    plan: PlanSpec
    prediction: Prediction

    @property
    def step_s(self) -> float:
        return self.prediction.step.step_s


@dataclass(frozen=True, slots=True)
class Outcome:
    """A plan that was trained."""

    forecast: Forecast
    comparison: Comparison

    @property
    def measured_s(self) -> float:
        return self.comparison.step_s.measured

    @property
    def error(self) -> float:
        return self.comparison.step_s.error


def scenario_of(cluster: ClusterSpec, n_ranks: int) -> Scenario:
    scenario = load_scenario(SCENARIO)
    machine = cluster.model_copy(
        update={"devices_per_node": n_ranks, "scale_up_domain_devices": n_ranks}
    )
    run = scenario.run.model_copy(update={"steps": STEPS})
    return scenario.model_copy(update={"cluster": machine, "run": run})


def forecasts_of(scenario: Scenario) -> list[Forecast]:
    """Predict every legal plan, the fastest first."""
    precision = scenario.job.precision
    plans = [
        table.plan(row, precision)
        for table in Space.of(scenario).tables()
        for row in range(len(table))
    ]
    forecasts = [Forecast(plan, predict(scenario, plan)) for plan in plans]
    return sorted(forecasts, key=lambda forecast: forecast.step_s)


def sample(forecasts: list[Forecast], n_plans: int) -> list[Forecast]:
    """Take the fastest and others evenly spread over the predicted step times."""
    if len(forecasts) <= n_plans:
        return forecasts
    stride = (len(forecasts) - 1) / (n_plans - 1)
    return [forecasts[round(at * stride)] for at in range(n_plans)]


def train(scenario: Scenario, forecasts: list[Forecast]) -> list[Outcome]:
    """Train under plan after plan in one launch."""
    with tempfile.TemporaryDirectory(prefix="armillary-") as folder:
        places = [Path(folder) / f"plan-{at}" for at in range(len(forecasts))]
        provenance = Provenance(
            armillary_version="benchmark",
            seed=scenario.seed,
            inputs_sha256=inputs_sha256(scenario),
        )
        for place, forecast in zip(places, forecasts, strict=True):
            place.mkdir()
            plan_file = PlanFile(
                scenario=scenario,
                plan=forecast.plan,
                prediction=forecast.prediction,
                provenance=provenance,
            )
            write_plan_file(place / "plan.json", plan_file)
        run_ranks(
            RankJob(
                module="runtime.worker",
                arguments=tuple(str(place / "plan.json") for place in places),
                n_ranks=forecasts[0].plan.n_ranks,
                folder=folder,
            )
        )
        return [
            Outcome(forecast, compare(place))
            for forecast, place in zip(forecasts, places, strict=True)
        ]


def report(n_ranks: int, n_plans: int, outcomes: list[Outcome]) -> None:
    errors = [abs(outcome.error) for outcome in outcomes]
    fastest = min(outcomes, key=lambda outcome: outcome.measured_s)
    regret = outcomes[0].measured_s / fastest.measured_s - 1.0
    print(f"\n{n_ranks} ranks: {len(outcomes)} of {n_plans} plans trained")
    print(f"{'plan':<44}{'predicted':>11}{'measured':>11}{'error':>9}")
    for outcome in outcomes:
        print(
            f"{outcome.forecast.plan.label():<44}{1e3 * outcome.forecast.step_s:>8.0f} ms"
            f"{1e3 * outcome.measured_s:>8.0f} ms{100 * outcome.error:>+7.1f} %"
        )
    print(
        f"error of the step: mean {100 * statistics.fmean(errors):.1f} %, "
        f"median {100 * statistics.median(errors):.1f} %, largest {100 * max(errors):.1f} %; "
        f"the plan predicted to be the fastest is {100 * regret:.1f} % behind the fastest measured"
    )


def write_csv(path: Path, outcomes: list[Outcome]) -> None:
    lines = ["ranks,plan,predicted_s,measured_s"]
    lines += [
        f"{outcome.forecast.plan.n_ranks},{outcome.forecast.plan.label()},"
        f"{outcome.forecast.step_s:.4f},{outcome.measured_s:.4f}"
        for outcome in outcomes
    ]
    path.write_text("\n".join(lines) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--plans", type=int, default=24, help="plans to train per number of ranks")
    parser.add_argument("--cluster", type=Path, help="measured cluster; default: measure now")
    parser.add_argument("--ranks", default="2,4")
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args()
    counts = tuple(int(count) for count in options.ranks.split(","))
    if options.cluster is not None:
        cluster = read_cluster_file(options.cluster)
    else:
        cluster = calibrate(
            date="today",
            ranks=(1, *counts),
            note=lambda line: print(line, file=sys.stderr),
        )
    all_outcomes: list[Outcome] = []
    for n_ranks in counts:
        scenario = scenario_of(cluster, n_ranks)
        forecasts = forecasts_of(scenario)
        outcomes = train(scenario, sample(forecasts, options.plans))
        report(n_ranks, len(forecasts), outcomes)
        all_outcomes += outcomes
    if options.csv is not None:
        write_csv(options.csv, all_outcomes)


if __name__ == "__main__":
    main()
