"""The commands, as people and service managers use them: processes, exit statuses, plain sentences, a log to show."""

import asyncio
import json
import os
import shutil
import signal
import sys
import tracemalloc
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO
from urllib.parse import quote

import av
import pytest

from benchmarks.past import fill
from bot.cli import main
from bot.clock import Clock
from bot.sandbox import Akool, BotApi
from s3_servers import BUCKET, s3_environment, s3_store
from scenes import says, video_in
from storage.database import open_database
from world import PHOTO, VOICE, free_port, render_cheaply, tiny_mp4

ROOT = Path(__file__).parent.parent
PATIENCE_SECONDS = 90

Environment = dict[str, str]


@pytest.fixture
async def telegram() -> AsyncIterator[BotApi]:
    telegram = BotApi()
    async with telegram.serving():
        yield telegram


@pytest.fixture
async def akool() -> AsyncIterator[Akool]:
    akool = Akool(renderer=render_cheaply)
    async with akool.serving():
        yield akool


@pytest.fixture
def environment(telegram: BotApi, akool: Akool, tmp_path: Path) -> Environment:
    """What a bot needs to run, and nothing else of this machine's settings."""
    port = free_port()
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return kept | {
        "PYTHONPATH": str(ROOT),
        "TELEGRAM_BOT_TOKEN": telegram.token,
        "TELEGRAM_API_URL": telegram.root_url,
        "AKOOL_API_KEY": akool.account.client_secret,
        "AKOOL_CLIENT_ID": akool.account.client_id,
        "AKOOL_API_URL": akool.root_url,
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
        "PORT": str(port),
        "DATA_DIR": str(tmp_path / "data"),
        "ALLOWED_USERS": "*",
        "APP_SECRET": "the-secret-of-the-app",
        "METRICS_TOKEN": "the-token-of-prometheus",
        "LOG_LEVEL": "DEBUG",
    }


async def start(
    environment: Mapping[str, str], folder: Path, *arguments: str, output: int | IO[bytes] = PIPE
) -> Process:
    """Start a command in a process of its own, in a folder without a `.env`."""
    command = (sys.executable, "-m", "bot", *arguments)
    return await asyncio.create_subprocess_exec(*command, env=environment, cwd=folder, stdout=output, stderr=STDOUT)


async def ended(process: Process) -> str:
    """Wait for its end; returns what it wrote to us."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        output, _ = await process.communicate()
    return (output or b"").decode()


@asynccontextmanager
async def running(environment: Mapping[str, str], folder: Path, telegram: BotApi) -> AsyncIterator[Process]:
    """The service, from its first poll on, with its log in a file; killed at the end of the block if it still runs."""
    with (folder / "log").open("wb") as log:
        process = await start(environment, folder, "run", output=log)
    try:
        await telegram.wait_for_call("getUpdates", timeout_seconds=PATIENCE_SECONDS)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def use(environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let commands that run in this process find these settings."""
    monkeypatch.chdir(folder)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


async def run_here(*arguments: str) -> int:
    """Run a command in this process, beside our own loop."""
    return await asyncio.to_thread(main, arguments)


async def test_the_whole_job_by_processes_and_s3_leaves_no_secret_in_the_log(
    *,
    telegram: BotApi,
    akool: Akool,
    environment: Environment,
    weed_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    environment |= {"MEDIA_STORE": f"s3://{BUCKET}/cli"}
    for_boto3 = s3_environment(weed_url)
    (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in for_boto3.items()))
    # What `.env` brings into this process's environment is to be gone at the end.
    use(environment | dict.fromkeys(for_boto3, ""), monkeypatch, tmp_path)
    ada = telegram.private_chat()
    telegram.fail("sendVideo", 500)  # what goes wrong is logged most
    telegram.drop("getUpdates", before=True)
    async with running(environment, tmp_path, telegram) as process:
        await ada.send_photo(PHOTO)
        voice = await ada.send_voice(VOICE)
        video = await video_in(ada)
        assert video.reply_to_id == voice.id
        assert len(akool.creates) == 1

        second = await start(environment, tmp_path, "run")
        assert "another process holds" in await ended(second)
        assert second.returncode == 2
        assert await run_here("jobs", "--json") == 0
        assert await run_here("backup", "copy.sqlite3") == 0
        process.terminate()
        await ended(process)

    assert process.returncode == 0
    log = (tmp_path / "log").read_text()
    [job] = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert (job["chat_id"], job["user_id"], job["akool_id"]) == (ada.id, ada.id, akool.videos[0].id)
    async with s3_store(weed_url, temp_folder=tmp_path, prefix="cli") as store, store.open(job["video_key"]) as path:
        assert path.read_bytes() == tiny_mp4()

    create = akool.creates[0].parameters
    assert "X-Amz-Signature=" in create["talking_photo_url"]
    secrets = [
        *(
            value
            for name, value in (environment | for_boto3).items()
            if name.endswith(("_TOKEN", "_KEY", "_SECRET", "CLIENT_ID"))
        ),
        create["webhookUrl"].rpartition("/")[2],
        create["talking_photo_url"].rpartition("=")[2],
        "X-Amz-Signature",
    ]
    assert len(secrets) == 9
    assert "the bot is running" in log
    assert "a video was not delivered" in log
    assert [secret for secret in secrets if secret in log or quote(secret, safe="") in log] == []


async def test_jobs_tells_of_them_beside_the_running_bot_and_after_its_end(
    *,
    telegram: BotApi,
    akool: Akool,
    environment: Environment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The bot is stopped in the middle of a render and of a long poll."""
    use(environment, monkeypatch, tmp_path)
    akool.hold()
    ada, bob = telegram.private_chat(user_id=7), telegram.private_chat(user_id=8)
    async with running(environment, tmp_path, telegram) as process:
        await ada.send_photo(PHOTO)
        await says(ada, "Now send me a voice note")
        await bob.send_photo(PHOTO)
        await bob.send_voice(VOICE)
        await says(bob, "Your video is being made")

        assert await run_here("jobs") == 0
        newest, oldest = capsys.readouterr().out.splitlines()
        assert newest.split()[3:] == ["rendering", "chat", "8"]
        assert oldest.split()[3:] == ["collecting", "chat", "7"]
        assert await run_here("jobs", "--state", "rendering") == 0
        assert capsys.readouterr().out.splitlines() == [newest]
        assert await run_here("jobs", "--chat", "7", "--json") == 0
        [job] = map(json.loads, capsys.readouterr().out.splitlines())
        assert (job["state"], job["reason"], job["akool_id"], job["video_key"]) == ("collecting", None, None, None)

        process.send_signal(signal.SIGINT)
        await ended(process)

    assert process.returncode == 0
    assert await run_here("jobs") == 0
    assert capsys.readouterr().out.splitlines() == [newest, oldest]


async def test_jobs_tells_of_ten_thousand_in_little_memory(
    environment: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use(environment, monkeypatch, tmp_path)
    (tmp_path / "data").mkdir()
    async with open_database(f"sqlite:///{tmp_path}/data/bot.sqlite3", now=Clock().now) as database:
        await fill(database, 10_000)
    tracemalloc.start()
    try:
        assert await run_here("jobs") == 0
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [int(line.split()[0]) for line in capsys.readouterr().out.splitlines()] == list(range(10_000, 0, -1))
    assert peak < 10 << 20


async def test_a_signal_ends_a_start_that_waits_for_telegram(environment: Environment, tmp_path: Path) -> None:
    environment["TELEGRAM_API_URL"] = f"http://127.0.0.1:{free_port()}"
    process = await start(environment, tmp_path, "run")
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE_SECONDS):
        while b"trying again" not in await process.stdout.readline():
            pass
    process.terminate()
    await ended(process)

    assert process.returncode == 0


@pytest.mark.parametrize(
    ("trouble", "sentence"),
    [
        ({"TELEGRAM_BOT_TOKEN": "1234567:not-this-one"}, "Telegram does not know this TELEGRAM_BOT_TOKEN"),
        ({"AKOOL_API_KEY": "not-this-one"}, "AKOOL does not know the key"),
        ({"PORT": "telegram's"}, "does not let the bot run"),
        ({"MEDIA_STORE": "/dev/null/media"}, "the media folder can't be used"),
        ({"DATABASE_URL": "mysql://me:hush@127.0.0.1/bot"}, "must begin with sqlite:/// or postgresql://"),
    ],
    ids=["token", "key", "port", "store", "database"],
)
async def test_a_start_that_cant_succeed_ends_with_a_sentence(
    trouble: Environment, sentence: str, telegram: BotApi, environment: Environment, tmp_path: Path
) -> None:
    if "PORT" in trouble:
        trouble = {"PORT": telegram.root_url.rpartition(":")[2]}
    process = await start(environment | trouble, tmp_path, "run")
    output = await ended(process)

    assert process.returncode == 2
    assert sentence in output.splitlines()[-1]
    assert "Traceback" not in output
    assert not [value for name, value in trouble.items() if "TOKEN" in name and value in output]
    assert "hush" not in output


def test_all_that_is_wrong_with_the_settings_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With status 2, and without repeating a value."""
    for name in ("TELEGRAM_BOT_TOKEN", "AKOOL_API_KEY", "AKOOL_CLIENT_ID", "PUBLIC_URL", "MEDIA_STORE"):
        monkeypatch.delenv(name, raising=False)
    use({"TELEGRAM_BOT_TOKEN": "hush", "PORT": "hush", "LOG_LEVEL": "hush"}, monkeypatch, tmp_path)

    assert main(["run"]) == 2
    told = capsys.readouterr().err
    for name in ("TELEGRAM_BOT_TOKEN", "AKOOL_API_KEY", "PUBLIC_URL", "PORT", "LOG_LEVEL"):
        assert name in told
    assert "hush" not in told


def test_without_a_database_there_are_no_jobs_to_tell_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"TELEGRAM_BOT_TOKEN": "1:a", "AKOOL_API_KEY": "a", "PUBLIC_URL": "http://127.0.0.1", "DATA_DIR": "none"}
    use(settings, monkeypatch, tmp_path)

    assert main(["jobs"]) == 2
    assert "there is no database at none/bot.sqlite3 yet" in capsys.readouterr().err
    assert main(["backup", "copy"]) == 2
    assert list(tmp_path.iterdir()) == [], "and none is made"


@pytest.mark.parametrize("arguments", [[], ["fly"], ["jobs", "--state", "flying"], ["jobs", "--chat", "ada"]])
def test_what_is_no_command_is_told_with_how_to_use_it(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)

    assert caught.value.code == 2
    assert "usage: python -m bot" in capsys.readouterr().err


async def test_the_demo_ends_with_an_mp4(tmp_path: Path) -> None:
    """With no account, no settings, and nothing but this machine."""
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    process = await start(environment | {"PYTHONPATH": str(ROOT)}, tmp_path, "demo", "--output", "here")
    output = await ended(process)

    assert process.returncode == 0, output
    video = tmp_path / "here" / "talking-photo.mp4"
    assert f"The video: {video}" in output
    assert "AKOOL was asked for a video 1 time(s)" in output
    with av.open(video) as container:
        assert sum(1 for _ in container.decode(video=0)) > 50
        assert container.streams.audio


async def test_where_there_is_no_sandbox_the_demo_says_so(environment: Environment, tmp_path: Path) -> None:
    """As in the image."""
    for package in ("akool", "storage", "bot"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("sandbox", "__pycache__"))
    process = await start(environment | {"PYTHONPATH": str(tmp_path)}, tmp_path, "demo")

    assert "The demo is not in this image" in await ended(process)
    assert process.returncode == 2


def test_a_url_in_a_file_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["copy-database", "@nowhere", "sqlite:///copy.sqlite3"]) == 2
    assert "nowhere can't be read: No such file" in capsys.readouterr().err


def test_the_demo_wants_files_that_are_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--photo", str(tmp_path / "me.jpg")]) == 2
    assert "There is no file" in capsys.readouterr().err
