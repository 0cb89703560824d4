import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.campaign import renewal

DAY_S = 86400.0
LLAMA3_MTBF_S = 54 * DAY_S / 419

# stall, Young, Daly first order, Daly higher order, exact, first-order waste, goodput R=0, R=300
DALY_TABLE = [
    (10, 471.91, 461.91, 465.27, 465.27, 0.04238, 0.95822, 0.93274),
    (20, 667.39, 647.39, 654.12, 654.12, 0.05994, 0.94126, 0.91624),
    (60, 1155.95, 1095.95, 1116.29, 1116.30, 0.10381, 0.89975, 0.87583),
    (120, 1634.75, 1514.75, 1555.73, 1555.75, 0.14681, 0.86028, 0.83742),
]


@pytest.mark.parametrize(
    ("stall_s", "young", "daly_1", "daly", "exact", "waste", "no_restart", "restart"), DALY_TABLE
)
def test_intervals_at_the_failure_rate_of_llama_3(
    stall_s: float,
    young: float,
    daly_1: float,
    daly: float,
    exact: float,
    waste: float,
    no_restart: float,
    restart: float,
) -> None:
    m = LLAMA3_MTBF_S
    assert renewal.young_interval_s(stall_s, m) == pytest.approx(young, abs=0.01)
    assert renewal.daly_first_order_interval_s(stall_s, m) == pytest.approx(daly_1, abs=0.01)
    assert renewal.daly_interval_s(stall_s, m) == pytest.approx(daly, abs=0.01)
    optimum = renewal.optimal_interval_s(stall_s, m)
    assert optimum == pytest.approx(exact, abs=0.01)
    assert np.sqrt(2 * stall_s / m) == pytest.approx(waste, abs=1e-5)
    assert renewal.goodput(optimum, stall_s, 0, m) == pytest.approx(no_restart, abs=1e-5)
    assert renewal.goodput(optimum, stall_s, 300, m) == pytest.approx(restart, abs=1e-5)


@given(st.floats(1e-8, 50), st.floats(10, 1e8), st.floats(0.5, 2))
def test_no_other_interval_beats_the_exact_one(
    stall_share: float, mtbf_s: float, other: float
) -> None:
    stall_s = stall_share * mtbf_s
    best = renewal.optimal_interval_s(stall_s, mtbf_s)
    at_best = renewal.goodput(best, stall_s, 0, mtbf_s)
    assert at_best >= renewal.goodput(best * other, stall_s, 0, mtbf_s) * (1 - 1e-12)


def test_the_exact_interval_keeps_its_digits_where_stalls_are_tiny() -> None:
    mtbf_s = 1e4
    stalls_s = np.array([0.0, 1e-6, 0.999e-2, 1.001e-2])
    assert renewal.optimal_interval_s(stalls_s, mtbf_s) == pytest.approx(
        renewal.daly_interval_s(stalls_s, mtbf_s), rel=1e-7
    )


def test_the_optimum_is_flat() -> None:
    young = renewal.young_interval_s(20, LLAMA3_MTBF_S)
    assert renewal.goodput(young, 20, 300, LLAMA3_MTBF_S) == pytest.approx(0.91622, abs=1e-5)


def test_completion_time_of_thirty_days_of_work() -> None:
    time_s = renewal.completion_s(30 * DAY_S, 647.385, 20, 300, LLAMA3_MTBF_S)
    assert time_s / DAY_S == pytest.approx(32.743, abs=5e-4)


def test_completion_formula_against_a_simulation_of_two_million_segments() -> None:
    generator = np.random.default_rng(1)
    mtbf_s, work_s, stall_s, restart_s = LLAMA3_MTBF_S, 647.385, 20.0, 300.0
    n_segments = 2_000_000
    total_s, attempts, length_s = 0.0, n_segments, work_s + stall_s
    while attempts:
        time_to_failure_s = generator.exponential(mtbf_s, attempts)
        total_s += np.minimum(time_to_failure_s, length_s).sum()
        attempts = int((time_to_failure_s < length_s).sum())
        length_s = restart_s + work_s + stall_s  # both must pass after a failure
    measured = total_s / (n_segments * work_s)
    exact = renewal.completion_s(1.0, work_s, stall_s, restart_s, mtbf_s)
    assert measured == pytest.approx(exact, rel=5e-4)


@given(
    st.floats(1, 1e5),
    st.floats(0, 1e3),
    st.floats(0, 1e4),
    st.floats(1, 1e9),
    st.floats(0, 1e3),
)
def test_shares_add_up_to_one(
    interval_s: float, stall_s: float, restart_s: float, mtbf_s: float, persist_s: float
) -> None:
    shares = renewal.time_shares(interval_s, stall_s, restart_s, mtbf_s, persist_s=persist_s)
    parts = (shares.productive, shares.checkpoint, shares.restart, shares.lost_work)
    assert sum(parts) == pytest.approx(1.0, abs=1e-12)
    assert all(part >= 0 for part in parts)


def test_time_in_stalls_against_a_simulation() -> None:
    generator = np.random.default_rng(5)
    interval_s, stall_s, restart_s, mtbf_s = 500.0, 100.0, 300.0, 1500.0
    life_s = generator.exponential(mtbf_s, 400_000)
    working_s = np.maximum(life_s - restart_s, 0)
    cycles, rest_s = np.divmod(working_s, interval_s + stall_s)
    in_stall_s = cycles * stall_s + np.maximum(rest_s - interval_s, 0)
    shares = renewal.time_shares(interval_s, stall_s, restart_s, mtbf_s)
    assert in_stall_s.sum() / life_s.sum() == pytest.approx(float(shares.checkpoint), rel=0.01)
    assert cycles.sum() * interval_s / life_s.sum() == pytest.approx(
        float(shares.productive), rel=0.01
    )


def test_without_failures_only_stalls_are_lost() -> None:
    shares = renewal.time_shares(90, 10, 300, np.inf)
    assert shares.productive == pytest.approx(0.9)
    assert shares.checkpoint == pytest.approx(0.1)
    assert shares.restart == 0
    assert shares.lost_work == 0


def test_a_late_safe_point_costs_as_much_as_a_longer_restart() -> None:
    late = renewal.time_shares(600, 5, 300, 1e4, persist_s=60)
    assert late.productive == pytest.approx(renewal.goodput(600, 5, 360, 1e4))
    assert late.restart == pytest.approx(renewal.time_shares(600, 5, 300, 1e4).restart)


def test_goodput_and_its_spread_over_replicas() -> None:
    # 100,000 simulated replicas of 54 days: 0.87652 with a standard error of 1.8e-5 (the bias of
    # a finite horizon is some 1e-4).
    assert renewal.goodput(1800.0, 0.0, 420.0, LLAMA3_MTBF_S) == pytest.approx(0.8877, abs=1e-3)
    deviation = renewal.goodput_deviation(1800.0, 0.0, 420.0, LLAMA3_MTBF_S, horizon_s=54 * DAY_S)
    assert deviation == pytest.approx(1.8e-5 * np.sqrt(100_000), rel=0.03)
    assert renewal.goodput_deviation(1800.0, 0, 420, np.inf, horizon_s=DAY_S) == 0


def test_statements_of_meta_about_their_clusters() -> None:
    def ettr(rate_per_node_day: float, write_s: float) -> float:
        mtbf_s = DAY_S / (1500 * rate_per_node_day)
        interval_s = np.sqrt(2 * write_s * mtbf_s)
        return float(renewal.first_order_ettr(interval_s, write_s, 300, mtbf_s))

    assert ettr(6.5e-3, 10) == pytest.approx(0.9205, abs=5e-5)
    assert ettr(6.5e-3, 60) == pytest.approx(0.858, abs=5e-4)
    assert ettr(6.5e-3, 300) == pytest.approx(0.740, abs=5e-4)
    assert ettr(1e-3, 300) == pytest.approx(0.898, abs=5e-4)
    assert ettr(2.34e-3, 300) == pytest.approx(0.844, abs=5e-4)
    mtbf_s = DAY_S / (1500 * 6.5e-3)
    interval_s = np.sqrt(2 * 10 * mtbf_s)
    assert renewal.goodput(interval_s, 10, 300, mtbf_s) == pytest.approx(0.9215, abs=5e-5)


@pytest.mark.parametrize(
    ("n_nodes", "exact"), [(16_384, 0.713), (125_000, 0.136)], ids=["131k GPUs", "1M GPUs"]
)
def test_first_order_formulas_refuse_where_they_break(n_nodes: int, exact: float) -> None:
    mtbf_s = DAY_S / (n_nodes * 3.79e-3)
    interval_s = np.sqrt(2 * 10 * mtbf_s)
    with pytest.raises(ValueError, match="recovery pressure"):
        renewal.first_order_ettr(interval_s, 10, 300, mtbf_s)
    assert renewal.goodput(interval_s, 10, 300, mtbf_s) == pytest.approx(exact, abs=1e-3)


def test_isolated_groups_against_restarting_everything() -> None:
    rate_per_s = 0.4736e-3 / DAY_S
    groups = np.array([1024, 4096, 8192])
    assert renewal.isolated_availability(groups * rate_per_s, 305) == pytest.approx(
        [0.99829, 0.99320, 0.98649], abs=1e-5
    )
    mtbf_s = 1 / (rate_per_s * np.array([16_384, 131_072, 1e6]))
    interval_s = renewal.optimal_interval_s(5, mtbf_s)
    assert renewal.goodput(interval_s, 5, 300, mtbf_s) == pytest.approx(
        [0.9445, 0.7397, 0.1514], abs=1e-4
    )


def test_time_between_failures_of_a_job() -> None:
    hours = 24 / (np.array([2048, 16_384]) * 6.5e-3)
    assert hours == pytest.approx([1.803, 0.2254], abs=5e-4)
    assert np.exp(-1 / (24 / (2048 * 3.79e-3))) == pytest.approx(0.7238, abs=5e-4)
