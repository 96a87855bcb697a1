"""Attempts at an audit and their steps: who may write, and who is alive.

Revision ID: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

INSTANT = sa.TIMESTAMP(timezone=True)


def upgrade() -> None:
    """With both tables."""
    op.create_table(
        "audit_attempts",
        sa.Column("epoch", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("population", sa.String(255), nullable=False),
        sa.Column("from_on", sa.Date(), nullable=False),
        sa.Column("to_on", sa.Date(), nullable=False),
        sa.Column("audit_run_id", sa.String(36), nullable=False),
        sa.Column("dagster_run_id", sa.String(36), nullable=False),
        sa.Column("worker", sa.String(255)),
        sa.Column("granted_at", INSTANT, nullable=False),
        sa.Column("released_at", INSTANT),
        sa.PrimaryKeyConstraint("epoch", name=op.f("pk_audit_attempts")),
        sa.UniqueConstraint("dagster_run_id", name=op.f("uq_audit_attempts_dagster_run_id")),
        if_not_exists=True,
    )
    op.create_index(
        "idx_audit_attempts_to", "audit_attempts", ["population", "to_on"], if_not_exists=True
    )
    op.create_table(
        "audit_steps",
        sa.Column("dagster_run_id", sa.String(36), nullable=False),
        sa.Column("step_key", sa.String(255), nullable=False),
        sa.Column("holder", sa.String(255), nullable=False),
        sa.Column("began_at", INSTANT, nullable=False),
        sa.Column("beat_at", INSTANT, nullable=False),
        sa.Column("ended_at", INSTANT),
        sa.PrimaryKeyConstraint("dagster_run_id", "step_key", name=op.f("pk_audit_steps")),
        if_not_exists=True,
    )
    op.create_index(
        "idx_audit_steps_ended", "audit_steps", ["ended_at", "beat_at"], if_not_exists=True
    )


def downgrade() -> None:
    """Without them; what was in them is of running audits only."""
    op.drop_table("audit_steps")
    op.drop_table("audit_attempts")
