"""Alembic, run from code: brings the tables from the revision that they have to the newest."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.script.revision import ResolutionError
from alembic.util import CommandError
from sqlalchemy import Connection

_MIGRATIONS = Path(__file__).parent / "migrations"


class SchemaTooNew(Exception):
    """No migration leads to the revision that the tables have."""


def configuration(connection: Connection) -> Config:
    """Alembic's settings for migrating on an open connection, within its transaction."""
    config = _configuration()
    config.attributes["connection"] = connection
    return config


def is_known(revision: str) -> bool:
    """Whether a migration made it; a newer program's did where not."""
    return _leads_from(_configuration(), revision)


def upgrade(connection: Connection, current: str | None) -> None:
    """Run the migrations that come after `current`. Raises `SchemaTooNew`."""
    config = configuration(connection)
    if current is not None and not _leads_from(config, current):
        raise SchemaTooNew
    command.upgrade(config, "head")


def _leads_from(config: Config, revision: str) -> bool:
    try:
        ScriptDirectory.from_config(config).get_revision(revision)
    except (CommandError, ResolutionError):
        return False
    return True


def _configuration() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    return config
