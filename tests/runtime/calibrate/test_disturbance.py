"""A machine that others keep busy is told."""

from __future__ import annotations

import pytest

from runtime.calibrate.cluster import _disturbance
from runtime.calibrate.findings import AttentionRate, Findings, RankFindings
from runtime.machine import Machine

MACHINE = Machine(processor="test", n_cores=2, memory_bytes=1e10)


def found(*shares: float) -> list[RankFindings]:
    """One rank with sessions of 1, 2, 3 ... busy ranks, in which it had these shares of a core."""
    sessions = tuple(
        Findings(
            n_busy_ranks=n_busy,
            core_share=share,
            gemms=(),
            attention=AttentionRate(flops_per_s=1e9, backward_ratio=2.5),
            memory_bandwidth_bytes_per_s=1e10,
            launch_s=1e-6,
            collectives=(),
            references=(),
        )
        for n_busy, share in enumerate(shares, start=1)
    )
    return [RankFindings(process_memory_bytes=3e8, first_step_s=1.0, sessions=sessions)]


@pytest.mark.parametrize("shares", [(0.99, 0.97), (1.0, 0.95, 0.6)])
def test_ranks_that_share_cores_among_themselves_are_not_disturbed(
    shares: tuple[float, ...],
) -> None:
    assert _disturbance(MACHINE, found(*shares)) is None


def test_cores_that_others_took_are_told() -> None:
    said = _disturbance(MACHINE, found(0.99, 0.42))
    assert said is not None
    assert "42 % of a core" in said
