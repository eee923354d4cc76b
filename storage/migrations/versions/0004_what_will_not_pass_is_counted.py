"""How often a job's step has failed by what does not pass by itself"""

import sqlalchemy as sa
from alembic import op

INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("faults", INTEGER, nullable=False, server_default=sa.text("0")))
