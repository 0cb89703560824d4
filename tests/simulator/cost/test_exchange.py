"""What runs beside compute hides as far as there is compute."""

import numpy as np
import pytest

from simulator.catalog import find_model, find_software
from simulator.catalog.cluster import parse_cluster
from simulator.cost.collectives import all_gather_s, reduce_scatter_s
from simulator.cost.exchange import Exchange, activation_bytes, tensor_pair_s
from simulator.cost.layer import with_exchanges
from simulator.cost.plan_table import PlanTable
from simulator.cost.setting import Setting
from simulator.spec.base import Precision
from simulator.spec.job import JobSpec
from simulator.spec.plan import PlanSpec

NOTHING = Exchange.of(np.zeros(1), 0.0)


@pytest.mark.parametrize(
    ("compute_s", "tp_s", "cp_s", "shown_tp_s", "shown_cp_s"),
    [
        (10.0, 4.0, 8.0, 1.0, 4.0),  # 3 + 4 beside 10: only what stands alone shows
        (2.0, 4.0, 0.0, 2.0, 0.0),  # 3 beside 2: one of them late
        (3.5, 4.0, 8.0, 2.5, 6.0),  # 3 + 4 beside 3.5: half of both late
    ],
)
def test_late_is_what_is_longer_than_the_compute_beside_it(
    compute_s: float, tp_s: float, cp_s: float, shown_tp_s: float, shown_cp_s: float
) -> None:
    tp, cp = Exchange.of(np.array([tp_s]), 0.75), Exchange.of(np.array([cp_s]), 0.5)
    time = with_exchanges(np.array([compute_s]), tp, cp, NOTHING)
    assert time.tp_s == pytest.approx(shown_tp_s)
    assert time.cp_s == pytest.approx(shown_cp_s)
    assert time.total_s == pytest.approx(compute_s + shown_tp_s + shown_cp_s)


@pytest.mark.parametrize(
    ("software", "precision", "share"),
    [
        ("megatron-core-2024", Precision.FP8, 0.5),
        ("megatron-core-2024", Precision.BF16, 1.0),
        ("torchtitan-rowwise", Precision.FP8, 1.0),
    ],
)
def test_what_goes_into_a_narrow_product_is_gathered_narrow(
    software: str, precision: Precision, share: float
) -> None:
    """One byte a value instead of two, where the software casts first; sums stay wide."""
    setting = Setting.of(
        find_model("llama3-8b"),
        parse_cluster("h100-sxm-80gb:8"),
        JobSpec(sequence_length=8192, global_batch_sequences=8, precision=precision),
        find_software(software),
        PlanTable.of([PlanSpec(tp=8, sequence_parallel=True)]),
    )
    message, group = activation_bytes(setting), setting.group("tp")
    whole_s = reduce_scatter_s(message, group)
    assert tensor_pair_s(setting) == pytest.approx(all_gather_s(share * message, group) + whole_s)
    assert tensor_pair_s(setting, wide=True) == pytest.approx(
        all_gather_s(message, group) + whole_s
    )
