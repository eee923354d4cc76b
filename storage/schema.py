"""The tables, one definition for both engines.

Columns are TEXT and INTEGER only (BIGINT on PostgreSQL), so that SQLite can hold them in STRICT tables.
Times are integer milliseconds since the epoch, UTC.
"""

from typing import Any

from sqlalchemy import BigInteger, Column, ColumnElement, Index, Integer, MetaData, Table, Text, text

REVISION = "0005"
"""The migration that brings these tables about; a database that has it needs no other."""

metadata = MetaData()


def _integer() -> BigInteger:
    return BigInteger().with_variant(Integer(), "sqlite")


def _count(name: str) -> Column[int]:
    return Column(name, _integer(), nullable=False, server_default=text("0"))


def _time(name: str) -> Column[int]:
    return Column(name, _integer())


def _partial_index(name: str, *columns: Column[Any], where: ColumnElement[bool], unique: bool = False) -> None:
    """An index of the few rows that matter, among many that don't; on both engines."""
    Index(name, *columns, unique=unique, sqlite_where=where, postgresql_where=where)


jobs = Table(
    "jobs",
    metadata,
    Column("id", _integer(), primary_key=True),
    Column("chat_id", _integer(), nullable=False),
    _count("thread_id"),
    Column("user_id", _integer(), nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    # Who works on it, and when somebody must next.
    _time("due_at"),
    Column("claim", Text),
    _count("rung"),
    _count("attempts"),
    # The two halves. `incoming` is JSON: messages that are not prepared yet.
    Column("incoming", Text, nullable=False, server_default="[]"),
    Column("photo_message_id", _integer()),
    Column("photo_key", Text),
    _count("photo_accepted"),
    Column("voice_message_id", _integer()),
    Column("voice_key", Text),
    Column("voice_ms", _integer()),
    # AKOOL's part.
    Column("akool_id", Text),
    Column("result_url", Text),
    _count("paid"),
    # The video, and its way into the chat.
    Column("video_key", Text),
    Column("video_message_id", _integer()),
    Column("video_file_id", Text),
    _time("sending_at"),
    # The status message, kept true by a loop of its own.
    Column("status_message_id", _integer()),
    Column("status_shown", Text),
    _time("status_shown_at"),
    _time("status_at"),
    Column("status_claim", Text),
    _count("status_rung"),
    # The story.
    _time("queued_at"),
    _time("submitted_at"),
    _time("rendered_at"),
    Column("created_at", _integer(), nullable=False),
    Column("updated_at", _integer(), nullable=False),
    Column("timeline", Text, nullable=False),
    _time("refused_at"),  # since when AKOOL has taken no create call of this job
    # Whoever asked for it: their language, the form of video that they like, and the message that they asked in.
    Column("language", Text),
    _count("is_round"),
    Column("album", Text),  # the `media_group_id` of a half
    Column("asked_message_id", _integer()),
    _count("faults"),  # how often its step has failed by what does not pass by itself, in the state that it is in
    sqlite_strict=True,
    sqlite_autoincrement=True,  # a button under an old message must never mean a new job
)
_partial_index("jobs_due", jobs.c.due_at, where=jobs.c.due_at.isnot(None))
_partial_index("jobs_status_due", jobs.c.status_at, where=jobs.c.status_at.isnot(None))
Index("jobs_of_user", jobs.c.user_id, jobs.c.queued_at)
Index("jobs_of_chat", jobs.c.chat_id)
for _key in (jobs.c.photo_key, jobs.c.voice_key, jobs.c.video_key):
    _partial_index(f"jobs_{_key.name}", _key, where=_key.isnot(None))

calls = Table(
    "calls",
    metadata,
    Column("token", Text, primary_key=True),
    Column("job_id", _integer(), nullable=False),
    Column("created_at", _integer(), nullable=False),
    Column("akool_id", Text),
    Column("outcome", Text),
    _count("heard"),
    _time("closed_at"),
    sqlite_strict=True,
)
Index("calls_created", calls.c.created_at)
# The guard against paying twice that no code can forget: one open call per job.
_partial_index("calls_open", calls.c.job_id, where=calls.c.closed_at.is_(None), unique=True)

updates = Table(
    "updates",
    metadata,
    Column("update_id", _integer(), primary_key=True, autoincrement=False),
    Column("lane", _integer(), nullable=False),
    Column("raw", Text, nullable=False),
    Column("received_at", _integer(), nullable=False),
    _time("due_at"),
    Column("claim", Text),
    _count("attempts"),
    Column("error", Text),
    sqlite_strict=True,
)
_partial_index("updates_due", updates.c.lane, updates.c.update_id, where=updates.c.due_at.isnot(None))
# Those that wait and those that were set aside are few among the handled ones.
_partial_index("updates_waiting", updates.c.update_id, where=updates.c.due_at.isnot(None))
_partial_index("updates_set_aside", updates.c.update_id, where=updates.c.error.isnot(None))

breaker = Table(
    "breaker",
    metadata,
    Column("name", Text, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("since", _integer(), nullable=False),
    Column("try_at", _integer(), nullable=False),
    _count("tries"),
    sqlite_strict=True,
)

alarms = Table(
    "alarms",
    metadata,
    Column("key", Text, primary_key=True),
    Column("text", Text, nullable=False),
    Column("raised_at", _integer(), nullable=False),
    _time("told_at"),
    _time("over_at"),
    _time("due_at"),
    sqlite_strict=True,
)

notices = Table(
    "notices",
    metadata,
    Column("key", Text, primary_key=True),
    Column("at", _integer(), nullable=False),
    sqlite_strict=True,
)

# What Telegram calls a peer: a person, or a chat. A row is there only where something differs from the settings.
peers = Table(
    "peers",
    metadata,
    Column("id", _integer(), primary_key=True, autoincrement=False),
    Column("access", Text),
    Column("daily_limit", _integer()),
    Column("language", Text),
    _count("is_round"),
    _count("keeps_chatter"),
    sqlite_strict=True,
)
