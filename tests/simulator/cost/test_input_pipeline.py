from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from simulator.cost.input_pipeline import input_flow, stall_s
from simulator.spec.input_pipeline import InputSpec
from simulator.spec.job import JobSpec

JOB = JobSpec(tokens=10**12, sequence_length=8192, global_batch_sequences=1024)


def spec_of(**values: Any) -> InputSpec:
    usual = {
        "dataset_bytes": 4e12,
        "bytes_per_token": 4.0,
        "store_bandwidth_bytes_per_s": 1e12,
        "node_bandwidth_bytes_per_s": 1e10,
    }
    return InputSpec.model_validate(usual | values)


def test_text_hardly_needs_anything() -> None:
    flow = input_flow(spec_of(), JOB, step_s=4.0, n_nodes=64, cores_per_node=96)
    assert flow.stall_s < 1e-9
    assert flow.n_epochs == pytest.approx(1)
    assert flow.first_epoch.store_s == pytest.approx(8192 * 1024 * 4 / 1e12)
    assert flow.needed_store_bytes_per_s == pytest.approx(8192 * 1024 * 4 / 4 / 0.8)
    assert flow.needed_reader_hosts == 0


def test_an_exabyte_of_video_is_bound_by_its_store() -> None:
    spec = spec_of(dataset_bytes="1EB", bytes_per_token=1_000_000, variation=0.0)
    flow = input_flow(spec, JOB, step_s=4.0, n_nodes=1024, cores_per_node=96)
    assert flow.first_epoch.limit == "the store"
    # 8.4 TB a step over 1 TB/s.
    assert flow.stall_s == pytest.approx(8192 * 1024 * 1e6 / 1e12 - 4.0)
    assert flow.needed_store_bytes_per_s == pytest.approx(8192 * 1024 * 1e6 / 4.0 / 0.8)
    assert flow.n_epochs == pytest.approx(1.0)


def test_decoding_asks_for_reader_hosts() -> None:
    needy = spec_of(decode_tokens_per_core_s=1000, decode_cores_per_node=10, variation=0.0)
    flow = input_flow(needy, JOB, step_s=4.0, n_nodes=64, cores_per_node=96)
    assert flow.first_epoch.limit == "decoding"
    batch_s = 8192 * 1024 / (1000 * 640)
    assert flow.stall_s == pytest.approx(batch_s - 4.0)
    # 2.1 M tokens/s at 80 % of 1,000 a core are 2,622 cores, and 640 are there.
    assert flow.needed_reader_hosts == np.ceil((2622 - 640) / 96)
    helped = needy.model_copy(update={"reader_hosts": int(flow.needed_reader_hosts[0])})
    better = input_flow(helped, JOB, step_s=4.0, n_nodes=64, cores_per_node=96)
    assert better.stall_s == 0


def test_a_cache_helps_from_the_second_epoch() -> None:
    slow = {"store_bandwidth_bytes_per_s": 1e6, "dataset_bytes": 1e12, "variation": 0.0}
    without = input_flow(spec_of(**slow), JOB, step_s=4.0, n_nodes=64, cores_per_node=96)
    cached = spec_of(**slow, cache_bytes_per_node=2e10, cache_bandwidth_bytes_per_s=5e9)
    with_cache = input_flow(cached, JOB, step_s=4.0, n_nodes=64, cores_per_node=96)
    assert without.n_epochs == pytest.approx(4)
    assert with_cache.later_epochs.store_s == 0
    assert with_cache.stall_s == pytest.approx(without.stall_s / 4)
    half = cached.model_copy(update={"cache_bytes_per_node": 1e12 / 64 / 2})
    flow = input_flow(half, JOB, step_s=4.0, n_nodes=64, cores_per_node=96)
    assert flow.later_epochs.store_s == pytest.approx(flow.first_epoch.store_s / 2)


def test_corrupt_shards_are_read_in_vain_and_shuffling_takes_time_at_the_start() -> None:
    usual = input_flow(spec_of(), JOB, step_s=4.0, n_nodes=64, cores_per_node=96)
    spec = spec_of(corrupt_fraction=0.5, shuffle_bytes=1e9, open_s=7.0)
    flow = input_flow(spec, JOB, step_s=4.0, n_nodes=64, cores_per_node=96)
    assert flow.first_epoch.store_s == pytest.approx(2 * usual.first_epoch.store_s)
    assert flow.start_s == pytest.approx(7.0 + 64e9 / 6.4e11)


@pytest.mark.parametrize(
    ("batch_s", "variation", "depth"),
    [(0.95, 0.5, 4.0), (0.9, 0.5, 4.0), (1.0, 0.3, 10.0), (1.1, 0.5, 3.0)],
)
def test_the_wait_against_a_simulated_buffer(
    batch_s: float, variation: float, depth: float
) -> None:
    generator = np.random.default_rng(3)
    shape = 1 / variation**2
    arrivals_s = generator.gamma(shape, batch_s / shape, 400_000)
    late_s, waited_s = 0.0, 0.0
    for arrival_s in arrivals_s:
        late_s = max(0.0, late_s + arrival_s - 1.0)
        if late_s > depth:
            waited_s += late_s - depth
            late_s = depth
    expected = float(stall_s(1.0, batch_s, variation, depth))
    assert waited_s / len(arrivals_s) == pytest.approx(expected, rel=0.25, abs=2e-4)


@given(st.floats(0.01, 10), st.floats(0, 2), st.floats(0.1, 100))
def test_waiting_is_at_least_what_is_missing_and_falls_with_depth(
    batch_s: float, variation: float, depth: float
) -> None:
    wait = stall_s(1.0, batch_s, variation, [depth, 2 * depth])
    assert wait[0] >= max(0.0, batch_s - 1.0) - 1e-12
    assert wait[1] <= wait[0] * (1 + 1e-9) + 1e-12


@given(st.floats(0.01, 1000), st.floats(0, 3), st.floats(0, 100))
def test_no_buffer_is_worse_than_none(batch_s: float, variation: float, depth: float) -> None:
    assert stall_s(1.0, batch_s, variation, depth) <= batch_s


def test_without_prefetch_nothing_overlaps() -> None:
    assert stall_s(1.0, 0.4, 0.0, 0.0) == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"cache_bytes_per_node": 1e9}, "needs cache_bandwidth_bytes_per_s"),
        ({"shuffle_bytes": 5e12}, "is more than the whole dataset"),
        ({"corrupt_fraction": 1.0}, "less than 1"),
        ({"dataset_bytes": 0}, "greater than 0"),
    ],
)
def test_impossible_pipelines(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        spec_of(**values)
