"""`armillary calibrate`: what it refuses and what it prints; the tutorial's test runs it whole."""

from pathlib import Path

import pytest

from armillary.cli import main
from armillary.screens.calibrate import calibrate_screen
from simulator.catalog.cluster import parse_cluster, read_cluster_file, write_cluster_file
from simulator.spec.base import Precision
from simulator.spec.cluster import (
    Calibration,
    CollectiveFit,
    ExchangeFit,
    WorkFit,
)
from simulator.spec.kernel_table import GemmPoint


@pytest.mark.parametrize(
    ("ranks", "message"),
    [("1,two", "not a list of numbers"), ("0,2", "cannot measure 0"), ("1,999", "to 999 ranks")],
)
def test_impossible_ranks_are_refused(
    ranks: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["calibrate", "--ranks", ranks, "-o", str(tmp_path / "m.yaml")])
    assert left.value.code == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert "--ranks" in printed.err
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(*_: object, **__: object) -> None:
        raise AssertionError("measured before the input was checked")

    monkeypatch.setattr("runtime.calibrate.cluster.run_ranks", measured)


@pytest.mark.usefixtures("nothing_is_measured")
@pytest.mark.parametrize("name", ["my machine", "-o", "a" * 64, "x\n"])
def test_a_name_that_is_none_is_refused_at_once(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["calibrate", f"--name={name}", "-o", str(tmp_path / "m.yaml")])
    assert left.value.code == 2
    assert "is not a name; take letters" in capsys.readouterr().err


@pytest.mark.usefixtures("nothing_is_measured")
@pytest.mark.parametrize(
    ("output", "reason"), [("file/m.yaml", "is no folder"), ("folder", "is a folder")]
)
def test_a_place_that_cannot_be_written_is_refused_at_once(
    output: str, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(SystemExit) as left:
        main(["calibrate", "-o", str(tmp_path / output)])
    assert left.value.code == 2
    assert reason in capsys.readouterr().err


CALIBRATION = Calibration(
    date="2026-11-25",
    tool_version="torch 2.13.0",
    gemms=(GemmPoint(m=64, n=64, k=64, precision=Precision.FP32, time_s=1e-5, backward_s=2e-5),),
    collectives=(
        CollectiveFit(
            operation="all-reduce",
            n_ranks=2,
            n_busy_ranks=2,
            alpha_s=5e-4,
            bandwidth_bytes_per_s=1.25e9,
            relative_error=0.12,
        ),
    ),
    work=(
        WorkFit(
            layer_s=1e-3,
            layer_value_s=1e-9,
            weight_s=1e-9,
            head_s=1e-4,
            logit_s=1e-8,
            update_s=1e-3,
            parameter_s=1e-9,
        ),
    ),
    exchanges=(
        ExchangeFit(exchange="tensor", n_ranks=2, n_busy_ranks=2, fixed_s=4e-3, byte_s=1e-9),
    ),
    shared_slowdown=(1.0, 1.05),
    memory_bandwidth_bytes_per_s=4e10,
    process_memory_bytes=3.2e8,
    start_s=9.5,
)


def test_a_measured_cluster_reads_back_equal(tmp_path: Path) -> None:
    cluster = parse_cluster("cpu:2").model_copy(update={"calibration": CALIBRATION})
    write_cluster_file(tmp_path / "m.yaml", cluster, comment="measured\nhere")
    assert (tmp_path / "m.yaml").read_text().startswith("# measured\n# here\n")
    assert read_cluster_file(tmp_path / "m.yaml") == cluster
    assert parse_cluster(str(tmp_path / "m.yaml")) == cluster


def test_the_screen_has_every_number_with_its_unit() -> None:
    cluster = parse_cluster("cpu:2").model_copy(update={"calibration": CALIBRATION})
    screen = calibrate_screen(cluster, Path("m.yaml"))
    for text in ("torch 2.13.0", "GFLOP/s", "40 GB/s", "305.2 MiB", "9.5 s", "1.05 (2)"):
        assert text in screen
    assert "500 us + bytes /  1.25 GB/s  (fit within 12 %)" in screen
    assert "armillary plan" in screen
    assert max(len(line) for line in screen.splitlines()) <= 88
