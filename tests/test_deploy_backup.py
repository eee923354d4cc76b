"""`deploy/backup.sh`: what a restore needs is there, and what was deleted is not kept."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clocks import TurnableClock
from storage.database import open_database

ROOT = Path(__file__).parent.parent
SETTINGS = "TELEGRAM_BOT_TOKEN=1:a\nAKOOL_API_KEY=key\nPUBLIC_URL=https://bot.example\n"

pytestmark = pytest.mark.skipif(shutil.which("rsync") is None, reason="it works with rsync")


@pytest.fixture
async def checkout(tmp_path: Path) -> Path:
    """What a checkout has in which the bot was set up, and has run."""
    checkout = tmp_path / "talkbot"
    python = checkout / ".venv" / "bin" / "python"
    for folder in (python.parent, checkout / "deploy", checkout / "data" / "media"):
        folder.mkdir(parents=True)
    shutil.copy(ROOT / "deploy" / "backup.sh", checkout / "deploy")
    python.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    (checkout / ".env").write_text(SETTINGS)
    for name in ("media/kept.mp4", "media/deleted.mp4", "app_secret"):
        (checkout / "data" / name).write_text(name)
    async with open_database(f"sqlite:///{checkout}/data/bot.sqlite3", now=TurnableClock().now):
        pass
    return checkout


def back_up(checkout: Path, folder: Path, way: str = "checkout") -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    command = [str(checkout / "deploy" / "backup.sh"), way, folder.name]
    return subprocess.run(command, cwd=folder.parent, env=kept, capture_output=True, text=True, check=False)  # noqa: S603 - our own


def test_it_holds_all_that_a_restore_needs_for_its_owner_alone(checkout: Path, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    done = back_up(checkout, backup)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    [database] = backup.glob("bot-*.sqlite3")
    assert {path.name for path in backup.iterdir()} == {database.name, "media", "app_secret", ".env"}
    assert (backup / ".env").read_text() == SETTINGS
    assert backup.stat().st_mode & 0o777 == 0o700
    assert database.stat().st_mode & 0o777 == 0o600
    assert not (checkout / "data" / "backup.sqlite3").exists()


def test_what_was_deleted_goes_and_databases_are_kept_for_a_week(checkout: Path, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    assert back_up(checkout, backup).returncode == 0
    (checkout / "data" / "media" / "deleted.mp4").unlink()
    for name, days in (("bot-new.sqlite3", 6.9), ("bot-old.sqlite3", 7.1)):
        (backup / name).touch()
        os.utime(backup / name, times=(time.time() - days * 86_400,) * 2)
    (checkout / "data" / "app_secret").unlink()  # as with APP_SECRET
    assert back_up(checkout, backup).returncode == 0

    assert [path.name for path in (backup / "media").iterdir()] == ["kept.mp4"]
    assert (backup / "bot-new.sqlite3").exists()
    assert not (backup / "bot-old.sqlite3").exists()


def test_the_data_are_where_the_settings_say(checkout: Path, tmp_path: Path) -> None:
    (checkout / "data").rename(tmp_path / "elsewhere")
    (checkout / ".env").write_text(f"{SETTINGS}DATA_DIR={tmp_path}/elsewhere\n")
    assert back_up(checkout, tmp_path / "backup").returncode == 0

    assert (tmp_path / "backup" / "media" / "kept.mp4").exists()
    assert not (checkout / "data").exists()


def test_no_copy_is_let_go_where_none_was_made(checkout: Path, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    assert back_up(checkout, backup).returncode == 0
    [database] = backup.glob("bot-*.sqlite3")
    os.utime(database, times=(0, 0))
    (checkout / "data" / "bot.sqlite3").unlink()
    done = back_up(checkout, backup)

    assert done.returncode == 2
    assert "there is no database at" in done.stderr
    assert database.exists()
    assert back_up(checkout, backup, way="boat").returncode == 2
