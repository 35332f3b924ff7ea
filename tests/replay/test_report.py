"""The page about the quality of dispatch follows from the days that are given."""

import re
from pathlib import Path

import pytest

from tests.replay.report import WAYS, main


def test_the_page_has_a_line_for_each_day_and_way(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    main(Path(__file__).parent, page)
    text = page.read_text()
    assert text.count("\n## Day ") == 1
    rows = [row.split(" | ") for row in text.splitlines() if row.startswith("| ") and "score" not in row]
    assert [row[0].removeprefix("| ") for row in rows] == [way.name for way in WAYS]
    assert all(row[2] == "60" for row in rows)
    planner = next(float(row[1]) for row in rows if row[0] == "| planner")
    best, longest = (float(number) for number in re.findall(r"At best: score (.+), longest (.+), 0 over", text)[0])
    assert all(best < float(row[1]) and longest <= float(row[4]) for row in rows)
    assert planner < min(float(row[1]) for row in rows[:2]), "better than the simple ways"


def test_a_folder_without_days_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no day"):
        main(tmp_path, tmp_path / "page.md")
