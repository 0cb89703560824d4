"""CPU time and memory of campaigns by events, and of the vectorised engine.

Llama 3 405B at the failure rate of Llama 3. `--plot FILE` draws cost over the number of devices:
it follows failures, not devices.
"""

from __future__ import annotations

import argparse
import io
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from simulator.campaign.events import simulate_campaign
from simulator.campaign.monte_carlo import renewal_campaigns
from simulator.campaign.predict import setting_of
from simulator.campaign.replicas import run_replicas
from simulator.campaign.setting import CampaignSetting
from simulator.catalog import find_model
from simulator.catalog.cluster import parse_cluster
from simulator.spec.colours import BLUE, VERMILION
from simulator.spec.files import write_atomic
from simulator.spec.job import JobSpec
from simulator.spec.plan import PlanSpec
from simulator.spec.reliability import ReliabilitySpec
from simulator.spec.scenario import Scenario
from simulator.step.predict import predict_step

DAY_S = 86400.0
SIZES = (1024, 4096, 16_384, 65_536, 262_144, 1_048_576)
GROUP = 1024
"""Devices of a group that fails apart, in the runs of all sizes."""


class Cost(NamedTuple):
    """What one campaign cost."""

    n_devices: int
    n_failures: int
    cpu_s: float
    peak_bytes: int
    """Of the whole process."""


def campaign(n_devices: int, days: float, *, n_groups: int = 1, spares: int = 0) -> CampaignSetting:
    """Copies of 128 devices, 16 sequences each, for so many days of training."""
    copies = n_devices // 128
    plan = PlanSpec(
        tp=8,
        pp=16,
        dp_replicate=n_groups,
        dp_shard=copies // n_groups,
        zero_stage=1,
        sequence_parallel=True,
        n_microbatches=16,
    )
    job = JobSpec(sequence_length=8192, global_batch_sequences=16 * copies)
    reliability = ReliabilitySpec(
        recovery="isolate" if n_groups > 1 else "wait", spares=spares, restart_s=300.0
    )
    scenario = Scenario(
        name="bench",
        model=find_model("llama3.1-405b"),
        cluster=parse_cluster(f"h100-sxm:{n_devices}"),
        job=job,
        reliability=reliability,
    )
    step = predict_step(scenario, plan)
    tokens = round(days * DAY_S / step.step_s) * job.batch_tokens
    longer = scenario.model_copy(update={"job": job.model_copy(update={"tokens": tokens})})
    return setting_of(longer, plan, step)


def of_size(n_devices: int) -> Cost:
    """Simulate 90 days with groups of 1,024 that fail apart."""
    setting = campaign(n_devices, 90, n_groups=n_devices // GROUP, spares=n_devices // 256)
    started_s = time.process_time()
    run = simulate_campaign(setting)
    cpu_s = time.process_time() - started_s
    peak_bytes = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Cost(n_devices, run.failures.total(), cpu_s, peak_bytes)


def of_all_sizes() -> list[Cost]:
    """Simulate each size in a process of its own, best of three by time."""
    costs = []
    for n_devices in SIZES:
        found = []
        for _ in range(3):
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                found.append(pool.submit(of_size, n_devices).result())
        costs.append(min(found, key=lambda cost: cost.cpu_s))
    return costs


def replicas() -> None:
    """Time the Llama 3 campaign: one replica, 1,000 on two cores, 1,000 at once."""
    setting = campaign(16_384, 54, spares=32)
    started_s = time.process_time()
    runs = [simulate_campaign(setting, replica=number) for number in range(100)]
    cpu_s = (time.process_time() - started_s) / 100
    mean = sum(run.failures.total() for run in runs) / 100
    print(f"16,384 devices x 54 days by events: {1000 * cpu_s:.1f} ms CPU, {mean:.0f} failures")
    started_s = time.perf_counter()
    goodput = [run.goodput for run in run_replicas(setting, n_replicas=1000, jobs=2)]
    wall_s = time.perf_counter() - started_s
    print(f"1,000 replicas, two processes:      {wall_s:.1f} s, goodput {sum(goodput) / 1000:.4f}")
    started_s = time.process_time()
    at_once = renewal_campaigns(setting, 1000)
    cpu_s = time.process_time() - started_s
    print(
        f"1,000 replicas, vectorised:         {cpu_s:.2f} s CPU, "
        f"goodput {at_once.goodput.mean():.4f}"
    )


def figure(costs: list[Cost]) -> bytes:
    """Draw CPU time over devices, beside a line that is proportional to the failures."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(6, 4), layout="constrained")
    axes = drawn.subplots()
    devices = [cost.n_devices for cost in costs]
    per_failure_s = costs[-1].cpu_s / costs[-1].n_failures
    axes.loglog(devices, [cost.cpu_s for cost in costs], "o", color=BLUE, label="CPU time")
    axes.loglog(
        devices,
        [per_failure_s * cost.n_failures for cost in costs],
        color=VERMILION,
        label=f"{1e6 * per_failure_s:.0f} us for each failure",
    )
    axes.set_xticks(devices, [f"{count:,}" for count in devices], fontsize=8)
    axes.minorticks_off()
    axes.set_xlabel("devices")
    axes.set_ylabel("CPU seconds")
    axes.set_title("90 days by events: the cost follows failures, not devices", fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend()
    content = io.BytesIO()
    with rc_context({"svg.hashsalt": "armillary"}):
        drawn.savefig(content, format="svg", metadata={"Date": None})
    return content.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--plot", type=Path, help="where to draw cost over devices (SVG)")
    plot: Path | None = parser.parse_args().plot
    replicas()
    costs = of_all_sizes()
    print(f"\n{'devices':>10}{'failures':>10}{'CPU s':>8}{'us/failure':>12}{'MB':>6}")
    for cost in costs:
        per_failure = 1e6 * cost.cpu_s / cost.n_failures
        print(
            f"{cost.n_devices:>10,}{cost.n_failures:>10,}{cost.cpu_s:>8.3f}{per_failure:>12.0f}"
            f"{cost.peak_bytes / 1e6:>6.0f}"
        )
    if plot is not None:
        write_atomic(plot, figure(costs))


if __name__ == "__main__":
    main()
