"""Looking at a database without touching it, beside a process that may have it open."""

import fcntl
import os
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from sqlalchemy import text

from storage.database import revision_of
from storage.engine import DatabaseError, async_url, reading_engine
from storage.replicas import is_anyone_present
from storage.schema import REVISION
from storage.upgrade import is_known


class Schema(Enum):
    ABSENT = auto()
    OLDER = auto()
    CURRENT = auto()
    NEWER = auto()


@dataclass(frozen=True)
class Inspection:
    server: str  # such as "PostgreSQL 17.2"
    schema: Schema
    is_in_use: bool  # by a process of the service


async def inspect_database(url: str) -> Inspection | None:
    """None where an SQLite file is not there yet but can be made.

    Raises `DatabaseError` or one of `DATABASE_ERRORS` where it can't be read or made.
    """
    path = _sqlite_file(url)
    if path is not None and not path.exists():
        _check_room_for(path)
        return None
    async with reading_engine(url) as engine, engine.begin() as connection:
        revision = await connection.run_sync(revision_of)
        question = "SHOW server_version" if path is None else "SELECT sqlite_version()"
        version = str(await connection.scalar(text(question))).split(" ", maxsplit=1)[0]
        is_in_use = await is_anyone_present(connection) if path is None else _is_held(path)
    return Inspection(f"{'PostgreSQL' if path is None else 'SQLite'} {version}", _schema(revision), is_in_use)


def _schema(revision: str | None) -> Schema:
    if revision is None:
        return Schema.ABSENT
    if revision == REVISION:
        return Schema.CURRENT
    return Schema.OLDER if is_known(revision) else Schema.NEWER


def _is_held(path: Path) -> bool:
    """Whether a process has the SQLite file open for writing.

    The lock is shared and given back at once, so it can only get in the way of a start in the same microsecond.
    """
    try:
        with path.with_name(path.name + ".lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # nobody has ever held it
        return False
    return False


def _sqlite_file(url: str) -> Path | None:
    parsed = async_url(url)
    return Path(parsed.database or "") if parsed.get_backend_name() == "sqlite" else None


def _check_room_for(path: Path) -> None:
    nearest = next(folder for folder in path.resolve().parents if folder.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise DatabaseError(f"{nearest} can't be written")
