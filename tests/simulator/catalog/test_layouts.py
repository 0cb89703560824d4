"""Layouts of clusters as Slurm, NCCL and nvidia-smi write them down."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulator.catalog.cluster import parse_cluster, read_cluster_file, write_cluster_file
from simulator.catalog.layouts import LAYOUTS
from simulator.catalog.layouts.hostlist import expand
from simulator.catalog.layouts.layout import Layout, joined
from simulator.catalog.scenario_file import load_scenario
from simulator.spec.cluster import ClusterSpec
from simulator.spec.errors import InputError

TREE = """\
# Two leaves below a spine.
SwitchName=leaf1 Nodes=gpu[001-016]
switchname=leaf2 nodes=gpu[017-030],gpu[031,032]
SwitchName=spine Switches=leaf[1-2] LinkSpeed=400
"""
RAILS = "".join(f"SwitchName=rail{rail} Nodes=n[1-8]\n" for rail in range(8))
BLOCKS = "".join(f"BlockName=rack{rack} Nodes=gb{rack}-[01-18]\n" for rack in range(3))


def node(gpu: str, nics: str, *, n_gpus: int = 8) -> str:
    """A dump of a node with devices that have the same inside."""
    slots = "".join(
        f'<pci busid="0000:{at:02x}:00.0" class="0x030200" link_speed="32.0 GT/s PCIe"'
        f' link_width="16"><gpu dev="{at}" sm="90" rank="{at}" gdr="1">{gpu}</gpu></pci>'
        for at in range(n_gpus)
    )
    return f'<system version="1"><cpu numaid="0" arch="x86_64">{slots}{nics}</cpu></system>'


def net(name: str, gigabits: int) -> str:
    return (
        '<pci busid="0000:a1:00.0" class="0x020700"><nic>'
        f'<net name="{name}" dev="0" speed="{gigabits * 1000}" port="1" gdr="1"/></nic></pci>'
    )


NVSWITCH = '<nvlink target="0000:f5:00.0" count="18" tclass="0x068000"/>'
NICS = "".join(net(f"mlx5_{at}", 400) for at in range(8)) + net("eno1", 25)
DGX = node(NVSWITCH, NICS)


def matrix(links: list[list[str]], nics: list[list[str]]) -> str:
    """What nvidia-smi prints: a head in colours, a row a device, then the legend."""
    n_nics = len(nics[0]) if nics else 0
    heads = [f"GPU{at}" for at in range(len(links))] + [f"NIC{at}" for at in range(n_nics)]
    lines = ["\t\x1b[4m" + "\t".join(heads) + "\tCPU Affinity\tNUMA Affinity\tGPU NUMA ID\x1b[0m"]
    for at, row in enumerate(links):
        cells = [cell if other != at else " X " for other, cell in enumerate(row)]
        near = nics[at] if nics else []
        lines.append("\t".join([f"GPU{at}", *cells, *near, "0-47,96-143", "0", "\tN/A"]))
    lines += ["", "Legend:", "", "  X    = Self", "  NV#  = a bonded set of # NVLinks"]
    return "\n".join(lines) + "\n"


HGX = matrix(
    [["NV18"] * 8 for _ in range(8)],
    [["PIX" if nic == gpu else "SYS" for nic in range(8)] + ["NODE"] for gpu in range(8)],
)
BRIDGES = matrix([["NV4" if one // 2 == other // 2 else "SYS" for other in range(4)]
                  for one in range(4)], [])  # fmt: skip
PCIE = matrix([["SYS"] * 2 for _ in range(2)], [["PHB"], ["SYS"]])


def layout(kind: str, text: str) -> Layout:
    return LAYOUTS[kind].read(text.replace("\x1b[4m", "").replace("\x1b[0m", ""), "f")


@pytest.mark.parametrize(
    ("kind", "text", "found"),
    [
        ("slurm", TREE, {"nodes": 32, "nodes_per_pod": 16}),
        ("slurm", RAILS, {"nodes": 8}),
        ("slurm", "SwitchName=s Nodes=a,b,c\n", {"nodes": 3}),
        ("slurm", BLOCKS, {"nodes": 54, "nodes_per_block": 18}),
        (
            "nccl",
            DGX,
            {
                "devices_per_node": 8,
                "has_direct_links": True,
                "nics_per_node": 8,
                "nic_bandwidth_bytes_per_s": 50e9,
            },
        ),
        (
            "nvidia-smi",
            HGX,
            {"devices_per_node": 8, "has_direct_links": True, "nics_per_node": 8},
        ),
        (
            "nvidia-smi",
            BRIDGES,
            {"devices_per_node": 4, "has_direct_links": True, "scale_up_domain_devices": 2},
        ),
        (
            "nvidia-smi",
            PCIE,
            {"devices_per_node": 2, "has_direct_links": False, "nics_per_node": 1},
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 12 else "",
)
def test_what_a_file_says(kind: str, text: str, found: dict[str, object]) -> None:
    assert layout(kind, text) == Layout.model_validate(found)


def test_one_link_more_joins_two_pairs() -> None:
    assert layout("nvidia-smi", BRIDGES.replace("SYS", "NV4", 1)).scale_up_domain_devices is None


def test_pcie_speed_is_transfers_times_lanes() -> None:
    """32 GT/s x 16 lanes / 8 bits x 128/130 = 63.0 GB/s."""
    found = layout("nccl", node("", net("mlx5_0", 200), n_gpus=2))
    assert found.has_direct_links is False
    assert found.scale_up is not None
    assert found.scale_up.bandwidth_bytes_per_s == pytest.approx(63.015e9, rel=1e-4)
    assert (found.nics_per_node, found.nic_bandwidth_bytes_per_s) == (1, 25e9)


def test_nvlink_bridges_in_a_dump() -> None:
    cards = "".join(
        f'<pci busid="0000:{at:02x}:00.0" class="0x030200"><gpu dev="{at}" sm="80">'
        f'<nvlink target="0000:{at ^ 1:02x}:00.0" count="4" tclass="0x030200"/></gpu></pci>'
        for at in range(4)
    )
    found = layout("nccl", f"<system><cpu>{cards}</cpu></system>")
    assert (found.devices_per_node, found.scale_up_domain_devices) == (4, 2)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a", ["a"]),
        ("a[1-3]", ["a1", "a2", "a3"]),
        ("a[08-11],b", ["a08", "a09", "a10", "a11", "b"]),
        ("r[1-2]n[1,3]", ["r1n1", "r1n3", "r2n1", "r2n3"]),
    ],
)
def test_host_lists(text: str, names: list[str]) -> None:
    assert expand(text, where="f") == names


def test_groups_that_pairs_join() -> None:
    assert joined(4, [(0, 1), (2, 3)]) == {2}
    assert joined(3, []) == {1}
    assert joined(3, [(2, 0)]) == {1, 2}


def cluster(tmp_path: Path, short: str, text: str) -> ClusterSpec:
    place = tmp_path / "f"
    place.write_text(text)
    return parse_cluster(f"{short}:{place}")


def test_a_tree_becomes_pods(tmp_path: Path) -> None:
    found = cluster(tmp_path, "h100-sxm@slurm", TREE)
    assert (found.n_nodes, found.devices_per_node) == (32, 8)
    assert found.level_devices == {"scale-up": 8, "scale-out": 128, "pods": 256}
    assert "read from" in next(
        each.source for each in found.fabric.sources if each.field == "nodes_per_pod"
    )


def test_blocks_are_racks_where_the_scale_up_link_spans_nodes(tmp_path: Path) -> None:
    racks = cluster(tmp_path, "gb200-nvl72@slurm", BLOCKS)
    assert racks.level_devices == {"scale-up": 72, "scale-out": 216}
    boxes = cluster(tmp_path, "h100-sxm@slurm", BLOCKS)
    assert boxes.level_devices == {"scale-up": 8, "scale-out": 144, "pods": 432}


def test_a_node_is_repeated(tmp_path: Path) -> None:
    few_nics = node(NVSWITCH, net("mlx5_0", 200) + net("mlx5_1", 200))
    found = cluster(tmp_path, "h100-sxm:64@nccl", few_nics)
    assert (found.n_nodes, found.devices_per_node, found.nics_of_node) == (8, 8, 2)
    assert found.fabric.nic.bandwidth_bytes_per_s == 2 * 25e9 / 8
    alone = cluster(tmp_path, "h100-sxm@nvidia-smi", HGX)
    assert (alone.n_nodes, alone.n_devices) == (1, 8)
    assert alone == parse_cluster("h100-sxm")


def test_a_scenario_names_a_layout_beside_it(tmp_path: Path) -> None:
    (tmp_path / "topology.conf").write_text(TREE)
    for text in (
        "cluster: h100-sxm@slurm:topology.conf",
        "cluster: {device: h100-sxm, layout: slurm:topology.conf}",
        "cluster: {base: h100-sxm, layout: 'slurm:topology.conf', name: mine}",
    ):
        (tmp_path / "a.yaml").write_text(f"model: llama3-8b\n{text}\n")
        assert load_scenario(tmp_path / "a.yaml").cluster.level_devices["pods"] == 256
    found = load_scenario(tmp_path / "a.yaml").cluster
    write_cluster_file(tmp_path / "c.yaml", found)
    assert read_cluster_file(tmp_path / "c.yaml") == found


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("slurm", "", "f: names neither switches nor blocks"),
        ("slurm", "SwitchName=a Nodes\n", "f:1: 'Nodes' is not Name=value"),
        ("slurm", "SwitchName=a Nodes=b[1-\n", "f:1: .* is no list of names"),
        ("slurm", "SwitchName=a Nodes=b[1-999999999]\n", "f:1: more than 1,000,000 nodes"),
        ("slurm", "SwitchName=a Nodes=b[1-999]c[1-999]d[1-9]\n", "more than 1,000,000 nodes"),
        ("slurm", "SwitchName=a Switches=b\n", "f:1: switch 'b' is not described"),
        ("slurm", "SwitchName=a Nodes=x\nSwitchName=b Nodes=y\n", "no switch joins a and b"),
        ("slurm", "BlockName=a\n", "f:1: a block without Nodes="),
        ("nccl", "hello", "f:1: not valid XML"),
        ("nccl", "<system/>", "f: names no device"),
        ("nccl", "<a>" * 50, "f: nested deeper than 40 levels"),
        ("nccl", '<!DOCTYPE x [<!ENTITY a "b">]><system>&a;</system>', "a document type"),
        ("nccl", node("", net("a", 100)).replace('"100000"', '"fast"'), "'fast' is not a whole"),
        ("nccl", "<system>" + "<gpu/>" * 1025 + "</system>", "more than 1024 devices"),
        ("nvidia-smi", "No devices were found\n", "f: no matrix of devices"),
        ("nvidia-smi", "\tGPU0\tGPU1\tCPU Affinity\nGPU0\t X \n", "GPU0 to GPU1: 'nothing' is no"),
        ("nvidia-smi", HGX.replace("NV18", "warp", 1), "GPU0 to GPU1: 'warp' is no kind of link"),
    ],
)
def test_mistakes_are_named(kind: str, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        layout(kind, text)


@pytest.mark.parametrize(
    ("short", "text", "message"),
    [
        ("h100-sxm@nvidia-smi", PCIE, "no NVLink joins the devices, and h100-sxm-80gb has it"),
        ("h100-sxm@slrm", TREE, "unknown layout 'slrm'; did you mean slurm"),
        ("h100-sxm:12@nccl", DGX, "devices=12 is not nodes x devices per node"),
        ("h100-sxm@nvidia-smi", HGX.replace("GPU0", "\x1b[2J", 1), "the control character U"),
    ],
)
def test_what_does_not_belong_together(short: str, text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        cluster(tmp_path, short, text)


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_a_layout_or_an_input_error(tmp_path: Path, data: st.DataObject) -> None:
    kind, text = data.draw(
        st.sampled_from([("slurm", TREE), ("slurm", BLOCKS), ("nccl", DGX), ("nvidia-smi", HGX)])
    )
    at = data.draw(st.integers(0, len(text)))
    until = data.draw(st.integers(at, min(len(text), at + 30)))
    changed = text[:at] + data.draw(st.text(max_size=12)) + text[until:]
    place = tmp_path / "f"
    place.write_bytes(changed.encode())
    try:
        found = parse_cluster(f"h100-sxm@{kind}:{place}")
    except InputError:
        return
    assert found.n_devices >= 1
