"""Tables as CSV and Parquet."""

from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest

from armillary import table_file
from armillary.table_file import require_table_file, write_table
from simulator.spec.errors import InputError

FRAME = pd.DataFrame({"cause": ["nic", "gpu, burnt"], "days": [0.1, 3.0]})


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_what_is_written_is_read_back(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    require_table_file(path, where="--table")
    write_table(path, FRAME)
    read = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    pd.testing.assert_frame_equal(read, FRAME)
    first = path.read_bytes()
    write_table(path, FRAME)
    assert path.read_bytes() == first


def test_other_kinds_of_files_are_refused() -> None:
    with pytest.raises(InputError, match=r"t\.xlsx is neither \.csv nor \.parquet"):
        require_table_file(Path("t.xlsx"), where="--table")


def test_parquet_without_pyarrow_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        table_file, "find_spec", lambda name: None if name == "pyarrow" else find_spec(name)
    )
    with pytest.raises(InputError, match="need pyarrow, which is not installed") as caught:
        require_table_file(Path("t.parquet"), where="--table")
    assert "armillary[parquet]" in str(caught.value.fix)
    require_table_file(Path("t.csv"), where="--table")
