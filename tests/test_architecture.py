"""The file list is the architecture; here it is kept so."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Within bot/ a file imports only what stands on a lower line.
LAYERS = (
    {"__main__"},
    {"sandbox"},
    {"cli"},
    {"app", "doctor"},
    {"parts"},
    {"presence"},
    {"resources", "exposition", "pulse", "credit"},
    {"handlers", "tracker", "status", "web", "intake", "operator", "profile", "sweeper", "webhook", "doorman"},
    {"buttons"},
    {"asking", "commands", "admins", "groups", "farewell"},
    {"pipeline", "callers", "outlooks"},
    {"setbacks"},
    {"delivery", "halves", "results", "media_route"},
    {"answers"},
    {"telegram", "limiter"},
    {"outcomes"},
    {"metrics", "health", "watchdog", "leases"},
    {"media", "texts", "patience", "insist", "worker", "server", "watching", "notify", "probe", "loops"},
    {"estimates", "logs", "troubles"},
    {"config", "clock", "version"},
    {"values"},
    {"sizes", "addresses", "spellings"},
)


def imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize(("package", "strangers"), [("akool", {"bot", "storage"}), ("storage", {"bot", "akool"})])
def test_the_lower_packages_know_neither_each_other_nor_the_bot(package: str, strangers: set[str]) -> None:
    known = {name.split(".")[0] for file in files(package) for name in imports(file)}

    assert files(package)
    assert not known & strangers


def test_within_the_bot_a_file_imports_only_what_stands_below_it() -> None:
    rank = {name: number for number, names in enumerate(LAYERS) for name in names}
    upward = []
    for file in files("bot"):
        part = file.relative_to(ROOT / "bot").parts[0].removesuffix(".py")
        if part == "__init__":
            continue
        for name in imports(file):
            pieces = name.split(".")
            if pieces[0] != "bot" or pieces[1] == part:
                continue
            is_demo_command = (part, pieces[1]) == ("cli", "sandbox")
            if rank[pieces[1]] <= rank[part] and not is_demo_command:
                upward.append(f"{part} imports {pieces[1]}")

    assert upward == []


@pytest.mark.parametrize("package", ["akool", "storage"])
def test_the_lower_packages_read_no_environment(package: str) -> None:
    readers = [file.name for file in files(package) for name in imports(file) if name in ("os.environ", "os.getenv")]
    texts = "".join(file.read_text(encoding="utf-8") for file in files(package))

    assert readers == []
    assert "environ" not in texts
    assert "getenv" not in texts


def test_no_file_in_the_repository_names_a_package_index() -> None:
    for file in (*ROOT.glob("*.lock"), *(ROOT / name for name in ("pyproject.toml", "Makefile", "Dockerfile"))):
        text = file.read_text(encoding="utf-8")

        assert "pypi" not in text.lower(), file
        assert "index-url =" not in text, file
        assert "--index-url" not in text, file
