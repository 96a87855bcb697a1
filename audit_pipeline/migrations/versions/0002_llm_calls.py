"""Calls of a language model: the audit dates, when a reservation expires, every way to end.

The table is made anew instead of altered: nothing has written to it before this version, and a
database made by `create_all_tables` may hold either form of it.

Revision ID: 0002
"""

from collections.abc import Sequence
from decimal import Decimal

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

INSTANT = sa.TIMESTAMP(timezone=True)


def exact(precision: int, scale: int) -> sa.types.TypeEngine[Decimal]:
    """A decimal; SQLite would keep it as a float, so it is text there."""
    return sa.Numeric(precision, scale).with_variant(sa.Text(), "sqlite")


def upgrade() -> None:
    """With the audit dates, the expiry, and what is spent in the indexes."""
    _made_anew(
        added=(
            sa.Column("from_on", sa.Date(), nullable=False),
            sa.Column("to_on", sa.Date(), nullable=False),
            sa.Column("expires_at", INSTANT, nullable=False),
        ),
        statuses="'reserved', 'answered', 'cached', 'refused', 'invalid', 'unavailable', "
        "'unauthorised', 'deadline'",
        indexed=("status", "expires_at", "cost_dollars", "reserved_dollars"),
    )


def downgrade() -> None:
    """As the first version had it; the rows go with their table."""
    _made_anew(
        added=(),
        statuses="'reserved', 'answered', 'invalid', 'refused', 'failed', 'cached'",
        indexed=(),
    )


def _made_anew(added: Sequence[sa.Column[object]], statuses: str, indexed: Sequence[str]) -> None:
    op.drop_table("llm_calls")
    op.create_table(
        "llm_calls",
        sa.Column("call_id", sa.String(36), nullable=False),
        sa.Column("audit_run_id", sa.String(36), nullable=False),
        sa.Column("agent_name", sa.String(100), nullable=False),
        sa.Column("purpose", sa.String(100), nullable=False),
        sa.Column("model", sa.String(100), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("prompt_sha256", sa.String(64), nullable=False),
        sa.Column("tokens_in", sa.BigInteger()),
        sa.Column("tokens_out", sa.BigInteger()),
        sa.Column("reserved_dollars", exact(12, 6), nullable=False),
        sa.Column("cost_dollars", exact(12, 6)),
        sa.Column("started_at", INSTANT, nullable=False),
        sa.Column("duration_ms", sa.BigInteger()),
        sa.Column("answer", sa.Text()),
        sa.Column("error_message", sa.Text()),
        *added,
        sa.PrimaryKeyConstraint("call_id", name=op.f("pk_llm_calls")),
        sa.CheckConstraint(f"status IN ({statuses})", name=op.f("ck_llm_calls_status")),
    )
    op.create_index("idx_llm_calls_prompt", "llm_calls", ["prompt_sha256"])
    op.create_index("idx_llm_calls_run", "llm_calls", ["audit_run_id", *indexed])
    op.create_index("idx_llm_calls_started_at", "llm_calls", ["started_at", *indexed])
