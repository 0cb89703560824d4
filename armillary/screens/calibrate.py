"""What `armillary calibrate` prints: the machine as it was measured."""

from __future__ import annotations

from pathlib import Path

from simulator.spec.cluster import Calibration, ClusterSpec, CollectiveFit
from simulator.spec.units import format_bytes, format_flops, format_seconds


def calibrate_screen(cluster: ClusterSpec, path: Path) -> str:
    """Return the measured rates, one kind a line, and what to do with the file."""
    calibration = cluster.calibration
    assert calibration is not None
    device, host = cluster.device, cluster.host
    lines = [
        f"{device.vendor}, {host.n_cores} cores, {format_bytes(host.memory_bytes)}"
        f"  ({calibration.tool_version}, {calibration.date})",
        "",
        "one rank alone",
        f"  multiplication      fp32 {format_flops(device.peak.fp32_flops_per_s)}, "
        f"bf16 {format_flops(device.peak.bf16_flops_per_s)}",
        f"  memory              {calibration.memory_bandwidth_bytes_per_s / 1e9:.3g} GB/s",
        f"  one small operation {format_seconds(device.efficiency.launch_latency_s)}",
        f"  holds before model  {format_bytes(calibration.process_memory_bytes)}",
        f"  starts within       {format_seconds(calibration.start_s)}",
        "ranks side by side    slower by a factor of "
        + ", ".join(f"{slow:.2f} ({at})" for at, slow in enumerate(_slowdowns(calibration), 1)),
    ]
    lines += [_collective(fit) for fit in calibration.collectives]
    lines += [
        "",
        f"saved: {path}",
        f"next:  armillary plan --cluster {path} ...   (or cluster: {path} in a scenario)",
    ]
    return "\n".join(lines)


def _slowdowns(calibration: Calibration) -> tuple[float, ...]:
    return calibration.shared_slowdown or (1.0,)


def _collective(fit: CollectiveFit) -> str:
    return (
        f"  {fit.operation:<15}{fit.n_ranks} of {fit.n_busy_ranks} ranks  "
        f"{format_seconds(fit.alpha_s):>8} + bytes / {fit.bandwidth_bytes_per_s / 1e9:5.2f} GB/s  "
        f"(fit within {100 * fit.relative_error:.0f} %)"
    )
