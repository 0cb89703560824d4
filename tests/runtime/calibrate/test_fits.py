"""Collectives measured as points become a latency and a bandwidth."""

import pytest

from runtime.calibrate.findings import CollectivePoint
from runtime.calibrate.fits import fit_collectives, wire_fraction
from simulator.spec.cluster import CollectiveName


def points(
    operation: CollectiveName,
    n_ranks: int,
    alpha_s: float,
    bandwidth: float,
    noise: tuple[float, ...] = (1.0,),
) -> list[CollectivePoint]:
    return [
        CollectivePoint(
            operation=operation,
            n_ranks=n_ranks,
            n_busy_ranks=4,
            message_bytes=size,
            time_s=(alpha_s + size * wire_fraction(operation, n_ranks) / bandwidth)
            * noise[at % len(noise)],
        )
        for at, size in enumerate((4096, 65_536, 1_048_576, 16_777_216))
    ]


@pytest.mark.parametrize(
    ("operation", "n_ranks", "fraction"),
    [("all-reduce", 4, 1.5), ("all-gather", 4, 0.75), ("all-to-all", 2, 0.5), ("p2p", 2, 1.0)],
)
def test_exact_times_give_back_latency_and_bandwidth(
    operation: CollectiveName, n_ranks: int, fraction: float
) -> None:
    assert wire_fraction(operation, n_ranks) == fraction
    (fit,) = fit_collectives(points(operation, n_ranks, 3e-4, 1.2e9))
    assert fit.alpha_s == pytest.approx(3e-4)
    assert fit.bandwidth_bytes_per_s == pytest.approx(1.2e9)
    assert fit.relative_error == pytest.approx(0.0, abs=1e-9)
    assert (fit.operation, fit.n_ranks, fit.n_busy_ranks) == (operation, n_ranks, 4)


def test_small_and_large_messages_weigh_alike() -> None:
    (fit,) = fit_collectives(points("all-reduce", 2, 3e-4, 1.2e9, noise=(1.2, 0.8)))
    assert fit.relative_error == pytest.approx(0.2, abs=0.05)
    assert 0.7 * 3e-4 < fit.alpha_s < 1.3 * 3e-4


def test_one_fit_for_every_operation_and_group() -> None:
    mixed = points("all-reduce", 2, 1e-4, 1e9) + points("all-reduce", 4, 2e-4, 1e9)
    mixed += points("p2p", 2, 1e-4, 1e9)
    found = [(fit.operation, fit.n_ranks) for fit in fit_collectives(mixed)]
    assert found == [("all-reduce", 2), ("all-reduce", 4), ("p2p", 2)]


def test_no_negative_latency() -> None:
    falling = [
        point.model_copy(update={"time_s": point.message_bytes / 1e9})
        for point in points("all-gather", 2, 1e-4, 1e9)
    ]
    (fit,) = fit_collectives(falling)
    assert fit.alpha_s == pytest.approx(0.0, abs=1e-9)
