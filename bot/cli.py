"""The commands: `run`, `doctor`, `jobs`, `backup`, `copy-database`, `demo`."""

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import structlog

from bot import doctor, logs
from bot.app import running
from bot.clock import Clock
from bot.config import Settings, SettingsError, export_aws_variables
from bot.resources import Keys
from bot.telegram import TokenRefused
from bot.watching import observed
from storage.copying import back_up, copy_database
from storage.database import open_reader
from storage.engine import DatabaseError
from storage.job import Job, State
from storage.jobs import Jobs
from storage.objects import StoreError

log = structlog.get_logger()

_BAD_SETTINGS = 2
_TROUBLE = 1
_TOLD_BY_MAIN = (TokenRefused, DatabaseError, StoreError, doctor.Unfit)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    options = command_line().parse_args(arguments)
    export_aws_variables()
    try:
        return int(asyncio.run(options.command(options)))
    except SettingsError as error:
        print("The settings need a look:", *error.problems, sep="\n  - ", file=sys.stderr)
        return _BAD_SETTINGS
    except _TOLD_BY_MAIN as error:
        print(error, file=sys.stderr)
        return _BAD_SETTINGS
    except BrokenPipeError:
        return _TROUBLE
    except OSError as error:  # a folder that can't be written, an address that is taken
        where = f" ({error.filename})" if error.filename else ""
        print(f"This machine does not let the bot run: {error.strerror or error}{where}", file=sys.stderr)
        return _BAD_SETTINGS


def command_line() -> argparse.ArgumentParser:
    """What can be asked for, and how."""
    parser = argparse.ArgumentParser(prog="python -m bot", description="A Telegram bot that makes photos talk.")
    commands = parser.add_subparsers(required=True)
    run = commands.add_parser("run", help="the service; stops cleanly on SIGTERM and SIGINT")
    run.set_defaults(command=_run)
    checks = commands.add_parser("doctor", help="checks each setting and each service, and says what to do")
    checks.add_argument("--json", action="store_true", help="an object per line, for machines")
    checks.set_defaults(command=_doctor)
    jobs = commands.add_parser("jobs", help="the jobs, newest first; also while the bot runs")
    jobs.add_argument("--json", action="store_true", help="an object per line, for machines")
    jobs.add_argument("--state", choices=[state.value for state in State], help="only jobs in this state")
    jobs.add_argument("--chat", type=int, metavar="ID", help="only jobs of this chat")
    jobs.set_defaults(command=_jobs)
    backup = commands.add_parser("backup", help="a copy of the SQLite database; also while the bot runs")
    backup.add_argument("file", type=Path, help="a file that is not there yet")
    backup.set_defaults(command=_backup)
    copy = commands.add_parser(
        "copy-database", help="all rows into an empty database, from SQLite to PostgreSQL or back"
    )
    copy.add_argument("source", metavar="FROM", help="a URL as in DATABASE_URL, or @FILE that holds one")
    copy.add_argument("target", metavar="TO", help="the same, of a database without rows")
    copy.set_defaults(command=_copy_database)
    demo = commands.add_parser("demo", help="the main job, on this machine alone, with no account")
    demo.add_argument("--photo", type=Path, help="a picture of your own")
    demo.add_argument("--voice", type=Path, help="a recording of your own")
    demo.add_argument("--output", type=Path, default=Path("demo-output"), help="where the video goes")
    demo.set_defaults(command=_demo)
    return parser


async def _run(_options: argparse.Namespace) -> int:
    settings = Settings()  # type: ignore[call-arg]  # from the environment
    secrets = [*settings.secrets(), *Keys.of(settings).telegram_webhook]
    censor = logs.set_up(style=settings.log_format, level=settings.log_level, secrets=secrets)
    with observed(settings, censor):
        service = asyncio.create_task(_serve(settings), name="service")
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, _stop, service)
        try:
            await service
        except asyncio.CancelledError:  # however far the start has come
            return 0
        except (*_TOLD_BY_MAIN, OSError):
            raise
        except Exception:
            log.exception("the bot ends by a fault of its own")
            return _TROUBLE
    return 0


def _stop(service: asyncio.Task[None]) -> None:
    if service.cancelling():
        log.warning("asked to stop a second time: what is under way is given up")
    service.cancel()


async def _serve(settings: Settings) -> None:
    clock = Clock()
    await doctor.refuse_the_unfit(settings)
    async with running(settings, clock) as books, doctor.looking_back(settings, clock, books.alarms):
        await asyncio.Event().wait()


async def _doctor(options: argparse.Namespace) -> int:
    is_well = True
    async for finding in doctor.examine(Clock()):
        print(finding.json() if options.json else finding.line(), flush=True)
        is_well &= finding.status is not doctor.Status.PROBLEM
    return 0 if is_well else _TROUBLE


async def _jobs(options: argparse.Namespace) -> int:
    settings = Settings()  # type: ignore[call-arg]
    async with open_reader(settings.database_url.get_secret_value(), now=Clock().now) as database:
        states = [State(options.state)] if options.state else []
        async for page in Jobs(database).pages(states=states, chat_id=options.chat):
            print(*(json.dumps(_facts(job)) if options.json else _line(job) for job in page), sep="\n")
    return 0


async def _backup(options: argparse.Namespace) -> int:
    settings = Settings()  # type: ignore[call-arg]
    await back_up(settings.database_url.get_secret_value(), options.file)
    print(f"The database is copied to {options.file}.")
    return 0


async def _copy_database(options: argparse.Namespace) -> int:
    copied = await copy_database(_url(options.source), _url(options.target), now=Clock().now)
    for table, rows in copied.items():
        print(f"{rows:>9}  {table}")
    print("Every row was copied and compared. Set DATABASE_URL to the new one before the bot starts again.")
    return 0


def _url(given: str) -> str:
    """The URL, or what stands in the file: an argument can be read by everybody on this machine."""
    if not given.startswith("@"):
        return given
    try:
        return Path(given[1:]).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise DatabaseError(f"{given[1:]} can't be read: {error.strerror}") from error


async def _demo(options: argparse.Namespace) -> int:
    try:
        from bot.sandbox.demo import demo  # noqa: PLC0415 - the service must not need the sandbox
    except ModuleNotFoundError as error:
        if error.name != "bot.sandbox":
            raise
        print("The demo is not in this image: run `make demo` in a checkout of the repository.", file=sys.stderr)
        return _BAD_SETTINGS
    return await demo(photo=options.photo, voice=options.voice, output=options.output)


def _facts(job: Job) -> dict[str, object]:
    return {
        "id": job.id,
        "state": job.state,
        "reason": job.reason,
        "chat_id": job.chat_id,
        "user_id": job.user_id,
        "akool_id": job.akool_id,
        "attempts": job.attempts,
        "created_at": job.created_at,
        "updated_at": job.updated_at,
        "video_key": job.video_key,
        "story": job.story,
    }


def _line(job: Job) -> str:
    created = datetime.fromtimestamp(job.created_at / 1000, UTC)
    return f"{job.id:>8}  {created:%Y-%m-%d %H:%M:%S}  {job.state:<10}  chat {job.chat_id}  {job.reason or ''}".rstrip()
