"""The first schema"""

import sqlalchemy as sa
from alembic import op

INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

revision = "0001"
down_revision = None


def upgrade() -> None:

    op.create_table(
        "alarms",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("raised_at", INTEGER, nullable=False),
        sa.Column("told_at", INTEGER, nullable=True),
        sa.Column("over_at", INTEGER, nullable=True),
        sa.Column("due_at", INTEGER, nullable=True),
        sa.PrimaryKeyConstraint("key"),
        sqlite_strict=True,
    )
    op.create_table(
        "breaker",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("since", INTEGER, nullable=False),
        sa.Column("try_at", INTEGER, nullable=False),
        sa.Column("tries", INTEGER, server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("name"),
        sqlite_strict=True,
    )
    op.create_table(
        "calls",
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("job_id", INTEGER, nullable=False),
        sa.Column("created_at", INTEGER, nullable=False),
        sa.Column("akool_id", sa.Text(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("heard", INTEGER, server_default=sa.text("0"), nullable=False),
        sa.Column("closed_at", INTEGER, nullable=True),
        sa.PrimaryKeyConstraint("token"),
        sqlite_strict=True,
    )
    with op.batch_alter_table("calls", schema=None) as batch_op:
        batch_op.create_index(
            "calls_open",
            ["job_id"],
            unique=True,
            sqlite_where=sa.text("closed_at IS NULL"),
            postgresql_where=sa.text("closed_at IS NULL"),
        )

    op.create_table(
        "jobs",
        sa.Column("id", INTEGER, nullable=False),
        sa.Column("chat_id", INTEGER, nullable=False),
        sa.Column("thread_id", INTEGER, server_default=sa.text("0"), nullable=False),
        sa.Column("user_id", INTEGER, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("due_at", INTEGER, nullable=True),
        sa.Column("claim", sa.Text(), nullable=True),
        sa.Column("rung", INTEGER, server_default=sa.text("0"), nullable=False),
        sa.Column("attempts", INTEGER, server_default=sa.text("0"), nullable=False),
        sa.Column("incoming", sa.Text(), server_default="[]", nullable=False),
        sa.Column("photo_message_id", INTEGER, nullable=True),
        sa.Column("photo_key", sa.Text(), nullable=True),
        sa.Column("photo_accepted", INTEGER, server_default=sa.text("0"), nullable=False),
        sa.Column("voice_message_id", INTEGER, nullable=True),
        sa.Column("voice_key", sa.Text(), nullable=True),
        sa.Column("voice_ms", INTEGER, nullable=True),
        sa.Column("akool_id", sa.Text(), nullable=True),
        sa.Column("result_url", sa.Text(), nullable=True),
        sa.Column("paid", INTEGER, server_default=sa.text("0"), nullable=False),
        sa.Column("video_key", sa.Text(), nullable=True),
        sa.Column("video_message_id", INTEGER, nullable=True),
        sa.Column("video_file_id", sa.Text(), nullable=True),
        sa.Column("sending_at", INTEGER, nullable=True),
        sa.Column("status_message_id", INTEGER, nullable=True),
        sa.Column("status_shown", sa.Text(), nullable=True),
        sa.Column("status_shown_at", INTEGER, nullable=True),
        sa.Column("status_at", INTEGER, nullable=True),
        sa.Column("status_claim", sa.Text(), nullable=True),
        sa.Column("status_rung", INTEGER, server_default=sa.text("0"), nullable=False),
        sa.Column("queued_at", INTEGER, nullable=True),
        sa.Column("submitted_at", INTEGER, nullable=True),
        sa.Column("rendered_at", INTEGER, nullable=True),
        sa.Column("created_at", INTEGER, nullable=False),
        sa.Column("updated_at", INTEGER, nullable=False),
        sa.Column("timeline", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
        sqlite_strict=True,
    )
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.create_index(
            "jobs_due",
            ["due_at"],
            unique=False,
            sqlite_where=sa.text("due_at IS NOT NULL"),
            postgresql_where=sa.text("due_at IS NOT NULL"),
        )
        batch_op.create_index("jobs_of_chat", ["chat_id"], unique=False)
        batch_op.create_index("jobs_of_user", ["user_id", "queued_at"], unique=False)
        batch_op.create_index(
            "jobs_photo_key",
            ["photo_key"],
            unique=False,
            sqlite_where=sa.text("photo_key IS NOT NULL"),
            postgresql_where=sa.text("photo_key IS NOT NULL"),
        )
        batch_op.create_index(
            "jobs_status_due",
            ["status_at"],
            unique=False,
            sqlite_where=sa.text("status_at IS NOT NULL"),
            postgresql_where=sa.text("status_at IS NOT NULL"),
        )
        batch_op.create_index(
            "jobs_video_key",
            ["video_key"],
            unique=False,
            sqlite_where=sa.text("video_key IS NOT NULL"),
            postgresql_where=sa.text("video_key IS NOT NULL"),
        )
        batch_op.create_index(
            "jobs_voice_key",
            ["voice_key"],
            unique=False,
            sqlite_where=sa.text("voice_key IS NOT NULL"),
            postgresql_where=sa.text("voice_key IS NOT NULL"),
        )

    op.create_table(
        "notices",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("at", INTEGER, nullable=False),
        sa.PrimaryKeyConstraint("key"),
        sqlite_strict=True,
    )
    op.create_table(
        "updates",
        sa.Column("update_id", INTEGER, autoincrement=False, nullable=False),
        sa.Column("lane", INTEGER, nullable=False),
        sa.Column("raw", sa.Text(), nullable=False),
        sa.Column("received_at", INTEGER, nullable=False),
        sa.Column("due_at", INTEGER, nullable=True),
        sa.Column("claim", sa.Text(), nullable=True),
        sa.Column("attempts", INTEGER, server_default=sa.text("0"), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("update_id"),
        sqlite_strict=True,
    )
    with op.batch_alter_table("updates", schema=None) as batch_op:
        batch_op.create_index(
            "updates_due",
            ["lane", "update_id"],
            unique=False,
            sqlite_where=sa.text("due_at IS NOT NULL"),
            postgresql_where=sa.text("due_at IS NOT NULL"),
        )
