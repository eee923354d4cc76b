"""The doctor: what it finds on a machine, at Telegram and at AKOOL, and that it takes nothing and tells no secret."""

import ast
import asyncio
import json
import re
import shutil
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from sqlalchemy import text

from bot.cli import main
from bot.clock import Clock
from bot.config import Settings
from bot.doctor import CHECKS, Finding, Status, diagnose, examine
from bot.doctor import machine as checks_of_machine
from bot.doctor.patient import Patient, admitted
from bot.doctor.telegram import _own_webhook
from bot.media.codecs import _missing
from bot.presence import present
from bot.resources import Keys
from bot.sandbox import Akool, BotApi
from checkups import amiss, examined, machine, settings_of
from storage.database import open_database
from world import world

ROOT = Path(__file__).parent.parent
OK, WARNING, PROBLEM = Status.OK, Status.WARNING, Status.PROBLEM


async def test_a_fresh_machine_is_well_before_the_first_start(tmp_path: Path) -> None:
    """The doctor itself serves what is fetched; it leaves no object, no database, and takes no update away."""
    telegram = BotApi()
    await telegram.private_chat().send_text("for the bot")
    async with machine(tmp_path, telegram=telegram) as settings:
        findings = await examined(settings)

    assert amiss(findings) == {}
    assert set(findings) >= {code for code, _ in CHECKS}
    assert "@talking_photo_bot" in findings["telegram.token"].found
    assert "doctor listened there" in findings["listen"].found
    assert not [path for path in (tmp_path / "data" / "media").rglob("*") if path.is_file()]
    assert not (tmp_path / "data" / "bot.sqlite3").exists()
    assert len(telegram.updates.pending) == 1


async def test_it_works_beside_the_running_bot_whose_poll_goes_on(tmp_path: Path) -> None:
    async with world(tmp_path, admin_users="7") as here:
        findings = await examined(here.settings)
        await here.ada.send_text("/start")
        await here.says("I make photos talk")
        offsets = [call.parameters.get("timeout") for call in here.telegram.calls if call.name == "getUpdates"]

    assert amiss(findings) == {}
    assert "a running bot has the database open; its schema is current" in findings["database"].found
    assert "itself polls, or" in findings["telegram.poller"].found
    assert "is taken" in findings["listen"].found
    assert set(offsets) == {50}, "and ended no poll of the bot's"


# --- the command ---


async def test_the_command_tells_machines_and_ends_with_1_for_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    telegram = BotApi()
    async with machine(tmp_path, telegram=telegram, telegram_updates="webhook") as settings:
        for name in settings.model_fields_set - {"database_url", "media_store"}:
            value = getattr(settings, name)
            value = value.get_secret_value() if hasattr(value, "get_secret_value") else value
            monkeypatch.setenv(name.upper(), "7" if isinstance(value, frozenset) else str(value))
        assert await asyncio.to_thread(main, ["doctor"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert all(re.match(r"(ok|warning) +[a-z.-]+ +\S.*\.$", line) for line in lines)
        monkeypatch.setenv("TELEGRAM_BOT_TOKEN", "1:wrong")
        assert await asyncio.to_thread(main, ["doctor", "--json"]) == 1

    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert all(set(finding) == {"status", "code", "found", "do"} for finding in found)
    [trouble] = [finding for finding in found if finding["status"] == "problem"]
    assert (trouble["code"], "@BotFather" in trouble["do"]) == ("telegram.token", True)
    assert [finding["code"] for finding in found if finding["found"].startswith("This was not checked")] == [
        "telegram.privacy",
        "telegram.groups",
        "telegram.admins",
        "telegram.webhook",
        "telegram.poller",
    ]


async def test_settings_whose_packages_are_not_installed_are_problems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Since `run` ends at once for them."""
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "TELEGRAM_BOT_TOKEN": "1:x",
        "AKOOL_API_KEY": "x",
        "PUBLIC_URL": "http://127.0.0.1:1",
        "SENTRY_DSN": "https://key@sentry.example/1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setitem(sys.modules, "sentry_sdk", None)
    async with aclosing(examine(Clock())) as findings:
        first = await anext(findings)

    assert (first.code, first.status) == ("settings", PROBLEM)
    assert "requirements-observability.lock" in first.found


def test_settings_that_cant_be_read_are_problems_one_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TELEGRAM_BOT_TOKEN", "hush")
    monkeypatch.delenv("AKOOL_API_KEY", raising=False)

    assert main(["doctor", "--json"]) == 1
    output = capsys.readouterr().out
    found = [json.loads(line) for line in output.splitlines()]
    assert {(finding["status"], finding["code"]) for finding in found} == {("problem", "settings")}
    assert [finding["found"].split()[0] for finding in found][:2] == ["TELEGRAM_BOT_TOKEN:", "AKOOL_API_KEY"]
    assert "hush" not in output


# --- a check that breaks ---


async def test_a_check_that_hangs_or_breaks_hides_neither_the_others_nor_shows_a_secret(tmp_path: Path) -> None:
    async def hang(_patient: Patient) -> list[Finding]:
        await asyncio.Event().wait()
        return []

    async def break_down(_patient: Patient) -> list[Finding]:
        raise RuntimeError("https://user:secret@host")

    async def tell(patient: Patient) -> list[Finding]:
        token = patient.settings.telegram_bot_token.get_secret_value()
        return [Finding(WARNING, "tell", f"It is {token}.", f"Hide {token}.")]

    checks = (("hang", hang), ("break", break_down), ("tell", tell))
    found = [finding async for finding in diagnose(settings_of(tmp_path), Clock(), checks=checks, limit_seconds=0.01)]

    assert [finding.status for finding in found] == [PROBLEM, PROBLEM, WARNING]
    assert "0.01 seconds" in found[0].found
    assert found[1].found == "The check ended with RuntimeError."
    assert (found[2].found, found[2].do) == ("It is [hidden].", "Hide [hidden].")


# --- the machine ---


def test_what_lacks_for_media_is_named() -> None:
    assert list(_missing(("opus", "klingon"), "r")) == ["klingon (decoder)"]
    assert list(_missing(("libx264", "klingon"), "w")) == ["klingon (encoder)"]
    [trouble] = checks_of_machine._codecs(("no_such_library",))
    assert (trouble.status, "no_such_library" in trouble.found) == (PROBLEM, True)


async def test_a_folder_that_cant_be_written_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    findings = await examined(settings_of(tmp_path, data_dir=str(tmp_path / "file")), "data-dir", "disk")

    assert amiss(findings) == {"data-dir": PROBLEM, "disk": WARNING}
    assert "can't be written" in findings["data-dir"].found
    assert "not checked" in findings["disk"].found


@pytest.mark.parametrize(("free_bytes", "status"), [(100e6, PROBLEM), (1e9, WARNING), (3e9, OK)])
async def test_room_on_the_disk(
    free_bytes: float, status: Status, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage(NamedTuple):
        free: int

    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(int(free_bytes)))
    findings = await examined(settings_of(tmp_path), "data-dir", "disk")

    assert findings["disk"].status is status


async def test_settings_by_which_nobody_is_let_in_or_hears_of_troubles_are_told(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, allowed_users="", admin_users="")

    assert amiss(await examined(settings, "access", "alarms")) == {"access": WARNING, "alarms": WARNING}


async def test_an_app_secret_that_could_be_guessed_is_told(tmp_path: Path) -> None:
    for secret, wrong in (("hunter2", {"app-secret": WARNING}), ("x" * 24, {})):
        settings = settings_of(tmp_path, app_secret=secret)
        assert amiss(await examined(settings, "app-secret")) == wrong


# --- the database ---


@pytest.mark.parametrize(
    ("revision", "status", "words"), [("0001", OK, "is older than this program"), ("9999", PROBLEM, "is newer")]
)
async def test_another_programs_schema_is_told(revision: str, status: Status, words: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'bot.sqlite3'}"
    async with open_database(url, now=Clock().now) as database, database.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = :to"), {"to": revision})
    finding = (await examined(settings_of(tmp_path, database_url=url), "database"))["database"]

    assert (finding.status, words in finding.found) == (status, True)


async def test_what_is_no_database_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "bot.sqlite3").write_bytes(b"no database at all" * 100)

    assert amiss(await examined(settings_of(tmp_path), "database")) == {"database": PROBLEM}


async def test_a_database_that_could_not_be_made_is_a_problem(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, database_url="sqlite:////dev/null/bot.sqlite3")

    assert "/dev/null can't be written" in (await examined(settings, "database"))["database"].found


async def test_postgres_is_asked_and_needs_more_for_several_replicas(own_postgres_url: str, tmp_path: Path) -> None:
    one = settings_of(tmp_path, database_url=own_postgres_url)
    async with open_database(own_postgres_url, now=Clock().now) as database:
        async with present(one, Keys.of(one), database, Clock()):
            beside = await examined(one, "database")
        findings = await examined(one, "sqlite", "database", "replicas")
    assert "a running bot has the database open" in beside["database"].found
    assert findings["sqlite"].status is OK
    assert re.match(r"PostgreSQL \d+[.\d]* answers; its schema is current\.$", findings["database"].found)
    for lack in ("MEDIA_STORE", "APP_SECRET"):
        assert lack in (findings["replicas"].do or "")

    several = settings_of(
        tmp_path,
        database_url="postgresql://me:hush@127.0.0.1:1/bot",
        media_store="s3://bucket",
        telegram_updates="webhook",
        app_secret="the same everywhere",
    )
    assert amiss(await examined(several, "database", "replicas")) == {"database": PROBLEM}


# --- Telegram ---


async def test_a_telegram_that_does_not_answer_well_is_a_problem(tmp_path: Path) -> None:
    telegram = BotApi()
    telegram.fail("getMe", 502)
    async with machine(tmp_path, telegram=telegram) as settings:
        down = await examined(settings, "telegram.token")
        unreached = await examined(
            settings.model_copy(update={"telegram_api_url": "http://127.0.0.1:1"}), "telegram.token"
        )
        telegram.fail("getWebhookInfo", 404)
        unsure = await examined(settings, "telegram.token", "telegram.webhook")

    assert "HTTP 502" in down["telegram.token"].found
    assert "ConnectError" in unreached["telegram.token"].found
    assert amiss(unsure) == {"telegram.webhook": WARNING}


async def test_privacy_mode_and_groups_are_explained(tmp_path: Path) -> None:
    telegram = BotApi(reads_all_group_messages=True)
    telegram.me["can_join_groups"] = False
    codes = ("telegram.token", "telegram.privacy", "telegram.groups")
    async with machine(tmp_path, telegram=telegram) as settings:
        alone = await examined(settings, *codes)
        groups = await examined(settings.model_copy(update={"allowed_chats": frozenset({-100})}), *codes)

    assert "Privacy mode is off" in alone["telegram.privacy"].found
    assert amiss(alone) == {}
    assert amiss(groups) == {"telegram.groups": WARNING}


async def test_an_admin_who_has_never_written_is_named(tmp_path: Path) -> None:
    """And where the server does not know how to tell, nobody is."""
    telegram = BotApi()
    telegram.private_chat(user_id=7)
    codes = ("telegram.token", "telegram.admins")
    async with machine(tmp_path, telegram=telegram, admin_users="7") as settings:
        known = await examined(settings, *codes)
        stranger = await examined(settings.model_copy(update={"admin_users": frozenset({7, 55})}), *codes)
        telegram.fail("getChat", 404, "Not Found: method not found", times=2)
        unsure = await examined(settings, *codes)

    assert amiss(known) == amiss(unsure) == {}
    assert amiss(stranger) == {"telegram.admins": WARNING}
    assert "can't write to 55," in stranger["telegram.admins"].found


async def test_a_webhook_stands_in_the_way_of_polling(tmp_path: Path) -> None:
    telegram = BotApi()
    async with machine(tmp_path, telegram=telegram) as settings:
        await _set_webhook(settings, "https://elsewhere.test/telegram")
        findings = await examined(settings, "telegram.token", "telegram.webhook", "telegram.poller")

    assert amiss(findings) == {"telegram.webhook": WARNING, "telegram.poller": WARNING}
    assert "a webhook is set" in findings["telegram.poller"].found


async def test_the_webhook_leads_to_us_and_what_went_wrong_with_it_is_told(tmp_path: Path) -> None:
    telegram = BotApi()
    codes = ("telegram.token", "telegram.webhook", "telegram.poller")
    async with machine(tmp_path, telegram=telegram, telegram_updates="webhook") as settings:
        unset = await examined(settings, *codes)
        await _set_webhook(settings, "https://elsewhere.test/telegram")
        elsewhere = await examined(settings, *codes)
        await _set_webhook(settings, f"{settings.public_url}/telegram")
        here = await examined(settings, *codes)
        telegram.updates.last_error = (int(time.time()) - 60, "Wrong response from the webhook: 502")
        failing = await examined(settings, *codes)

    assert "not poll" not in str(unset)
    assert amiss(unset) == amiss(here) == {}
    assert "leads elsewhere" in elsewhere["telegram.webhook"].found
    assert "Wrong response from the webhook: 502" in failing["telegram.webhook"].found


async def test_telegram_posts_to_four_ports_only_and_updates_may_pile_up(tmp_path: Path) -> None:
    cloud = {"telegram_updates": "webhook", "telegram_api_url": "https://api.telegram.org"}
    settings = settings_of(tmp_path, public_url="https://bot.test:8081", **cloud)
    async with admitted(settings, Clock(), listen_seconds=0) as patient:
        assert _own_webhook(patient, {}).status is PROBLEM
    settings = settings_of(tmp_path, public_url="https://bot.test", **cloud)
    async with admitted(settings, Clock(), listen_seconds=0) as patient:
        patient.has_webhook = True
        info = {"url": "https://bot.test/telegram", "pending_update_count": 101}
        assert _own_webhook(patient, info).status is WARNING


async def _set_webhook(settings: Settings, url: str) -> None:
    token = settings.telegram_bot_token.get_secret_value()
    async with httpx.AsyncClient(base_url=f"{settings.telegram_api_url}/bot{token}") as http:
        assert (await http.post("/setWebhook", json={"url": url})).is_success


async def test_another_program_that_polls_is_found_out(tmp_path: Path) -> None:
    telegram = BotApi()
    async with machine(tmp_path, telegram=telegram) as settings, _other_poller(settings):
        await telegram.wait_for_call("getUpdates")
        findings = await examined(settings, "database", "telegram.token", "telegram.webhook", "telegram.poller")

    assert amiss(findings) == {"telegram.poller": PROBLEM}


@asynccontextmanager
async def _other_poller(settings: Settings) -> AsyncIterator[None]:
    """Polls, and polls again as soon as its poll is ended."""
    token = settings.telegram_bot_token.get_secret_value()

    async def poll() -> None:
        async with httpx.AsyncClient(base_url=f"{settings.telegram_api_url}/bot{token}") as http:
            while True:
                await http.post("/getUpdates", json={"timeout": 50}, timeout=60)

    task = asyncio.create_task(poll())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


# --- AKOOL ---


@pytest.mark.parametrize(("code", "http_status"), [(1101, 200), (1009, 200), (None, 500)])
async def test_an_akool_that_refuses_is_a_problem(code: int | None, http_status: int, tmp_path: Path) -> None:
    akool = Akool()
    akool.fail("quota", code=code, http_status=http_status)
    async with machine(tmp_path, akool=akool) as settings:
        assert amiss(await examined(settings, "akool.credentials")) == {"akool.credentials": PROBLEM}


@pytest.mark.parametrize(("credit", "status"), [(0, PROBLEM), (99, WARNING), (100, OK)])
async def test_credit_left(credit: int, status: Status, tmp_path: Path) -> None:
    async with machine(tmp_path, akool=Akool(credit=credit)) as settings:
        findings = await examined(settings, "akool.credentials")

    assert findings["akool.credit"].status is status
    assert str(credit) in findings["akool.credit"].found


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"akool_client_id": None}, "Without AKOOL_CLIENT_ID"),
        ({"akool_api_key": "of-the-length-of-no-key"}, "length that no key has"),
        ({"akool_client_id": "somebody else's=="}, "does not know AKOOL_CLIENT_ID"),
    ],
    ids=["no id", "length", "wrong id"],
)
async def test_callbacks_that_could_not_be_opened_are_told(
    settings: dict[str, Any], words: str, tmp_path: Path
) -> None:
    async with machine(tmp_path, **settings) as chosen:
        finding = (await examined(chosen, "akool.callbacks"))["akool.callbacks"]

    assert (finding.status, words in finding.found) == (WARNING, True)


async def test_without_a_public_url_there_are_no_callbacks_to_open(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, public_url=None, media_store="s3://bucket")

    assert amiss(await examined(settings, "akool.callbacks")) == {}


# --- clocks ---


@pytest.mark.parametrize(("ahead_seconds", "status"), [(10, OK), (60, WARNING), (-600, PROBLEM)])
async def test_a_clock_that_is_wrong_is_told_by_others(ahead_seconds: int, status: Status, tmp_path: Path) -> None:
    telegram = BotApi(now=lambda: time.time() + ahead_seconds)
    async with machine(tmp_path, telegram=telegram) as settings:
        finding = (await examined(settings, "telegram.token", "akool.credentials", "clock"))["clock"]

    assert finding.status is status
    if status is not OK:
        assert ("behind" if ahead_seconds > 0 else "ahead") in finding.found


# --- the manual ---


def _codes() -> Iterator[str]:
    """Every code that the doctor's files name."""
    yield from (code for code, _ in CHECKS)
    for path in (ROOT / "bot" / "doctor").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("ok", "warning", "problem"):
                code = node.args[0]
                if isinstance(code, ast.Constant):
                    yield str(code.value)


def test_the_manual_explains_each_code_and_no_other() -> None:
    manual = (ROOT / "docs" / "doctor.md").read_text(encoding="utf-8")
    explained = re.findall(r"^\| `([a-z.-]+)` \|", manual, re.MULTILINE)

    assert sorted(explained) == sorted(set(_codes()))
