"""Time of what is computed again, against the forward passes that it repeats."""

import numpy as np
import pytest

from simulator.catalog import find_model, find_software
from simulator.catalog.cluster import parse_cluster
from simulator.cost.exchange import activation_bytes, tensor_pair_s
from simulator.cost.experts import expert_passes
from simulator.cost.layer import LayerPasses, price_layer
from simulator.cost.layers import dense_ffn_linears
from simulator.cost.passes import linears_s
from simulator.cost.plan_table import PlanTable
from simulator.cost.setting import Setting
from simulator.cost.volumes import step_volumes
from simulator.spec.job import JobSpec
from simulator.spec.plan import PlanSpec
from simulator.spec.profiles import OverlapProfile, SoftwareProfile

SOFTWARE = find_software("megatron-core-2024")
ONE = PlanSpec(tp=4, sequence_parallel=True)
ALL_PARTS = "core-attn+layernorm+mlp+moe+mla-up-proj"


def setting(
    *recomputes: str, model: str = "llama3-8b", software: SoftwareProfile = SOFTWARE, **job: object
) -> Setting:
    plans = [ONE.model_copy(update={"recompute": kind}) for kind in recomputes]
    wanted = {"sequence_length": 8192, "global_batch_sequences": 1} | job
    return Setting.of(
        find_model(model),
        parse_cluster("h100-sxm:8"),
        JobSpec.model_validate(wanted),
        software,
        PlanTable.of(plans),
    )


def priced(*recomputes: str, model: str = "llama3-8b", mixture: bool = False) -> LayerPasses:
    return price_layer(setting(*recomputes, model=model), mixture=mixture)


def test_whole_layers_cost_their_share_of_a_forward() -> None:
    layer = priced("none", "full", "every-2", "every-3", "first-8", "groups-of-4")
    share = np.array([0, 1, 16 / 32, 10 / 32, 8 / 32, 1])
    fraction = SOFTWARE.recompute_fraction
    np.testing.assert_allclose(
        layer.recompute.compute_s, share * fraction * layer.forward.compute_s
    )
    np.testing.assert_allclose(layer.recompute.tp_s, share * layer.forward.tp_s)


def test_parts_repeat_their_kernels() -> None:
    of = setting("core-attn", "mlp", "layernorm")
    layer = price_layer(of, mixture=False)
    matmul_s, _ = linears_s(of, dense_ffn_linears(of.model))
    core_s, mlp_s, norm_s = layer.recompute.compute_s
    assert mlp_s == pytest.approx(matmul_s[1], rel=0.1)
    assert mlp_s > matmul_s[1]
    assert 0 < norm_s < core_s < mlp_s
    half = layer.forward.tp_s / 2
    np.testing.assert_allclose(layer.recompute.tp_s, [0, half[1], 0])


def test_software_that_stops_early_skips_the_last_sums() -> None:
    """Of a gather and a reduce-scatter each for attention and network, one is left out."""
    torch = SOFTWARE.model_copy(update={"stops_recompute_early": True})
    whole = price_layer(setting("full", "mlp", software=torch), mixture=False)
    early_s, network_s = whole.recompute.tp_s
    assert early_s == pytest.approx(0.75 * whole.forward.tp_s[0])
    assert network_s == 0
    mixed = price_layer(setting("full", model="mixtral-8x7b", software=torch), mixture=True)
    assert mixed.recompute.tp_s < mixed.forward.tp_s


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("kind", ["full", "mlp", "moe", "every-2+mlp"])
@pytest.mark.parametrize("model", ["llama3-8b", "mixtral-8x7b"])
def test_price_and_volume_repeat_the_same_sums(model: str, kind: str, early: bool) -> None:
    """With nothing hidden, a gather takes as long as a reduce-scatter of the same bytes."""
    software = SOFTWARE.model_copy(
        update={"overlap": OverlapProfile(), "stops_recompute_early": early}
    )
    of = setting(kind, model=model, software=software)
    mixture = of.model.moe is not None
    priced_s = price_layer(of, mixture=mixture).recompute.tp_s[0]
    repeated_bytes = _tensor_bytes(of, kind) - _tensor_bytes(of, "none")
    sums = repeated_bytes / activation_bytes(of)[0] / of.model.n_layers
    assert priced_s == pytest.approx(sums * tensor_pair_s(of)[0] / 2)


def _tensor_bytes(of: Setting, recompute: str) -> float:
    plan = ONE.model_copy(update={"recompute": recompute})
    return step_volumes(of.of_table(PlanTable.of([plan])), plan)[0].tp_bytes


def test_parts_add_up() -> None:
    one, other, both = priced("layernorm", "core-attn", "core-attn+layernorm").recompute.compute_s
    assert both == pytest.approx(one + other)


def test_parts_are_for_the_layers_that_are_not_whole() -> None:
    half, part, mixed = priced("every-2", "mlp", "every-2+mlp").recompute.compute_s
    assert mixed == pytest.approx(half + part / 2)


@pytest.mark.parametrize("mixture", [False, True])
def test_all_parts_are_less_than_the_layer(mixture: bool) -> None:
    layer = priced(ALL_PARTS, model="deepseek-v3", mixture=mixture)
    assert 0.3 * layer.forward.total_s < layer.recompute.total_s < layer.forward.total_s


def test_experts_are_launched_and_exchanged_again() -> None:
    of = setting("moe", "moe-act", model="deepseek-v3")
    layer = price_layer(of, mixture=True)
    assert of.model.moe is not None
    routed_s = expert_passes(of, of.model.moe).forward_s
    assert layer.recompute.compute_s[0] >= max(routed_s[0], SOFTWARE.moe_launch_s / 3)
    assert layer.recompute.compute_s[1] < 0.3 * routed_s[1]
    np.testing.assert_array_equal(layer.recompute.ep_s, [layer.forward.ep_s[0], 0])


def test_parts_of_experts_cost_nothing_in_dense_layers() -> None:
    layer = priced("moe+moe-act", "shared-experts", model="deepseek-v3")
    np.testing.assert_array_equal(layer.recompute.total_s, 0)
