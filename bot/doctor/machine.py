"""The machine: Python, SQLite, codecs, the data folder, room on the disk."""

import asyncio
import importlib
import os
import platform
import shutil
import sqlite3
import sys
from pathlib import Path
from tempfile import NamedTemporaryFile

from bot.config import Settings
from bot.doctor.patient import NotChecked, Patient
from bot.doctor.report import Finding, Status, ok, problem, warning
from bot.resources import make_folder

_OLDEST_PYTHON = (3, 11)
# https://sqlite.org/wal.html, "The WAL-reset bug"
_SOUND_SQLITE = (3, 51, 3)
_MEGABYTE = 1_000_000
_LITTLE_ROOM_BYTES = 2_000 * _MEGABYTE
_TOO_LITTLE_ROOM_BYTES = 200 * _MEGABYTE
_BLOCK_BYTES = 4096

# The libraries behind `bot.media` that are compiled; not each loads on each machine.
_LIBRARIES = ("PIL.Image", "pillow_heif", "dlib", "numpy")


async def python(_patient: Patient) -> list[Finding]:
    version = platform.python_version()
    if sys.version_info < _OLDEST_PYTHON:
        return [problem("python", f"Python is {version}.", "Install Python 3.11 or later.")]
    return [ok("python", f"Python is {version}.")]


async def sqlite(patient: Patient) -> list[Finding]:
    """https://sqlite.org/wal.html: older versions may corrupt a database to which two connections write."""
    version = sqlite3.sqlite_version
    if not patient.settings.uses_sqlite:
        return [ok("sqlite", f"SQLite is {version}, and not used.")]
    if sqlite3.sqlite_version_info >= _SOUND_SQLITE:
        return [ok("sqlite", f"SQLite is {version}.")]
    return [
        warning(
            "sqlite",
            f"SQLite is {version}, which has the WAL-reset bug: two programs that write may corrupt the database.",
            "The bot is safe, since it alone writes: open its database with nothing else that writes or checkpoints,"
            " Litestream included; or have SQLite 3.51.3 or later.",
        )
    ]


async def codecs(_patient: Patient) -> list[Finding]:
    return await asyncio.to_thread(_codecs, _LIBRARIES)


def _codecs(libraries: tuple[str, ...]) -> list[Finding]:
    try:
        from bot.media.codecs import missing_codecs  # noqa: PLC0415 - loads PyAV, so in a thread

        missing = missing_codecs()
        for name in libraries:
            importlib.import_module(name)
    except ImportError as error:
        return [
            problem("codecs", f"The library {error.name} does not load.", "Install what is in requirements.lock anew.")
        ]
    if missing:
        return [
            problem(
                "codecs",
                f"FFmpeg lacks {', '.join(missing)}.",
                "Install PyAV from its wheel, as requirements.lock does.",
            )
        ]
    return [ok("codecs", "PyAV has the codecs for voices and videos; pictures can be read, HEIC too.")]


async def data_dir(patient: Patient) -> list[Finding]:
    folder = patient.settings.data_dir
    if trouble := await asyncio.to_thread(_unwritable, folder):
        return [trouble]
    return [ok("data-dir", f"{folder.resolve()} can be written.")]


def _unwritable(folder: Path) -> Finding | None:
    try:
        make_folder(folder)
        with NamedTemporaryFile(dir=folder, prefix=".doctor-") as file:
            file.write(bytes(_BLOCK_BYTES))  # a full disk has room for empty files all the same
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return problem(
            "data-dir",
            f"DATA_DIR ({folder.resolve()}) can't be written: {error.strerror}.",
            "Give the bot's user the right to write there, make room, or set DATA_DIR to another folder.",
        )
    return None


async def disk(patient: Patient) -> list[Finding]:
    folder = patient.settings.data_dir
    if not folder.is_dir():
        raise NotChecked("DATA_DIR is not there")
    free = shutil.disk_usage(folder).free
    found = f"{free / _MEGABYTE:,.0f} MB are free in DATA_DIR."
    do = "Make room, keep copies for a shorter time (RETENTION_DAYS), or store media in S3 (MEDIA_STORE)."
    if free < _TOO_LITTLE_ROOM_BYTES:
        return [problem("disk", found, do)]
    return [warning("disk", found, do) if free < _LITTLE_ROOM_BYTES else ok("disk", found)]


def hindrances(settings: Settings) -> list[Finding]:
    """The problems here that would make every job fail; cheap enough for every start, in a thread."""
    trouble = _unwritable(settings.data_dir)
    findings = [*([trouble] if trouble else []), *_codecs(())]
    return [finding for finding in findings if finding.status is Status.PROBLEM]
