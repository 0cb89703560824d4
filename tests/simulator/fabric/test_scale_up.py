from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from simulator.fabric.scale_up import port_shares, torus_shape
from simulator.spec.cluster import ClusterSpec

ClusterMaker = Callable[..., ClusterSpec]


def torus(make_cluster: ClusterMaker, devices: int, topology: str = "torus-3d") -> ClusterSpec:
    return make_cluster(
        devices // 4, per_node=4, domain=devices, scale_up={"topology": topology}, kind="torus"
    )


@pytest.mark.parametrize(
    ("devices", "topology", "shape"),
    [
        (64, "torus-3d", (4, 4, 4)),
        (512, "torus-3d", (8, 8, 8)),
        (128, "torus-3d", (4, 4, 8)),
        (256, "torus-2d", (16, 16)),
        (32, "torus-2d", (4, 8)),
        (28, "torus-3d", (2, 2, 7)),
    ],
)
def test_a_torus_is_as_near_to_a_cube_as_its_devices_allow(
    devices: int, topology: str, shape: tuple[int, ...], make_cluster: ClusterMaker
) -> None:
    assert torus_shape(torus(make_cluster, devices, topology)) == shape


def test_a_stated_shape_wins_where_it_fits(make_cluster: ClusterMaker) -> None:
    def stated(*shape: int) -> ClusterSpec:
        return make_cluster(
            16,
            per_node=4,
            domain=64,
            scale_up={"topology": "torus-3d"},
            kind="torus",
            torus_shape=shape,
        )

    assert torus_shape(stated(2, 4, 8)) == (2, 4, 8)
    assert torus_shape(stated(2, 2, 2)) == (4, 4, 4)


@pytest.mark.parametrize(
    ("members", "stride", "ring", "exchange"),
    [
        (64, 1, 1.0, 63 / 64 / (4 / 8) / 6),  # all three dimensions
        (16, 1, 2 / 3, 15 / 16 / (4 / 8) / 6),  # two of them
        (4, 1, 1 / 3, 3 / 4 / (4 / 8) / 6),
        (4, 16, 1 / 3, 3 / 4 / (4 / 8) / 6),
        (2, 1, 1 / 6, 1 / 2 / (2 / 4) / 6),  # half of a dimension: the ring does not close
        (8, 1, 1 / 2, 7 / 8 / (4 / 8) / 6),  # one dimension and half of another
    ],
)
def test_what_groups_in_a_torus_of_4_4_4_reach(
    members: int, stride: int, ring: float, exchange: float, make_cluster: ClusterMaker
) -> None:
    cluster = torus(make_cluster, 64)
    shares = port_shares(cluster, np.array([members]), np.array([stride]))
    assert shares.ring == pytest.approx(ring)
    assert shares.exchange == pytest.approx(exchange)
    assert shares.pair == pytest.approx(1 / 6)


def test_a_pair_in_a_full_mesh_has_one_of_seven_links(make_cluster: ClusterMaker) -> None:
    """MI300X: 64 GB/s between two, 448 GB/s to all seven others (stas00/ml-engineering)."""
    cluster = make_cluster(1, scale_up={"topology": "mesh"})
    shares = port_shares(cluster, np.array([2, 4, 8]), np.array([1, 1, 1]))
    assert shares.ring == pytest.approx([1 / 7, 3 / 7, 1])
    assert shares.pair == pytest.approx(1 / 7)
