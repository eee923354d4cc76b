"""The threat model claims nothing that is not there."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")


def test_every_test_that_is_named_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", TEXT))
    code = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "tests").glob("test_*.py"))

    assert len(named) > 50
    assert named <= set(re.findall(r"def (test_\w+)\(", code))


def test_every_file_that_is_named_exists() -> None:
    named = set(re.findall(r"`([\w./-]+\.(?:py|md|yaml|service))`", TEXT))

    assert len(named) > 15
    assert [name for name in named if not (ROOT / name).is_file()] == []


def test_whatever_stands_against_something_is_shown_by_a_test() -> None:
    attempts = TEXT[TEXT.index("## Who can reach what") : TEXT.index("## Changing a secret")]
    rows = [line for line in attempts.splitlines() if line.startswith("| ") and "shown by" not in line]

    assert len(rows) > 30
    assert [row for row in rows if "`test_" not in row.split("|")[3]] == []
