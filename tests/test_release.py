"""What `make release` finds wrong with a wheel, an sdist and a changelog."""

from tests.release import changelog_faults, sdist_faults, wheel_faults

TRACKED = [
    "README.md",
    "piccolo_migrations/first.py",
    "server/__init__.py",
    "server/py.typed",
    "static/icons/board.svg",
    "templates/board/board.html",
    "tests/test_docs.py",
]
WHEEL = [
    "callboard-0.1.0.dist-info/METADATA",
    "server/__init__.py",
    "server/_bundle/piccolo_migrations/first.py",
    "server/_bundle/static/icons/board.svg",
    "server/_bundle/templates/board/board.html",
    "server/py.typed",
]


def test_a_whole_wheel_has_no_faults() -> None:
    assert wheel_faults(WHEEL, TRACKED) == []


def test_each_file_that_a_wheel_lacks_is_named() -> None:
    for name in WHEEL[1:]:
        assert wheel_faults([other for other in WHEEL if other != name], TRACKED) == [f"wheel: {name} is missing"]


def test_what_is_not_committed_does_not_belong_in_a_wheel() -> None:
    for name in ("server/notes.txt", "tests/test_docs.py", "server/_bundle/static/old.js"):
        assert wheel_faults([*WHEEL, name], TRACKED) == [f"wheel: {name} does not belong in it"]


def test_an_sdist_holds_what_is_committed_and_nothing_else() -> None:
    whole = [f"callboard-0.1.0/{name}" for name in [*TRACKED, "PKG-INFO"]]
    assert sdist_faults(whole, TRACKED) == []
    assert sdist_faults(whole[1:], TRACKED) == ["sdist: README.md is missing"]
    assert sdist_faults([*whole, "callboard-0.1.0/.env"], TRACKED) == ["sdist: .env does not belong in it"]


def test_a_version_needs_a_dated_section_below_the_unreleased_one() -> None:
    good = "# Changelog\n\n## [Unreleased]\n\n## [0.1.0] - 2026-11-28\n"
    assert changelog_faults(good, "0.1.0") == []
    assert changelog_faults(good, "0.2.0") == ["CHANGELOG.md: no section [0.2.0] with a date"]
    assert changelog_faults(good.replace(" - 2026-11-28", ""), "0.1.0") == [
        "CHANGELOG.md: no section [0.1.0] with a date"
    ]
    unreleased_gone = good.replace("## [Unreleased]\n\n", "")
    assert changelog_faults(unreleased_gone, "0.1.0") == ["CHANGELOG.md: the first section must be [Unreleased]"]
