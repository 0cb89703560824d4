"""The page one can mail: complete, closed, and safe against what strangers write into it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from armillary.cli import main
from armillary.report import Report, write_report
from armillary.report.figures import MEMORY_COLOURS, STEP_COLOURS
from armillary.report.page import render
from runtime.compare import LostTime, compare
from simulator.catalog.plan_json import write_plan_file
from simulator.spec.plan_file import PlanFile
from simulator.spec.prediction import MemoryBreakdown, StepBreakdown
from tests.runtime.test_compare import leave_run, steps


@pytest.fixture
def page(example_plan_file: PlanFile) -> str:
    return render(Report.of(example_plan_file))


def test_the_numbers_are_there(page: str, example_plan_file: PlanFile) -> None:
    for text in (
        example_plan_file.plan.label(),
        "mixtral-8x7b on 64 x h100-sxm-80gb",
        "datasheet numbers, NOT calibrated",
        "Ranked plans",
        "Memory per stage",
        "Time line of one step",
        "Memory over one step",
        "Assumed",
        "Not modelled",
    ):
        assert text in page
    assert page.count("<svg") == 4


def test_nothing_comes_from_elsewhere(page: str) -> None:
    outside = [
        address
        for address in re.findall(r"(?:src|href|url)\s*[=(]\s*[\"']?([^\"')\s>]+)", page)
        if not address.startswith("#")
    ]
    assert outside == []
    assert "default-src 'none'" in page


def test_its_data_are_the_plan_file(page: str, example_plan_file: PlanFile) -> None:
    found = re.search(r'id="armillary-data">(.*?)</script>', page, flags=re.DOTALL)
    assert found is not None
    data = json.loads(found[1])
    assert data["plan_file"] == example_plan_file.model_dump(mode="json")


def test_hostile_text_stays_text(example_plan_file: PlanFile) -> None:
    hostile = "</script><img src=x onerror=alert(1)>"
    ranked = example_plan_file.alternatives[0].model_copy(update={"loses_to": hostile})
    page = render(Report.of(example_plan_file.model_copy(update={"alternatives": (ranked,)})))
    assert hostile not in page
    assert "<img" not in page
    assert "&lt;img" in page


def test_it_is_written_whole(tmp_path: Path, example_plan_file: PlanFile) -> None:
    path = tmp_path / "r.html"
    write_report(path, Report.of(example_plan_file))
    text = path.read_text()
    assert text.startswith("<!doctype html>")
    assert text.rstrip().endswith("</html>")
    assert [file.name for file in tmp_path.iterdir()] == ["r.html"]


def test_simulate_writes_it(tmp_path: Path, example_plan_file: PlanFile) -> None:
    plan, page = tmp_path / "plan.json", tmp_path / "page.html"
    write_plan_file(plan, example_plan_file)
    with pytest.raises(SystemExit) as left:
        main(["simulate", str(plan), "--report", str(page)])
    assert left.value.code == 0
    text = page.read_text()
    assert "Not modelled" in text
    assert "simulated campaigns" in text
    assert "One simulated campaign" in text
    assert text.count("<svg") == 5


def test_every_part_has_a_colour() -> None:
    assert [name for name, _ in StepBreakdown().parts()] == list(STEP_COLOURS)
    assert [name for name, _ in MemoryBreakdown().parts()] == list(MEMORY_COLOURS)


def test_lost_time_of_a_run_differs_by_points(tmp_path: Path, example_plan_file: PlanFile) -> None:
    leave_run(tmp_path, example_plan_file, steps())
    lost = LostTime(name="lost_work", predicted=0.1, measured=0.2)
    comparison = compare(tmp_path).model_copy(update={"losses": (lost,)})
    page = render(Report(plan_file=example_plan_file, comparison=comparison))
    assert "lost: lost work" in page
    assert "-10.0 points" in page
