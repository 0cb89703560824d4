"""How long kernels take, with worked numbers on a device of round ones.

The device of `make_cluster`: 1 PFLOPS in 16 bit, of which large multiplications reach 0.7, and
3 TB/s of memory, of which kernels reach 0.85.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.catalog import find_model, find_software
from simulator.catalog.cluster import build_cluster, parse_cluster
from simulator.cost.activations import layer_activations
from simulator.cost.attention import attention_passes_s
from simulator.cost.data_parallel import optimizer_s
from simulator.cost.edges import price_embedding, price_head
from simulator.cost.exchange import expert_exchange
from simulator.cost.experts import expert_passes
from simulator.cost.kernels import HEAD_DIM_HALF
from simulator.cost.layer import price_layer
from simulator.cost.layers import Linear
from simulator.cost.passes import linears_s
from simulator.cost.plan_table import PlanTable
from simulator.cost.setting import Setting
from simulator.cost.stages import StageLayers
from simulator.spec.base import Precision
from simulator.spec.cluster import ClusterSpec
from simulator.spec.cluster_request import ClusterRequest
from simulator.spec.errors import InputError
from simulator.spec.job import JobSpec
from simulator.spec.plan import PlanSpec

ClusterMaker = Callable[..., ClusterSpec]
GEMM, MEMORY = 0.7e15, 0.85 * 3e12
LAUNCH = 4e-6


def setting(
    cluster: ClusterSpec, model: str = "llama3-8b", *, plan: PlanSpec | None = None, **job: object
) -> Setting:
    fields = {"sequence_length": 4096, "global_batch_sequences": 64, **job}
    return Setting.of(
        find_model(model),
        cluster,
        JobSpec.model_validate(fields),
        find_software("default"),
        PlanTable.of([plan or PlanSpec()]),
    )


def product_s(of: Setting, m: float, n: float, k: float, *, wide: bool = False) -> float:
    return float(of.kernels.gemm_s(np.array([m]), np.array([n]), np.array([k]), wide=wide)[0])


# Memory traffic


def test_dropout_writes_a_mask_and_reads_and_writes_a_gradient(make_cluster: ClusterMaker) -> None:
    """Two masks of 4,096 tokens by 4,096 values: 13.2 us forward, five times as much backward."""
    with_it, without = (
        price_layer(setting(make_cluster(), dropout=share), mixture=False) for share in (0.1, 0.0)
    )
    masks_s = 2 * 4096 * 4096 / MEMORY
    assert masks_s == pytest.approx(13.2e-6, rel=1e-2)
    forward_s = with_it.forward.compute_s - without.forward.compute_s
    backward_s = with_it.backward.compute_s - without.backward.compute_s
    assert (forward_s[0], backward_s[0]) == pytest.approx((masks_s, 5 * masks_s), rel=1e-6)


# Multiplications


def test_a_large_product_fills_the_device(make_cluster: ClusterMaker) -> None:
    """8192 cubed: 0.963 of the waves and 0.970 of a tile's pipeline are full; 1.680 ms."""
    filled, saturated = 8192**2 / (8192**2 + 1600**2), 8192 / (8192 + 250)
    expected = 2 * 8192**3 / (GEMM * filled * saturated)
    assert product_s(setting(make_cluster()), 8192, 8192, 8192) == pytest.approx(expected)
    assert expected == pytest.approx(1.680e-3, rel=1e-3)


def test_a_thin_product_waits_for_memory(make_cluster: ClusterMaker) -> None:
    """16 rows through 8192 x 65536 weights: 1 GiB and a little more; 422 us."""
    expected = 2 * (8192 * 65536 + 16 * 65536 + 16 * 8192) / MEMORY
    assert product_s(setting(make_cluster()), 16, 65536, 8192) == pytest.approx(expected)
    assert expected == pytest.approx(422e-6, rel=1e-2)


def test_a_tiny_product_waits_for_its_launch(make_cluster: ClusterMaker) -> None:
    assert product_s(setting(make_cluster()), 64, 64, 64) == LAUNCH


sizes = st.integers(16, 1 << 16)


@given(m=sizes, n=sizes, k=sizes, more=st.integers(2, 4))
def test_products_keep_the_bounds(
    m: int, n: int, k: int, more: int, make_cluster: ClusterMaker
) -> None:
    """Never faster than peak or memory allow, and more of anything never takes less."""
    of = setting(make_cluster())
    seconds = product_s(of, m, n, k)
    assert seconds >= 2 * m * n * k / GEMM
    assert seconds >= 2 * (m * n + n * k + m * k) / MEMORY * (1 - 1e-9)
    for larger in ((more * m, n, k), (m, more * n, k), (m, n, more * k)):
        assert product_s(of, *larger) >= seconds * (1 - 1e-9)


@pytest.mark.parametrize(
    ("device", "best_tflops"),
    [("a100-sxm-80gb", 271.2), ("h100-sxm-80gb", 794.5), ("b200-sxm-180gb", 1745.0)],
)
def test_large_products_come_near_the_best_that_was_measured(
    device: str, best_tflops: float
) -> None:
    """The best bf16 product of many shapes (stas00/ml-engineering: compute/accelerator, MAMF).

    Training reaches less of it than a benchmark of one kernel: clocks sink under steady load.
    """
    seconds = product_s(setting(parse_cluster(f"{device}:8")), 16384, 16384, 16384)
    reached = 2 * 16384**3 / seconds / 1e12
    assert 0.75 * best_tflops < reached < best_tflops


def test_weight_gradients_are_added_up_in_memory(make_cluster: ClusterMaker) -> None:
    """With 128 tokens, reading and writing 4-byte gradients takes longer than multiplying."""
    plan = PlanSpec()
    of = setting(make_cluster(), sequence_length=128, plan=plan)
    _, backward_s = linears_s(of, [Linear("wide", 8192, 8192, "none")])
    inputs_s = product_s(of, 128, 8192, 8192)
    assert backward_s == pytest.approx(inputs_s + 8 * 8192**2 / MEMORY)


# Number formats


@pytest.mark.parametrize(
    ("device", "precision", "gain"),
    [
        ("h100-sxm-80gb", Precision.FP16, 1.0),
        ("h100-sxm-80gb", Precision.FP8, 1979 / 989),
        ("h100-sxm-80gb", Precision.MXFP8, 1979 / 989),
        ("h100-sxm-80gb", Precision.INT8, 1979 / 989),
        ("a100-sxm-80gb", Precision.INT8, 624 / 312),
        ("tpu-v5p", Precision.INT8, 918 / 459),
    ],
)
def test_narrow_formats_gain_their_peak_less_what_kernels_lose(
    device: str, precision: Precision, gain: float
) -> None:
    machine = parse_cluster(f"{device}:8")
    narrow, wide = (setting(machine, precision=p) for p in (precision, Precision.BF16))
    kept = machine.device.efficiency.fp8_fraction if gain > 1 else 1.0
    if precision is Precision.MXFP8:
        kept *= machine.device.efficiency.mx_fraction
    faster = product_s(wide, 65536, 65536, 65536) / product_s(narrow, 65536, 65536, 65536)
    assert faster == pytest.approx(gain * kept)
    head = product_s(narrow, 65536, 65536, 65536, wide=True)
    assert head == pytest.approx(product_s(wide, 65536, 65536, 65536))


def test_four_bits_gain_on_eight() -> None:
    machine = parse_cluster("b200-sxm-180gb:8")
    fp4, fp8 = (setting(machine, precision=p) for p in (Precision.NVFP4, Precision.FP8))
    gain = product_s(fp8, 65536, 65536, 65536) / product_s(fp4, 65536, 65536, 65536)
    assert gain == pytest.approx(9000 / 4500 * machine.device.efficiency.fp4_fraction)


def test_casts_cost_memory_traffic() -> None:
    """Products narrower than bf16 need casts: the rest of a layer takes longer than in bf16."""
    machine = parse_cluster("h100-sxm-80gb:8")

    def beside_products_s(precision: Precision) -> float:
        of = setting(machine, precision=precision)
        layer = price_layer(of, mixture=False)
        model = of.model
        shapes = [
            (model.q_size + 2 * model.kv_size, model.hidden_size),
            (model.hidden_size, model.q_size),
            (2 * model.ffn_size, model.hidden_size),
            (model.hidden_size, model.ffn_size),
        ]
        products_s = sum(product_s(of, 4096, n, k) for n, k in shapes)
        return float(layer.forward.compute_s[0]) - products_s

    model = find_model("llama3-8b")
    inputs = 2 * model.hidden_size + model.q_size + model.ffn_size
    cast_s = 4 * 4096 * inputs / (0.85 * machine.device.memory_bandwidth_bytes_per_s)
    gained_s = beside_products_s(Precision.FP8) - beside_products_s(Precision.BF16)
    assert gained_s == pytest.approx(cast_s, rel=1e-6)


# Attention


def test_causal_attention_computes_half_of_the_pairs(make_cluster: ClusterMaker) -> None:
    """Llama 3 8B, 4096 tokens, 32 heads of 128: 4097/2 keys per query at 0.45 of the peak."""
    forward_s, backward_s = attention_passes_s(setting(make_cluster()))
    expected = 2 * 4096 * 4097 / 2 * 32 * (128 + 128) / (0.45 * 1e15)
    assert forward_s == pytest.approx(expected)
    assert backward_s == pytest.approx(2.85 * expected)


def test_long_context_grows_with_the_square_and_cp_divides_the_queries(
    make_cluster: ClusterMaker,
) -> None:
    machine = make_cluster()
    short, long, split = (
        attention_passes_s(setting(machine, sequence_length=length, plan=PlanSpec(cp=cp)))[0]
        for length, cp in ((32768, 1), (131072, 1), (131072, 8))
    )
    assert long == pytest.approx(16 * short, rel=1e-4)
    assert split == pytest.approx(long / 8)


def test_a_window_bounds_the_keys(make_cluster: ClusterMaker) -> None:
    """Mistral 7B looks back 4096 tokens: 4096 - 4096 x 4095 / (2 x 32768) = 3840.06 keys."""
    of = setting(make_cluster(), "mistral-7b", sequence_length=32768)
    forward_s, _ = attention_passes_s(of)
    assert of.model.sliding_window == 4096
    assert forward_s == pytest.approx(2 * 32768 * 3840.0625 * 32 * 256 / 0.45e15)


def test_latent_attention_has_wider_queries_than_values(make_cluster: ClusterMaker) -> None:
    """DeepSeek-V3 (arXiv 2412.19437, 4.2): 128 heads, queries of 128 + 64, values of 128."""
    forward_s, _ = attention_passes_s(setting(make_cluster(), "deepseek-v3"))
    width = (192 / (192 + HEAD_DIM_HALF)) / (128 / (128 + HEAD_DIM_HALF))
    assert forward_s == pytest.approx(2 * 4096 * 4097 / 2 * 128 * (192 + 128) / (0.45e15 * width))


def test_unfused_attention_moves_every_score(make_cluster: ClusterMaker) -> None:
    of = setting(make_cluster(), attention="unfused")
    forward_s, _ = attention_passes_s(of)
    scores = 32 * 4096**2
    products_s = 2 * scores * 256 / (GEMM * 4096**2 / (4096**2 + 1600**2))
    traffic_s = scores * of.software.unfused_score_bytes / MEMORY
    assert forward_s == pytest.approx(products_s + traffic_s)
    assert forward_s > 2 * attention_passes_s(setting(make_cluster()))[0]


# Experts


def test_few_rows_per_expert_starve_a_grouped_product(make_cluster: ClusterMaker) -> None:
    """Some 280 rows reach half of the rate of many."""
    of = setting(make_cluster())
    groups, rows = np.array([64.0]), np.array([of.kernels.group_rows])
    few = float(of.kernels.grouped_gemm_s(groups, rows, 4096.0, 4096.0)[0])
    saturated = 4096 / (4096 + 250)
    assert few == pytest.approx(2 * 64 * of.kernels.group_rows * 4096**2 / (0.5 * saturated * GEMM))


def test_all_wait_for_the_busiest_expert_rank(make_cluster: ClusterMaker) -> None:
    """1.5 times the mean: tokens moved, permuted and sent grow by half, products by nearly so."""
    plan = PlanSpec(dp_replicate=8, ep=8)
    even, busy = (
        setting(make_cluster(), "mixtral-8x7b", plan=plan, expert_imbalance=x) for x in (1.0, 1.5)
    )
    assert even.model.moe is not None
    sent = expert_exchange(busy).alone_s / expert_exchange(even).alone_s
    assert sent == pytest.approx(1.5, rel=1e-2)
    before, after = (expert_passes(each, even.model.moe) for each in (even, busy))
    assert after.elementwise_s == pytest.approx(1.5 * before.elementwise_s)
    assert layer_activations(busy, mixture=True).kept_bytes > (
        1.1 * layer_activations(even, mixture=True).kept_bytes
    )
    assert 1.4 * before.matmul_s < after.matmul_s < 1.5 * before.matmul_s


# Embedding, head, optimizer


def test_the_head_divides_the_vocabulary(make_cluster: ClusterMaker) -> None:
    """Per token three fp32 numbers are reduced over the ranks (vocabulary-parallel loss)."""
    whole, split = (price_head(setting(make_cluster(), plan=PlanSpec(tp=tp)))[0] for tp in (1, 8))
    assert whole.tp_s == 0.0
    assert split.tp_s > 0.0
    assert split.compute_s == pytest.approx(whole.compute_s / 8, rel=0.15)
    logits = 4096 * 128256
    of = setting(make_cluster())
    loss_s = 0.4 * of.software.logits_traffic_bytes * logits / MEMORY
    assert whole.compute_s == pytest.approx(product_s(of, 4096, 128256, 4096) + loss_s)


def test_an_embedding_is_read_and_written(make_cluster: ClusterMaker) -> None:
    forward, _ = price_embedding(setting(make_cluster()))
    assert forward.compute_s == pytest.approx(4 * 2 * 4096 * 4096 / MEMORY)


def test_the_optimizer_moves_36_bytes_per_parameter_that_a_rank_owns(
    make_cluster: ClusterMaker,
) -> None:
    """Gradients twice (4 bytes), state read and written (12), weight read and written (2)."""

    def update_s(plan: PlanSpec) -> float:
        of = setting(make_cluster(), plan=plan)
        return float(optimizer_s(of, StageLayers.of(of.model, of.table))[0])

    alone = update_s(PlanSpec())
    assert alone == pytest.approx(8.03e9 * 36 / MEMORY, rel=1e-3)
    assert update_s(PlanSpec(dp_shard=8, zero_stage=1)) == pytest.approx(alone / 8)


# Power and launches


def test_a_power_limit_lowers_the_clock_by_the_cube_root() -> None:
    """H100 at 500 of 700 W: ((500 - idle) / (700 - idle)) to the 1/3.

    Fits to published runs give Meta's 500 W variant 0.87 to 0.93 of the SXM's rate.
    """
    machine = parse_cluster("h100-sxm-80gb:8")
    idle_w = machine.device.idle_w
    limited = machine.model_copy(update={"power_limit_w": 500.0})
    clock = ((500 - idle_w) / (700 - idle_w)) ** (1 / 3)
    large = (16384, 16384, 16384)
    slower = product_s(setting(machine), *large) / product_s(setting(limited), *large)
    assert slower == pytest.approx(clock)
    assert 0.85 < clock < 0.93
    thin = (16, 65536, 8192)
    assert product_s(setting(limited), *thin) == product_s(setting(machine), *thin)


def test_a_limit_above_the_data_sheet_changes_nothing() -> None:
    machine = parse_cluster("h100-sxm-80gb:8")
    assert machine.model_copy(update={"power_limit_w": 800.0}).clock_share == 1.0


@pytest.mark.parametrize(
    ("device", "limit_w", "message"),
    [
        ("h100-sxm-80gb", 50, "power_limit_w=50 is not above the"),
        ("tpu-v5e", 100, "power_limit_w=100: the draw of tpu-v5e is unknown"),
    ],
)
def test_a_power_limit_that_cannot_be_is_refused(device: str, limit_w: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_cluster(ClusterRequest(device=device, power_limit_w=limit_w))
