"""What the documents name is there: commands, settings, and a section for every alert."""

import re
from pathlib import Path

import pytest

from bot.cli import command_line
from bot.config import Settings

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("deploy/**/*.md")])

NAMES = {name.upper() for name in Settings.model_fields}
# Not the bot's own.
OTHERS = re.compile(r"AWS_|NAME_FILE|POSTGRES_|S3_|COMPOSE_|OTEL_|SENTRY_|RAILWAY_|PYTHON|TELEGRAM_LOCAL$")


def test_every_command_in_the_documents_is_there() -> None:
    [commands] = re.findall(r"^  \{([a-z,-]+)\}", command_line().format_help(), re.MULTILINE)
    named = {
        (command, document.name)
        for document in DOCUMENTS
        for command in re.findall(r"python -m bot ([a-z][a-z-]*)", document.read_text(encoding="utf-8"))
    }
    assert len(named) > 5
    assert {name for name in named if name[0] not in commands.split(",")} == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_setting_in_a_document_is_there(document: Path) -> None:
    named = re.findall(r"`([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)[`=]", document.read_text(encoding="utf-8"))
    assert [name for name in named if name.removesuffix("_FILE") not in NAMES and not OTHERS.match(name)] == []


def test_every_setting_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for name in NAMES if f"`{name}`" not in readme] == []


def test_every_alert_has_its_section() -> None:
    """The alerts name it as their runbook."""
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    sections = {heading.lower().replace(" ", "-") for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}
    alerts = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("deploy/prometheus/*.yml"))
    assert set(re.findall(r"docs/operations\.md#([\w-]+)", alerts)) <= sections
