import json
from pathlib import Path

from armillary.screens.validate import validation_markdown, validation_screen
from armillary.validation import ValidationAnswer
from armillary.validation_figure import validation_figure
from simulator.validate import PUBLISHED, Validation
from simulator.validate.judge import judge
from simulator.validate.rows import read_rows


def some_rows() -> Validation:
    """Every fortieth published row, timed, with memory and out of memory."""
    return judge([row for table in PUBLISHED for row in read_rows(table)][::40])


def test_every_row_gets_an_answer_or_a_reason() -> None:
    found = some_rows()
    data = json.loads(ValidationAnswer.of(found).model_dump_json())
    assert len(data["rows"]) == len(found.outcomes)
    for row in data["rows"]:
        assert (row["skipped"] is None) == (row["predicted_step_s"] is not None)
        if row["predicted_step_s"] is not None:
            low, high = row["interval_step_s"]
            assert low < row["predicted_step_s"] < high
    assert set(data["summary"]) >= {"step", "memory", "ranking", "fit", "step_by_source"}


def test_screen_and_page_name_sources_and_reasons() -> None:
    found = some_rows()
    screen, page = validation_screen(found), validation_markdown(found)
    for text in (screen, page):
        assert "llm-foundry" in text
        assert "fits or not" in text
        assert "skipped" in text
    assert "| step time by source |" in page.replace("  ", " ")


def test_screen_says_what_was_inferred_what_is_furthest_off_and_what_was_skipped() -> None:
    found = some_rows()
    screen = validation_screen(found)
    furthest = found.furthest(2)
    errors = [abs((each.step_ratio or 1.0) - 1.0) for each in (*furthest, *found.outcomes)]
    assert errors[0] >= errors[1]
    assert errors[0] == max(errors)
    assert screen.index("largest errors") < screen.index(furthest[0].row.id)
    assert screen.index(furthest[0].row.id) < screen.index(furthest[1].row.id)
    n_inferred = sum("recompute" in each.assumed for each in found.outcomes)
    assert f"inferred by rule where not stated (rows): recompute in {n_inferred}" in screen
    skipped = next(each for each in found.outcomes if each.skipped)
    assert f"({skipped.row.id}" in screen
    sizes = list(found.step_by("size"))
    assert sizes == ["1-8 devices", "9-64 devices", "65-512 devices", "more than 512 devices"]


def test_picture_is_drawn(tmp_path: Path) -> None:
    (tmp_path / "validation.png").write_bytes(validation_figure(some_rows(), "png"))
    assert (tmp_path / "validation.png").stat().st_size > 10_000
