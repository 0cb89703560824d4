from pathlib import Path

import pytest

from simulator.catalog.outage_file import read_outages
from simulator.spec.errors import InputError
from simulator.spec.reliability import Outage


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_csv_and_json(tmp_path: Path) -> None:
    expected = (
        Outage(node=3, start_s=60, end_s=120),
        Outage(node=5, start_s=86400, end_s=172800, cause="fan"),
    )
    table = "node,start,end,class\n5,1d,2d,fan\n3,60,120,\n"
    assert read_outages(written(tmp_path, "a.csv", table)) == expected
    rows = '[{"node": 5, "start": "1d", "end": "2d", "class": "fan"}, '
    rows += '{"node": 3, "start": 60, "end": 120}]'
    assert read_outages(written(tmp_path, "a.json", rows)) == expected


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "node,start,end\n1,2,\n", r"a\.csv:2: end is missing"),
        ("a.csv", "node,start\n1,2\n", r"a\.csv:1: column 'end' is missing"),
        ("a.csv", "node,start,end\n1,200,100\n", r"a\.csv:2: node 1 is back at 100 s, before"),
        (
            "a.csv",
            "node,start,end\n1,0,100\n2,0,9\n1,50,200\n",
            r"a\.csv:4: outages of node 1 overlap: it fails again at 50 s",
        ),
        ("a.csv", "node,start,end\n-1,0,100\n", r"a\.csv:2: node: "),
        ("a.csv", "node,start,end\n1,soon,100\n", r"a\.csv:2: start: not a duration"),
        ("a.csv", "node,start,end,class\n1,0,1,rm -rf /\n", r"a\.csv:2: class: "),
        ("a.json", "{}", r"a list of objects is expected"),
        ("a.json", "[1]", r"row 1: 1 is not an object"),
        ("a.json", "[" * 100_000, r"this is not JSON"),
        ("a.csv", "\udcff", r"not UTF-8 text"),
    ],
)
def test_bad_files(tmp_path: Path, name: str, text: str, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=message):
        read_outages(path)
