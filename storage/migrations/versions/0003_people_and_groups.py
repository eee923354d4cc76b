"""What people and groups have chosen, and what a job must know of whoever asked for it"""

import sqlalchemy as sa
from alembic import op

INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("language", sa.Text, nullable=True))
    op.add_column("jobs", sa.Column("is_round", INTEGER, nullable=False, server_default=sa.text("0")))
    op.add_column("jobs", sa.Column("album", sa.Text, nullable=True))
    op.add_column("jobs", sa.Column("asked_message_id", INTEGER, nullable=True))
    op.create_index("calls_created", "calls", ["created_at"])
    op.create_table(
        "peers",
        sa.Column("id", INTEGER, autoincrement=False, nullable=False),
        sa.Column("access", sa.Text),
        sa.Column("daily_limit", INTEGER),
        sa.Column("language", sa.Text),
        sa.Column("is_round", INTEGER, nullable=False, server_default=sa.text("0")),
        sa.Column("keeps_chatter", INTEGER, nullable=False, server_default=sa.text("0")),
        sa.PrimaryKeyConstraint("id"),
        sqlite_strict=True,
    )
