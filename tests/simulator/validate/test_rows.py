from pathlib import Path

import pytest

from simulator.spec.errors import InputError
from simulator.validate.rows import RunRow, read_rows

HEADER = "id,model,n_layers,hidden,seq_len,n_devices,device,extra\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "runs.csv"
    path.write_text(text)
    return path


def test_unknown_columns_are_ignored_and_blanks_are_none(tmp_path: Path) -> None:
    (row,) = read_rows(write(tmp_path, HEADER + "a,m,2.0,64,128,8,h100,whatever\n"))
    assert (row.id, row.n_layers, row.heads, row.measured_step_s) == ("a", 2, None, None)


def test_a_cell_that_cannot_be_read_is_the_row_s_problem(tmp_path: Path) -> None:
    (row,) = read_rows(write(tmp_path, HEADER + "a,m,two,64,128,8,h100,\n"))
    assert row.problem == "n_layers='two' cannot be read"


@pytest.mark.parametrize("cell", ["inf", "-1", "1.5", "1e99", "two"])
def test_numbers_that_make_no_sense_are_problems(cell: str) -> None:
    assert RunRow.parse({"n_layers": cell}).problem


@pytest.mark.parametrize("cell", ["", " ", "-", "n/a", "NaN", "unknown"])
def test_blank_cells_come_in_many_spellings(cell: str) -> None:
    assert RunRow.parse({"n_layers": cell, "recompute": cell}) == RunRow()


def test_thousands_and_capitals_are_read(tmp_path: Path) -> None:
    (row,) = read_rows(write(tmp_path, 'Model, N_Devices ,DEVICE,gated_ffn\nm,"16,384",h100,Y\n'))
    assert (row.model, row.n_devices, row.gated_ffn) == ("m", 16384, True)


def test_missing_columns_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no column model, device"):
        read_rows(write(tmp_path, "seq_len,n_devices\n"))


def test_a_missing_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_rows(tmp_path / "nothing.csv")


def test_step_time_follows_from_the_token_rate() -> None:
    row = RunRow(
        seq_len=1000, global_batch_seqs=64, n_devices=8, measured_tokens_per_s_per_device=2000.0
    )
    assert row.step_s == 4.0
