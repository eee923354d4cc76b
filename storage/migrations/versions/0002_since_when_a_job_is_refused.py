"""Since when a job is refused"""

import sqlalchemy as sa
from alembic import op

INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

revision = "0002"
down_revision = "0001"


def upgrade() -> None:

    op.add_column("jobs", sa.Column("refused_at", INTEGER, nullable=True))
