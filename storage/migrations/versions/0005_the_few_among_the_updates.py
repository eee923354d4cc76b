"""Indexes of the few updates that wait or were set aside, among the many that are handled"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    for name, column in (("updates_waiting", "due_at"), ("updates_set_aside", "error")):
        is_there = sa.text(f"{column} IS NOT NULL")
        op.create_index(name, "updates", ["update_id"], sqlite_where=is_there, postgresql_where=is_there)
