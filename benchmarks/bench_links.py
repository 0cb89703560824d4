"""Predicted against really measured steps of two emulated nodes, over bandwidths and delays.

Two nodes of one rank each are network namespaces of this machine (`emulated_network`). A small
model trains under data parallelism and as a pipeline, over links of several rates and delays, and
each step is set beside its prediction: the machine as measured just before, and the link as it is
set. Says which of the two plans is predicted to be, and which is, the faster one on each link.
Needs root; elsewhere it says why it does nothing.

    sudo .venv/bin/python benchmarks/bench_links.py [--cluster FILE]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from emulated_network import INTERFACE, Nodes, emulated_nodes, why_not

from runtime.calibrate import calibrate
from runtime.compare import compare
from simulator.campaign.predict import predict
from simulator.catalog.cluster import read_cluster_file
from simulator.catalog.plan_json import write_plan_file
from simulator.catalog.scenario_file import load_scenario
from simulator.spec.base import Precision
from simulator.spec.cluster import ClusterSpec, FabricSpec, LinkSpec
from simulator.spec.plan import PlanSpec
from simulator.spec.plan_file import PlanFile, Provenance, inputs_sha256
from simulator.spec.scenario import Scenario

SCENARIO = Path(__file__).parent.parent / "scenarios" / "first-light.yaml"
STEPS = 7
N_NODES = 2
PORT = "29555"
ONE_WAY_DELAYS = 2
"""Gloo asks before it sends: a message of a ring takes a round trip."""
SOFTWARE_S = 4e-4
"""A round trip of gloo's without any network.

Measured over loopback between two ranks on two cores, fitted to medians of five launches: 263 us
(send and receive, there and back) to 595 us (all-reduce; GLOO in
tests/simulator/cost/test_collectives.py).
"""

PLANS = {
    "data parallel": PlanSpec(dp_replicate=2, microbatch_sequences=4, precision=Precision.FP32),
    "pipeline": PlanSpec(pp=2, microbatch_sequences=1, n_microbatches=8, precision=Precision.FP32),
}
"""One sends 20 MB a step at once, the other a little in many turns: rate and delay choose."""


@dataclass(frozen=True, slots=True)
class Link:
    """What joins the nodes."""

    mbit_per_s: float
    delay_ms: float
    """One way."""

    @property
    def rate_bytes_per_s(self) -> float:
        return self.mbit_per_s * 1e6 / 8

    def spec(self) -> LinkSpec:
        return LinkSpec(
            bandwidth_bytes_per_s=self.rate_bytes_per_s,
            latency_s=ONE_WAY_DELAYS * self.delay_ms * 1e-3 + SOFTWARE_S,
            efficiency=0.97,  # headers of 52 bytes in 9,000, acknowledgements the other way
            topology="switch",
        )


LINKS = tuple(Link(rate, delay) for rate in (800.0, 250.0, 80.0) for delay in (1.0, 20.0))


def scenario_of(cluster: ClusterSpec, link: Link) -> Scenario:
    """Return the question on two nodes that are joined by a link."""
    scenario = load_scenario(SCENARIO)
    machine = cluster.model_copy(
        update={
            "n_nodes": N_NODES,
            "devices_per_node": 1,
            "scale_up_domain_devices": 1,
            "fabric": FabricSpec(name="emulated", kind="ethernet", nic=link.spec()),
        }
    )
    job = scenario.job.model_copy(update={"global_batch_sequences": 8, "sequence_length": 16})
    run = scenario.run.model_copy(update={"steps": STEPS})
    return scenario.model_copy(update={"cluster": machine, "job": job, "run": run})


def plan_files(cluster: ClusterSpec, folder: Path) -> list[tuple[Link, str, Path]]:
    """Leave a plan file for every link and plan."""
    left = []
    for link in LINKS:
        scenario = scenario_of(cluster, link)
        for name, plan in PLANS.items():
            place = folder / f"{link.mbit_per_s:g}-{link.delay_ms:g}-{name.split()[0]}"
            place.mkdir()
            plan_file = PlanFile(
                scenario=scenario,
                plan=plan,
                prediction=predict(scenario, plan),
                provenance=Provenance(
                    armillary_version="benchmark", seed=1, inputs_sha256=inputs_sha256(scenario)
                ),
            )
            write_plan_file(place / "plan.json", plan_file)
            left.append((link, name, place))
    return left


def be_a_rank(folder: Path, places: list[str]) -> None:
    """Train under one plan after the other; rank 0 asks for the link of each."""
    import torch
    import torch.distributed as dist

    from runtime.worker import main as train

    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    for place in places:
        if dist.get_rank() == 0:
            (folder / "wanted").write_text(place)
            while not (folder / "shaped").exists() or (folder / "shaped").read_text() != place:
                time.sleep(0.05)
        dist.barrier()
        train([str(Path(place) / "plan.json")])
    dist.destroy_process_group()


def measure(nodes: Nodes, folder: Path, plans: list[tuple[Link, str, Path]]) -> None:
    """Train under all plans, with the ranks started once."""
    links = {str(place): link for link, _, place in plans}
    ranks = []
    for node in range(N_NODES):
        environment = os.environ | {
            "RANK": str(node),
            "LOCAL_RANK": "0",
            "WORLD_SIZE": str(N_NODES),
            "MASTER_ADDR": nodes.address(0),
            "MASTER_PORT": PORT,
            "GLOO_SOCKET_IFNAME": INTERFACE,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(Path(__file__).parent.parent),
        }
        command = [sys.executable, __file__, "--rank", str(folder), *links]
        ranks.append(subprocess.Popen(nodes.command(node, *command), env=environment))
    try:
        while any(rank.poll() is None for rank in ranks):
            wanted = folder / "wanted"
            place = wanted.read_text() if wanted.exists() else ""
            if place in links:
                nodes.shape(links[place].rate_bytes_per_s, links[place].delay_ms * 1e-3)
                (folder / "shaped").write_text(place)
            if any(rank.poll() for rank in ranks):
                break
            time.sleep(0.05)
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()


def report(plans: list[tuple[Link, str, Path]]) -> None:
    print(f"{'link':<22}{'plan':<16}{'predicted':>11}{'measured':>11}{'error':>9}")
    errors, right = [], 0
    for link in LINKS:
        predicted, measured = {}, {}
        for at, name, place in plans:
            if at == link:
                step = compare(place).step_s
                predicted[name], measured[name] = step.predicted, step.measured
                errors.append(abs(step.error))
                print(
                    f"{f'{link.mbit_per_s:g} Mbit/s, {link.delay_ms:g} ms':<22}{name:<16}"
                    f"{1e3 * step.predicted:>8.0f} ms{1e3 * step.measured:>8.0f} ms"
                    f"{100 * step.error:>+7.1f} %"
                )
        best, fastest = (
            min(predicted, key=predicted.__getitem__),
            min(measured, key=measured.__getitem__),
        )
        right += best == fastest
        print(f"{'':<22}chosen: {best}; faster: {fastest}")
    print(
        f"mean error {100 * statistics.fmean(errors):.1f} %, largest {100 * max(errors):.1f} %; "
        f"the choice is right on {right} of {len(LINKS)} links"
    )


def main() -> None:
    if sys.argv[1:2] == ["--rank"]:
        be_a_rank(Path(sys.argv[2]), sys.argv[3:])
        return
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--cluster", type=Path, help="measured cluster; default: measure now")
    options = parser.parse_args()
    reason = why_not()
    if reason is not None:
        print(f"skipped: {reason}")
        return
    if options.cluster is not None:
        cluster = read_cluster_file(options.cluster)
    else:
        cluster = calibrate(date="today", ranks=(1, 2), quick=True)
    with tempfile.TemporaryDirectory(prefix="armillary-") as name, emulated_nodes(2) as nodes:
        folder = Path(name)
        plans = plan_files(cluster, folder)
        measure(nodes, folder, plans)
        print(f"load {os.getloadavg()[0]:.1f}")
        report(plans)


if __name__ == "__main__":
    main()
