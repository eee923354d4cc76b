"""The audit of what runs in production."""

import json
import subprocess
from typing import Any

import pytest

from tools import audit

SOUND = {"name": "sound", "version": "1", "vulns": []}
SKIPPED = {"name": "strange", "skip_reason": "not found"}
KNOWN = {"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["2"], "description": ""}
BROKEN = {"name": "broken", "version": "1", "vulns": [KNOWN]}


@pytest.mark.parametrize(
    ("output", "status", "words"),
    [
        ([SOUND], 0, "audited: 1 of 1"),
        ([SOUND, BROKEN], 1, "broken 1: PYSEC-1 (fixed in 2)"),
        ([SKIPPED, BROKEN], 1, "not audited: strange"),
        ([SKIPPED], 0, "not audited: nothing of it is known there"),
        ("Traceback: no way there", 0, "not audited: whoever knows"),
        ("", 0, "not audited: whoever knows"),
    ],
)
def test_only_what_is_known_fails(
    output: Any, status: int, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = output if isinstance(output, str) else json.dumps({"dependencies": output, "fixes": []})
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 1, stdout=text))

    assert audit.main("a.lock") == status
    assert words in capsys.readouterr().out


def test_nobody_waits_for_ever(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def hang(*_: object, timeout: float, **__: object) -> None:
        raise subprocess.TimeoutExpired("pip-audit", timeout)

    monkeypatch.setattr(subprocess, "run", hang)
    assert audit.main("a.lock") == 0
    assert "not audited" in capsys.readouterr().out


def test_what_is_accepted_is_accepted_by_any_of_its_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(audit.ACCEPTED, "CVE-1", "we never call it")
    assert not list(audit.vulnerabilities([BROKEN]))
