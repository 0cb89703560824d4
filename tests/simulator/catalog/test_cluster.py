"""Clusters: how many nodes a count makes, and which fabric joins them."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator import catalog
from simulator.catalog.cluster import (
    build_cluster,
    cluster_of,
    parse_cluster,
    read_cluster_file,
    write_cluster_file,
)
from simulator.catalog.yaml_text import Document
from simulator.spec.base import Precision
from simulator.spec.cluster import (
    Calibration,
    CollectiveFit,
    FabricSpec,
    LinkSpec,
)
from simulator.spec.cluster_request import ClusterRequest
from simulator.spec.errors import InputError
from simulator.spec.kernel_table import GemmPoint


@pytest.mark.parametrize(
    ("text", "nodes", "per_node", "domain", "fabric"),
    [
        ("h100-sxm:64", 8, 8, 8, "rail-optimized-400g"),
        ("h100-sxm:8", 1, 8, 8, "none"),
        ("h100-sxm:2", 1, 2, 2, "none"),
        ("h100-sxm", 1, 8, 8, "none"),
        ("a100:16", 2, 8, 8, "rail-optimized-200g"),
        ("cpu:2", 1, 2, 2, "none"),
        ("gb200-nvl72:576", 144, 4, 72, "rail-optimized-400g"),
        ("gb200-nvl72:72", 18, 4, 72, "rail-optimized-400g"),
        ("tpu-v5p:8192", 2048, 4, 8960, "ici-torus"),
        ("gaudi2:16", 2, 8, 8, "roce"),
    ],
)
def test_short_forms(text: str, nodes: int, per_node: int, domain: int, fabric: str) -> None:
    cluster = parse_cluster(text)
    assert (cluster.n_nodes, cluster.devices_per_node) == (nodes, per_node)
    assert cluster.scale_up_domain_devices == domain
    assert cluster.fabric.name == fabric


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("h100-sxm:65", "devices=65 is not nodes x devices per node = 8 x 8; use 64 or 72"),
        ("h100-sxm:0", "0 devices; use 1 to 1e9"),
        ("h100-sxm:9999999999", "9999999999 devices; use 1 to 1e9"),
        ("h100-sxm:x", "is not a device with a count; write it like h100-sxm:64"),
        ("", "is not a device with a count"),
        ("h100sxm:8", "unknown device 'h100sxm'; did you mean"),
        ("a;b:8", "is not a device with a count"),
        ("x" * 500 + ":8", "unknown device"),
        ("nowhere/c.yaml", "nowhere/c.yaml: cannot be read"),
    ],
)
def test_what_is_no_cluster(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_cluster(text)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("request_", "nodes", "per_node"),
    [
        (ClusterRequest(device="h100", nodes=4), 4, 8),
        (ClusterRequest(device="h100", nodes=4, devices_per_node=4), 4, 4),
        (ClusterRequest(device="h100", devices=12, devices_per_node=4), 3, 4),
        (ClusterRequest(device="h100", devices=12, nodes=3), 3, 4),
        (ClusterRequest(device="h100", devices=16, nodes=1), 1, 16),
        (ClusterRequest(device="h100"), 1, 8),
    ],
)
def test_counts(request_: ClusterRequest, nodes: int, per_node: int) -> None:
    cluster = build_cluster(request_)
    assert (cluster.n_nodes, cluster.devices_per_node) == (nodes, per_node)


@pytest.mark.parametrize(
    "request_",
    [
        ClusterRequest(device="h100", devices=12),
        ClusterRequest(device="h100", devices=12, nodes=5),
        ClusterRequest(device="h100", devices=12, nodes=2, devices_per_node=8),
    ],
)
def test_counts_that_do_not_multiply_out(request_: ClusterRequest) -> None:
    with pytest.raises(InputError, match="is not nodes x devices per node"):
        build_cluster(request_)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (ClusterRequest(device="h100", devices=10**12), "n_nodes: should be less than or equal to"),
        (ClusterRequest(device="h100", nodes=2, fabric="none"), "2 nodes need a fabric"),
    ],
)
def test_clusters_that_cannot_be(request_: ClusterRequest, message: str) -> None:
    with pytest.raises(InputError) as caught:
        build_cluster(request_, where="a.yaml:2")
    assert message in str(caught.value)
    assert str(caught.value).startswith("a.yaml:2: ")


def test_a_request_changes_what_it_names() -> None:
    link = LinkSpec(bandwidth_bytes_per_s=1e9, latency_s=1e-6)
    fabric = FabricSpec(name="mine", kind="ethernet", nic=link)
    cluster = build_cluster(
        ClusterRequest(
            device="h100", nodes=2, fabric=fabric, scale_up=link, memory=64 * 2**30, name="c"
        )
    )
    assert cluster.fabric == fabric
    assert cluster.scale_up == link
    assert cluster.device.memory_bytes == 64 * 2**30
    assert cluster.name == "c"


def test_devices_of_a_node_share_one_interface() -> None:
    cluster = build_cluster(ClusterRequest(device="h100", nodes=2, fabric="ethernet-100g"))
    assert cluster.fabric.nic.bandwidth_bytes_per_s == pytest.approx(100e9 / 8 / 8)


def test_the_default_fabric_has_the_speed_of_the_device() -> None:
    for name in catalog.list_names("devices"):
        device = catalog.find_device(name)
        cluster = build_cluster(ClusterRequest(device=name, nodes=2))
        if device.scale_up.topology in ("switch", "mesh"):
            speed = cluster.fabric.nic.bandwidth_bytes_per_s
            assert speed == pytest.approx(device.nic_bandwidth_bytes_per_s), name


def test_a_calibrated_cluster_survives_its_file(tmp_path: Path) -> None:
    calibration = Calibration(
        date="2026-11-25",
        gemms=(GemmPoint(m=1, n=2, k=3, precision=Precision.FP32, time_s=1.25e-5),),
        collectives=(
            CollectiveFit(
                operation="all-reduce", n_ranks=2, alpha_s=1e-4, bandwidth_bytes_per_s=3.3e9
            ),
        ),
        shared_slowdown=(1.0, 1.0625),
    )
    cluster = parse_cluster("cpu:2").model_copy(
        update={"calibration": calibration, "name": "this-machine"}
    )
    write_cluster_file(tmp_path / "c.yaml", cluster)
    assert read_cluster_file(tmp_path / "c.yaml") == cluster
    assert parse_cluster(str(tmp_path / "c.yaml")) == cluster


def test_a_cluster_file_may_be_a_request(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("device: h100-sxm\nnodes: 3\n")
    assert read_cluster_file(file).n_devices == 24
    file.write_text("device: h100-sxm\nnods: 3\n")
    with pytest.raises(InputError, match=r"c\.yaml:2: nods: unknown field; did you mean nodes\?"):
        read_cluster_file(file)


def test_a_link_without_bandwidth_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(
        "device: h100-sxm\nnodes: 2\n"
        "fabric: {base: rail-optimized-400g, nic: {bandwidth_bytes_per_s: -5 GB/s, latency_s: 0}}\n"
        "scale_up: {bandwidth_bytes_per_s: 0, latency_s: 1us}\n"
    )
    with pytest.raises(InputError) as caught:
        read_cluster_file(path)
    first, second = str(caught.value).splitlines()[1:]
    assert first == (
        f"{path}:3: fabric.nic.bandwidth_bytes_per_s: should be greater than 0, not '-5 GB/s'"
    )
    assert second == f"{path}:4: scale_up.bandwidth_bytes_per_s: should be greater than 0, not 0"


def test_a_whole_cluster_takes_another_size() -> None:
    small = parse_cluster("h100-sxm:64")
    whole = {"cluster": small.model_dump(mode="json", exclude_none=True)}
    for size, value in (("nodes", 16), ("devices", 128)):
        document = Document({"cluster": whole["cluster"] | {size: value}}, {}, "whole.yaml")
        assert cluster_of(document) == parse_cluster("h100-sxm:128")
    with pytest.raises(InputError, match="nodes"):
        cluster_of(Document({"cluster": whole["cluster"] | {"nodes": "many"}}, {}, "whole.yaml"))
