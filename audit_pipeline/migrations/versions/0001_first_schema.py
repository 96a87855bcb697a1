"""The first schema: the specification's three tables and what stands beside them.

Tables that are there already are taken as they are, so that a database made by
`create_all_tables` can be opened as a store.

Revision ID: 0001
"""

from decimal import Decimal

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

INSTANT = sa.TIMESTAMP(timezone=True)


def exact(precision: int, scale: int) -> sa.types.TypeEngine[Decimal]:
    """A decimal; SQLite would keep it as a float, so it is text there."""
    return sa.Numeric(precision, scale).with_variant(sa.Text(), "sqlite")


def upgrade() -> None:
    """From nothing."""
    _flags()
    _queries()
    _findings()
    _decisions()
    _audit_trail()
    _trail_checkpoints()
    _workflow_state()
    _audit_partitions()
    _rule_versions()
    _llm_calls()
    _users()


def downgrade() -> None:
    """To nothing: the rows go with their tables."""
    for table in (
        "users",
        "llm_calls",
        "rule_versions",
        "audit_partitions",
        "workflow_state",
        "trail_checkpoints",
        "audit_trail",
        "decisions",
        "findings",
        "queries",
        "flags",
    ):
        op.drop_table(table)


def _flags() -> None:
    op.create_table(
        "flags",
        sa.Column("flag_id", sa.String(36), nullable=False),
        sa.Column("transaction_id", sa.String(255), nullable=False),
        sa.Column("audit_run_id", sa.String(36), nullable=False),
        sa.Column("severity_level", sa.String(20)),
        sa.Column("confidence_score", sa.Float()),
        sa.Column("explanation", sa.Text(), nullable=False),
        sa.Column("supporting_evidence_links", sa.Text()),
        sa.Column("reviewed", sa.Boolean(), server_default=sa.text("FALSE")),
        sa.Column("human_decision", sa.String(30)),
        sa.Column("reviewer_id", sa.String(255)),
        sa.Column("review_timestamp", INSTANT),
        sa.Column("reviewer_notes", sa.Text()),
        sa.Column("created_at", INSTANT, server_default=sa.text("CURRENT_TIMESTAMP")),
        sa.Column("updated_at", INSTANT, server_default=sa.text("CURRENT_TIMESTAMP")),
        sa.Column("population", sa.String(255), nullable=False),
        sa.Column("audit_on", sa.Date(), nullable=False),
        sa.Column("severity_score", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(20), nullable=False, server_default=sa.text("'open'")),
        sa.Column("points", sa.Text(), nullable=False),
        sa.Column("first_run_id", sa.String(36), nullable=False),
        sa.PrimaryKeyConstraint("flag_id", name=op.f("pk_flags")),
        sa.CheckConstraint(
            "severity_level IN ('CRITICAL', 'WARNING', 'INFO')",
            name=op.f("ck_flags_severity_level"),
        ),
        sa.CheckConstraint(
            "confidence_score BETWEEN 0 AND 1", name=op.f("ck_flags_confidence_score")
        ),
        sa.CheckConstraint(
            "state IN ('open', 'decided', 'superseded')", name=op.f("ck_flags_state")
        ),
        if_not_exists=True,
    )
    op.create_index("idx_flags_audit_run", "flags", ["audit_run_id"], if_not_exists=True)
    op.create_index(
        "idx_flags_reviewed", "flags", ["reviewed", sa.text("created_at DESC")], if_not_exists=True
    )
    op.create_index(
        "idx_flags_severity",
        "flags",
        ["severity_level", sa.text("created_at DESC")],
        if_not_exists=True,
    )
    op.create_index("idx_flags_txn_id", "flags", ["transaction_id"], if_not_exists=True)
    op.create_index(
        "idx_flags_worklist",
        "flags",
        ["state", "severity_level", sa.text("severity_score DESC"), "audit_on", "transaction_id"],
        if_not_exists=True,
    )


def _queries() -> None:
    op.create_table(
        "queries",
        sa.Column("query_id", sa.String(64), nullable=False),
        sa.Column("rule_id", sa.String(20), nullable=False),
        sa.Column("sql", sa.Text(), nullable=False),
        sa.Column("parameters", sa.Text(), nullable=False),
        sa.Column("snapshot_id", sa.String(255), nullable=False),
        sa.Column("tables", sa.Text(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("query_id", name=op.f("pk_queries")),
        if_not_exists=True,
    )


def _findings() -> None:
    op.create_table(
        "findings",
        sa.Column("population", sa.String(255), nullable=False),
        sa.Column("transaction_id", sa.String(255), nullable=False),
        sa.Column("rule_id", sa.String(20), nullable=False),
        sa.Column("audit_on", sa.Date(), nullable=False),
        sa.Column("flag_id", sa.String(36), nullable=False),
        sa.Column("rule_version", sa.Integer(), nullable=False),
        sa.Column("measured", exact(20, 4), nullable=False),
        sa.Column("threshold", exact(20, 4), nullable=False),
        sa.Column("score", sa.Integer(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("query_id", sa.String(64)),
        sa.PrimaryKeyConstraint(
            "population", "transaction_id", "rule_id", "audit_on", name=op.f("pk_findings")
        ),
        sa.ForeignKeyConstraint(
            ["query_id"],
            ["queries.query_id"],
            name=op.f("fk_findings_query_id"),
            deferrable=True,
            initially="DEFERRED",
        ),
        if_not_exists=True,
    )
    op.create_index(
        "idx_findings_audit_on", "findings", ["audit_on", "population"], if_not_exists=True
    )
    op.create_index("idx_findings_flag", "findings", ["flag_id"], if_not_exists=True)


def _decisions() -> None:
    op.create_table(
        "decisions",
        sa.Column("decision_id", sa.String(64), nullable=False),
        sa.Column("flag_id", sa.String(36), nullable=False),
        sa.Column("verdict", sa.String(30), nullable=False),
        sa.Column("reason", sa.String(30), nullable=False),
        sa.Column("reviewer_id", sa.String(255), nullable=False),
        sa.Column("decided_at", INSTANT, nullable=False),
        sa.Column("notes", sa.Text(), nullable=False),
        sa.Column("recorded_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("decision_id", name=op.f("pk_decisions")),
        sa.ForeignKeyConstraint(["flag_id"], ["flags.flag_id"], name=op.f("fk_decisions_flag_id")),
        sa.CheckConstraint(
            "verdict IN ('approved', 'rejected', 'false_positive', 'needs_more_info')",
            name=op.f("ck_decisions_verdict"),
        ),
        sa.CheckConstraint(
            "reason IN ('detector_wrong', 'policy_allows', 'management_exception', 'corrected')",
            name=op.f("ck_decisions_reason"),
        ),
        if_not_exists=True,
    )
    op.create_index(
        "idx_decisions_flag", "decisions", ["flag_id", "decided_at"], if_not_exists=True
    )


def _audit_trail() -> None:
    op.create_table(
        "audit_trail",
        sa.Column("audit_run_id", sa.String(36), nullable=False),
        sa.Column("log_sequence_number", sa.BigInteger(), nullable=False),
        sa.Column("agent_name", sa.String(100), nullable=False),
        sa.Column("tool_called", sa.String(100), nullable=False),
        sa.Column("timestamp", INSTANT, server_default=sa.text("CURRENT_TIMESTAMP")),
        sa.Column("execution_time_ms", sa.BigInteger()),
        sa.Column("input_data", sa.Text()),
        sa.Column("output_summary", sa.Text()),
        sa.Column("llm_model", sa.String(100)),
        sa.Column("llm_tokens_used", sa.BigInteger()),
        sa.Column("llm_cost_dollars", exact(10, 4)),
        sa.Column("error_message", sa.Text()),
        sa.Column("error_stack_trace", sa.Text()),
        sa.Column("decision_chain", sa.Text()),
        sa.Column("leaf_hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("audit_run_id", "log_sequence_number", name=op.f("pk_audit_trail")),
        if_not_exists=True,
    )
    op.create_index(
        "idx_audit_trail_agent",
        "audit_trail",
        ["agent_name", sa.text("timestamp DESC")],
        if_not_exists=True,
    )
    op.create_index(
        "idx_audit_trail_sequence",
        "audit_trail",
        ["log_sequence_number"],
        unique=True,
        if_not_exists=True,
    )
    op.create_index(
        "idx_audit_trail_timestamp", "audit_trail", [sa.text("timestamp DESC")], if_not_exists=True
    )


def _trail_checkpoints() -> None:
    op.create_table(
        "trail_checkpoints",
        sa.Column("tree_size", sa.BigInteger(), nullable=False),
        sa.Column("root_hash", sa.String(64), nullable=False),
        sa.Column("signature", sa.Text(), nullable=False),
        sa.Column("key_id", sa.String(64), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("tree_size", name=op.f("pk_trail_checkpoints")),
        if_not_exists=True,
    )


def _workflow_state() -> None:
    op.create_table(
        "workflow_state",
        sa.Column("audit_run_id", sa.String(36), nullable=False),
        sa.Column("workflow_status", sa.String(20)),
        sa.Column("current_agent", sa.String(100)),
        sa.Column("completed_agents", sa.Text()),
        sa.Column("pending_agents", sa.Text()),
        sa.Column("intermediate_results", sa.Text()),
        sa.Column("created_at", INSTANT, server_default=sa.text("CURRENT_TIMESTAMP")),
        sa.Column("updated_at", INSTANT, server_default=sa.text("CURRENT_TIMESTAMP")),
        sa.Column("from_on", sa.Date()),
        sa.Column("to_on", sa.Date()),
        sa.Column("population", sa.String(255)),
        sa.PrimaryKeyConstraint("audit_run_id", name=op.f("pk_workflow_state")),
        sa.CheckConstraint(
            "workflow_status IN ('pending', 'in_progress', 'completed', 'failed', 'paused')",
            name=op.f("ck_workflow_state_workflow_status"),
        ),
        if_not_exists=True,
    )
    op.create_index(
        "idx_workflow_status",
        "workflow_state",
        ["workflow_status", sa.text("created_at DESC")],
        if_not_exists=True,
    )


def _audit_partitions() -> None:
    op.create_table(
        "audit_partitions",
        sa.Column("population", sa.String(255), nullable=False),
        sa.Column("audit_on", sa.Date(), nullable=False),
        sa.Column("audit_run_id", sa.String(36), nullable=False),
        sa.Column("transactions", sa.BigInteger(), nullable=False),
        sa.Column("amount", exact(20, 2), nullable=False),
        sa.Column("flagged", sa.BigInteger(), nullable=False),
        sa.Column("flagged_amount", exact(20, 2), nullable=False),
        sa.Column("cleared", sa.BigInteger(), nullable=False),
        sa.Column("cleared_amount", exact(20, 2), nullable=False),
        sa.Column("quarantined", sa.BigInteger(), nullable=False),
        sa.Column("quarantined_amount", exact(20, 2), nullable=False),
        sa.PrimaryKeyConstraint("population", "audit_on", name=op.f("pk_audit_partitions")),
        if_not_exists=True,
    )
    op.create_index(
        "idx_audit_partitions_run", "audit_partitions", ["audit_run_id"], if_not_exists=True
    )


def _rule_versions() -> None:
    op.create_table(
        "rule_versions",
        sa.Column("rule_id", sa.String(20), nullable=False),
        sa.Column("rule_version", sa.Integer(), nullable=False),
        sa.Column("thresholds", sa.Text(), nullable=False),
        sa.Column("content_sha256", sa.String(64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("effect", sa.Text()),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("proposed_by", sa.String(255), nullable=False),
        sa.Column("proposed_at", INSTANT, nullable=False),
        sa.Column("approved_by", sa.String(255)),
        sa.Column("approved_at", INSTANT),
        sa.PrimaryKeyConstraint("rule_id", "rule_version", name=op.f("pk_rule_versions")),
        sa.CheckConstraint(
            "status IN ('proposed', 'active', 'rejected', 'retired')",
            name=op.f("ck_rule_versions_status"),
        ),
        if_not_exists=True,
    )


def _llm_calls() -> None:
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
        sa.PrimaryKeyConstraint("call_id", name=op.f("pk_llm_calls")),
        sa.CheckConstraint(
            "status IN ('reserved', 'answered', 'invalid', 'refused', 'failed', 'cached')",
            name=op.f("ck_llm_calls_status"),
        ),
        if_not_exists=True,
    )
    op.create_index("idx_llm_calls_prompt", "llm_calls", ["prompt_sha256"], if_not_exists=True)
    op.create_index("idx_llm_calls_run", "llm_calls", ["audit_run_id"], if_not_exists=True)
    op.create_index("idx_llm_calls_started_at", "llm_calls", ["started_at"], if_not_exists=True)


def _users() -> None:
    op.create_table(
        "users",
        sa.Column("user_id", sa.String(255), nullable=False),
        sa.Column("display_name", sa.String(255), nullable=False),
        sa.Column("password_hash", sa.Text()),
        sa.Column("role", sa.String(20), nullable=False),
        sa.Column("disabled", sa.Boolean(), nullable=False, server_default=sa.text("FALSE")),
        sa.Column("token_version", sa.Integer(), nullable=False),
        sa.Column("failed_logins", sa.Integer(), nullable=False),
        sa.Column("locked_until_at", INSTANT),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_users")),
        sa.CheckConstraint(
            "role IN ('viewer', 'reviewer', 'auditor', 'admin')", name=op.f("ck_users_role")
        ),
        if_not_exists=True,
    )
