from __future__ import annotations

import re
from pathlib import Path

import pytest

from simulator.catalog import find_device
from simulator.catalog.cluster import read_cluster_file, write_cluster_file
from simulator.catalog.kernel_table import read_kernel_table
from simulator.catalog.scenario_file import load_scenario
from simulator.spec.base import Precision
from simulator.spec.errors import InputError
from simulator.spec.kernel_table import AttentionPoint, GemmPoint, KernelTable

HEADER = "kind,precision,groups,m,n,k,sequences,heads,length,head_dim,causal,time_us"
GEMM = "gemm,bf16,,8192,28672,8192,,,,,,5480"
EXPERTS = "grouped-gemm,fp8,8,1024,4096,7168,,,,,,420"
ATTENTION = "attention-backward,bf16,,,,,1,64,8192,128,no,8000"


def written(folder: Path, *lines: str, header: str = HEADER) -> Path:
    path = folder / "kernels.csv"
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def test_a_table_is_read_in_si_units(tmp_path: Path) -> None:
    path = written(tmp_path, GEMM, "", EXPERTS, ATTENTION)
    table = read_kernel_table(path, find_device("h100-sxm"))
    assert table == KernelTable(
        name="kernels.csv",
        gemms=(
            GemmPoint(m=8192, n=28672, k=8192, precision=Precision.BF16, time_s=5.48e-3),
            GemmPoint(groups=8, m=1024, n=4096, k=7168, precision=Precision.FP8, time_s=4.2e-4),
        ),
        attentions=(
            AttentionPoint(
                sequences=1,
                heads=64,
                length=8192,
                head_dim=128,
                value_dim=128,
                causal=False,
                precision=Precision.BF16,
                backward=True,
                time_s=8e-3,
            ),
        ),
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("gem,bf16,,1,1,1,,,,,,10", "unknown kernel kind 'gem'; did you mean gemm?"),
        ("gemm,bf17,,1,1,1,,,,,,10", "unknown precision 'bf17'; did you mean bf16"),
        ("gemm,nvfp4,,64,64,64,,,,,,10", "precision: h100-sxm-80gb has no nvfp4"),
        ("gemm,bf16,,8192,,8192,,,,,,10", "n: is missing for a gemm"),
        ("gemm,bf16,,8192,-4,8192,,,,,,10", "n: '-4' is not a size; a whole number >= 1"),
        ("gemm,bf16,,8192,1e4,8192,,,,,,10", "n: '1e4' is not a size"),
        ("gemm,bf16,2,8192,8,8192,,,,,,10", "groups: a gemm has none; leave it empty"),
        ("gemm,bf16,,64,64,64,,,,,yes,10", "causal: a gemm has none"),
        ("gemm,bf16,,64,64,64,,,,,,-1", "time_us: '-1' is not a time; a number above 0"),
        ("gemm,bf16,,64,64,64,,,,,,nan", "time_us: 'nan' is not a time"),
        ("gemm,bf16,,64,64,64", "6 cells under 12 columns; leave cells empty"),
        ("attention,bf16,,,,,1,8,512,64,maybe,10", "causal: 'maybe'; write yes or no"),
        # 5.48 ms written as 5.48 us, and the other way around
        (GEMM.replace("5480", "5.48"), "702,243 TFLOPS is more than the 989 of h100-sxm-80gb"),
        (GEMM.replace("5480", "5480000"), r"5.48 s for what h100-sxm-80gb can do in 0.00389 s"),
    ],
)
def test_a_wrong_line_is_named(line: str, message: str, tmp_path: Path) -> None:
    path = written(tmp_path, GEMM, line)
    with pytest.raises(InputError, match=message) as caught:
        read_kernel_table(path, find_device("h100-sxm"))
    assert str(caught.value).startswith(f"{path}:3: ")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("kind,precision,m,n,k,time", "the time with its unit in its name, not time; use one of"),
        ("kind,precision,m,n,k", "not none; use one of time_s, time_ms, time_us, time_ns"),
        ("kind,precision,m,n,k,time_s,time_ms", "not time_s, time_ms"),
        ("kind,precision,m,n,k,time_s,time_hours", "not time_s, time_hours"),
        ("kind,precision,rows,n,k,time_s", "unknown column 'rows'"),
        ("kind,precision,m,m,k,time_s", "a column is there twice"),
        ("kind,m,n,k,time_s", "column precision is missing"),
    ],
)
def test_a_wrong_header_is_named(header: str, message: str, tmp_path: Path) -> None:
    path = written(tmp_path, header=header)
    with pytest.raises(InputError, match=message) as caught:
        read_kernel_table(path, find_device("h100-sxm"))
    assert str(caught.value).startswith(f"{path}:1: ")


def test_all_mistakes_are_shown_at_once(tmp_path: Path) -> None:
    path = written(tmp_path, "gem,bf16,,1,1,1,,,,,,10", GEMM, "gemm,bf17,,1,1,1,,,,,,10")
    with pytest.raises(InputError, match=r"2 mistakes(.|\n)*:2: (.|\n)*:4: "):
        read_kernel_table(path, find_device("h100-sxm"))


def test_an_empty_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no kernel"):
        read_kernel_table(written(tmp_path), find_device("h100-sxm"))


def test_a_scenario_names_it_relative_to_itself(tmp_path: Path) -> None:
    written(tmp_path, GEMM)
    scenario = tmp_path / "question.yaml"
    scenario.write_text("model: llama3-8b\ncluster: {base: h100-sxm:8, kernels: kernels.csv}\n")
    kernels = load_scenario(scenario).cluster.kernels
    assert kernels is not None
    assert kernels.gemms[0].m == 8192


def test_a_cluster_file_keeps_what_it_was_given(tmp_path: Path) -> None:
    written(tmp_path, GEMM, ATTENTION)
    short = tmp_path / "short.yaml"
    short.write_text("device: h100-sxm\nnodes: 2\nkernels: kernels.csv\n")
    cluster = read_cluster_file(short)
    whole = tmp_path / "whole.yaml"
    write_cluster_file(whole, cluster)
    assert read_cluster_file(whole) == cluster
    text = whole.read_text()
    named = text[: text.index("\nkernels:")] + "\nkernels: kernels.csv\n"
    (tmp_path / "named.yaml").write_text(named)
    assert read_cluster_file(tmp_path / "named.yaml") == cluster


def test_the_example_of_the_how_to_is_a_table(tmp_path: Path) -> None:
    page = Path("docs/how-to/measure-kernels.md").read_text()
    (example,) = re.findall(r"```csv\n(.*?)```", page, flags=re.DOTALL)
    header, *lines = example.splitlines()
    table = read_kernel_table(written(tmp_path, *lines, header=header), find_device("h100-sxm"))
    assert len(table.gemms) + len(table.attentions) == len(lines)
