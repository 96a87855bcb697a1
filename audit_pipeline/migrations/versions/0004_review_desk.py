"""The review desk: what a flag is about, four eyes, the work on flags, accounts.

A database made by `create_all_tables` may have all of it: what is there already stays.

Revision ID: 0004
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

INSTANT = sa.TIMESTAMP(timezone=True)
NAME = sa.String(255)
FOUR_EYES = (
    "severity_level <> 'CRITICAL' OR state <> 'decided' OR (reviewer_id IS NOT NULL"
    " AND approver_id IS NOT NULL AND lower(approver_id) <> lower(reviewer_id))"
)
OF_FLAGS = ("vendor", "vendor_id", "cardholder", "amount_cents", "occurred_on", "approver_id")
TABLES = (
    *("saved_views", "login_failures", "refresh_tokens", "sessions"),
    *("comments", "worklist", "withdrawals", "second_reviews"),
)


def upgrade() -> None:
    """With all of it. A critical flag that one person decided waits for a second one."""
    if "approver_id" not in _columns("flags"):
        with op.batch_alter_table("flags", copy_from=_flags()) as flags:
            for column in _added_to_flags():
                flags.add_column(column)
        op.execute(
            "UPDATE flags SET state = 'open', reviewed = FALSE"
            " WHERE severity_level = 'CRITICAL' AND state = 'decided'"
        )
        with op.batch_alter_table("flags", copy_from=_flags(_added_to_flags())) as flags:
            flags.create_check_constraint(op.f("ck_flags_four_eyes"), FOUR_EYES)
    _index_flags()
    _reasons("", "'not_known'")
    of_rules = ["audit_on", "rule_id", "flag_id"]
    op.create_index("idx_findings_rule", "findings", of_rules, if_not_exists=True)
    op.create_index(
        "uq_decisions_reviewer",
        "decisions",
        ["decision_id", "reviewer_id"],
        unique=True,
        if_not_exists=True,
    )
    _decisions()
    _work()
    if "cardholder" not in _columns("users"):
        _change_users(ROLES_0003, ROLES, "auditor", "viewer")
    _sessions()


def downgrade() -> None:
    """Without it; decisions on critical flags stand as their first person made them."""
    for table in TABLES:
        op.drop_table(table)
    _change_users(ROLES, ROLES_0003, "approver", "reviewer")
    op.drop_index("uq_decisions_reviewer", "decisions")
    op.execute("UPDATE decisions SET reason = 'corrected' WHERE reason = 'not_known'")
    _reasons("'not_known'", "")
    op.drop_index("idx_flags_age", "flags")
    op.drop_index("idx_flags_vendor", "flags")
    op.drop_index("idx_flags_overview", "flags")
    op.drop_index("idx_findings_rule", "findings")
    with op.batch_alter_table("flags", copy_from=_flags(_added_to_flags(), FOUR_EYES)) as flags:
        flags.drop_constraint(op.f("ck_flags_four_eyes"), type_="check")
        for name in OF_FLAGS:
            flags.drop_column(name)
    _index_flags(OF_0003)


def _columns(table: str) -> set[str]:
    return {column["name"] for column in sa.inspect(op.get_bind()).get_columns(table)}


def _added_to_flags() -> list[sa.Column[object]]:
    return [
        sa.Column("vendor", NAME),
        sa.Column("vendor_id", NAME),
        sa.Column("cardholder", NAME),
        sa.Column("amount_cents", sa.BigInteger()),
        sa.Column("occurred_on", sa.Date()),
        sa.Column("approver_id", NAME),
    ]


def _flags(added: Sequence[sa.Column[object]] = (), four_eyes: str | None = None) -> sa.Table:
    """As it was; what SQLite's copy of it is made from, which has no ALTER for constraints."""
    more = [] if four_eyes is None else [_check("flags_four_eyes", four_eyes)]
    return sa.Table(
        "flags",
        sa.MetaData(),
        sa.Column("flag_id", sa.String(36), nullable=False),
        sa.Column("transaction_id", NAME, nullable=False),
        sa.Column("audit_run_id", sa.String(36), nullable=False),
        sa.Column("severity_level", sa.String(20)),
        sa.Column("confidence_score", sa.Float()),
        sa.Column("explanation", sa.Text(), nullable=False),
        sa.Column("supporting_evidence_links", sa.Text()),
        sa.Column("reviewed", sa.Boolean(), server_default=sa.text("FALSE")),
        sa.Column("human_decision", sa.String(30)),
        sa.Column("reviewer_id", NAME),
        sa.Column("review_timestamp", INSTANT),
        sa.Column("reviewer_notes", sa.Text()),
        sa.Column("created_at", INSTANT, server_default=sa.text("CURRENT_TIMESTAMP")),
        sa.Column("updated_at", INSTANT, server_default=sa.text("CURRENT_TIMESTAMP")),
        sa.Column("population", NAME, nullable=False),
        sa.Column("audit_on", sa.Date(), nullable=False),
        sa.Column("severity_score", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(20), nullable=False, server_default=sa.text("'open'")),
        sa.Column("points", sa.Text(), nullable=False),
        sa.Column("first_run_id", sa.String(36), nullable=False),
        *added,
        sa.PrimaryKeyConstraint("flag_id", name=op.f("pk_flags")),
        _check("flags_severity_level", "severity_level IN ('CRITICAL', 'WARNING', 'INFO')"),
        _check("flags_confidence_score", "confidence_score BETWEEN 0 AND 1"),
        _check("flags_state", "state IN ('open', 'decided', 'superseded')"),
        *more,
    )


def _check(name: str, text: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(text, name=op.f(f"ck_{name}"))


OF_0003: dict[str, list[str | sa.TextClause]] = {
    "idx_flags_audit_run": ["audit_run_id"],
    "idx_flags_reviewed": ["reviewed", sa.text("created_at DESC")],
    "idx_flags_severity": ["severity_level", sa.text("created_at DESC")],
    "idx_flags_txn_id": ["transaction_id"],
    "idx_flags_worklist": [
        "state",
        "severity_level",
        sa.text("severity_score DESC"),
        "audit_on",
        "transaction_id",
    ],
}
INDEXES = OF_0003 | {
    "idx_flags_age": [
        "state",
        "severity_level",
        "created_at",
        sa.text("severity_score DESC"),
        "flag_id",
    ],
    "idx_flags_vendor": ["vendor", "created_at"],
    "idx_flags_overview": ["state", "severity_level", "audit_on", "vendor", "amount_cents"],
}


def _index_flags(indexes: dict[str, list[str | sa.TextClause]] | None = None) -> None:
    """A copy has none; where the table was altered, those that it had are there."""
    for name, columns in (INDEXES if indexes is None else indexes).items():
        op.create_index(name, "flags", columns, if_not_exists=True)


REASONS = "'detector_wrong', 'policy_allows', 'management_exception', 'corrected'"


def _reasons(before: str, after: str) -> None:
    """Why a decision was taken: with these, beside those that every version has."""
    listed = [", ".join(filter(None, (REASONS, more))) for more in (before, after)]
    old, new = (f"reason IN ({names})" for names in listed)
    table = sa.Table(
        "decisions",
        sa.MetaData(),
        sa.Column("decision_id", sa.String(64), nullable=False),
        sa.Column("flag_id", sa.String(36), nullable=False),
        sa.Column("verdict", sa.String(30), nullable=False),
        sa.Column("reason", sa.String(30), nullable=False),
        sa.Column("reviewer_id", NAME, nullable=False),
        sa.Column("decided_at", INSTANT, nullable=False),
        sa.Column("notes", sa.Text(), nullable=False),
        sa.Column("recorded_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("decision_id", name=op.f("pk_decisions")),
        _refers("decisions", "flag_id", "flags"),
        _check(
            "decisions_verdict",
            "verdict IN ('approved', 'rejected', 'false_positive', 'needs_more_info')",
        ),
        _check("decisions_reason", old),
    )
    with op.batch_alter_table("decisions", copy_from=table) as decisions:
        decisions.drop_constraint(op.f("ck_decisions_reason"), type_="check")
        decisions.create_check_constraint(op.f("ck_decisions_reason"), new)
    op.create_index(
        "idx_decisions_flag", "decisions", ["flag_id", "decided_at"], if_not_exists=True
    )


def _decisions() -> None:
    op.create_table(
        "second_reviews",
        sa.Column("decision_id", sa.String(64), nullable=False),
        sa.Column("reviewer_id", NAME, nullable=False),
        sa.Column("approver_id", NAME, nullable=False),
        sa.Column("agrees", sa.Boolean(), nullable=False),
        sa.Column("reviewed_at", INSTANT, nullable=False),
        sa.Column("notes", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("decision_id", name=op.f("pk_second_reviews")),
        sa.ForeignKeyConstraint(
            ["decision_id", "reviewer_id"],
            ["decisions.decision_id", "decisions.reviewer_id"],
            name=op.f("fk_second_reviews_decision_id"),
        ),
        _check("second_reviews_four_eyes", "lower(approver_id) <> lower(reviewer_id)"),
        if_not_exists=True,
    )
    op.create_table(
        "withdrawals",
        sa.Column("decision_id", sa.String(64), nullable=False),
        sa.Column("withdrawn_by", NAME, nullable=False),
        sa.Column("withdrawn_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("decision_id", name=op.f("pk_withdrawals")),
        _refers("withdrawals", "decision_id", "decisions"),
        if_not_exists=True,
    )


def _work() -> None:
    op.create_table(
        "worklist",
        sa.Column("flag_id", sa.String(36), nullable=False),
        sa.Column("assignee_id", NAME),
        sa.Column("snoozed_until_at", INSTANT),
        sa.Column("locked_by", NAME),
        sa.Column("locked_until_at", INSTANT),
        sa.PrimaryKeyConstraint("flag_id", name=op.f("pk_worklist")),
        _refers("worklist", "flag_id", "flags"),
        if_not_exists=True,
    )
    op.create_index("idx_worklist_assignee", "worklist", ["assignee_id"], if_not_exists=True)
    op.create_table(
        "comments",
        sa.Column("comment_id", sa.String(36), nullable=False),
        sa.Column("flag_id", sa.String(36), nullable=False),
        sa.Column("author_id", NAME, nullable=False),
        sa.Column("said_at", INSTANT, nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("comment_id", name=op.f("pk_comments")),
        _refers("comments", "flag_id", "flags"),
        if_not_exists=True,
    )
    op.create_index("idx_comments_flag", "comments", ["flag_id", "said_at"], if_not_exists=True)


def _refers(table: str, column: str, to: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_{column}")
    return sa.ForeignKeyConstraint([column], [f"{to}.{column}"], name=name)


def _change_users(old: Sequence[str], new: Sequence[str], role: str, instead: str) -> None:
    """From the old roles to the new ones; whoever had the role that is gone has another."""
    added, dropped = (_of_0004, _of_0003) if new == ROLES else (_of_0003, _of_0004)
    with op.batch_alter_table("users", copy_from=_users(dropped(), old)) as users:
        users.drop_constraint(op.f("ck_users_role"), type_="check")
        for column in dropped():
            users.drop_column(column.name)
        for column in added():
            users.add_column(column)
    op.execute(f"UPDATE users SET role = '{instead}' WHERE role = '{role}'")  # noqa: S608 - ours
    with op.batch_alter_table("users", copy_from=_users(added())) as users:
        users.create_check_constraint(op.f("ck_users_role"), _is_one_of(new))


ROLES_0003 = ("viewer", "reviewer", "auditor", "admin")
ROLES = ("viewer", "reviewer", "approver", "admin")


def _is_one_of(roles: Sequence[str]) -> str:
    listed = ", ".join(f"'{name}'" for name in roles)
    return f"role IN ({listed})"


def _of_0003() -> list[sa.Column[object]]:
    return [
        sa.Column("failed_logins", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("locked_until_at", INSTANT),
    ]


def _of_0004() -> list[sa.Column[object]]:
    return [sa.Column("cardholder", NAME)]


def _users(more: Sequence[sa.Column[object]], roles: Sequence[str] = ()) -> sa.Table:
    return sa.Table(
        "users",
        sa.MetaData(),
        sa.Column("user_id", NAME, nullable=False),
        sa.Column("display_name", NAME, nullable=False),
        sa.Column("password_hash", sa.Text()),
        sa.Column("role", sa.String(20), nullable=False),
        sa.Column("disabled", sa.Boolean(), nullable=False, server_default=sa.text("FALSE")),
        sa.Column("token_version", sa.Integer(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        *more,
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_users")),
        *([_check("users_role", _is_one_of(roles))] if roles else []),
    )


def _sessions() -> None:
    op.create_table(
        "sessions",
        sa.Column("session_id", sa.String(36), nullable=False),
        sa.Column("user_id", NAME, nullable=False),
        sa.Column("token_version", sa.Integer(), nullable=False),
        sa.Column("csrf_token", sa.String(64), nullable=False),
        sa.Column("peer", NAME, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("expires_at", INSTANT, nullable=False),
        sa.Column("revoked_at", INSTANT),
        sa.PrimaryKeyConstraint("session_id", name=op.f("pk_sessions")),
        _refers("sessions", "user_id", "users"),
        if_not_exists=True,
    )
    op.create_index("idx_sessions_user", "sessions", ["user_id", "expires_at"], if_not_exists=True)
    op.create_table(
        "refresh_tokens",
        sa.Column("token_sha256", sa.String(64), nullable=False),
        sa.Column("session_id", sa.String(36), nullable=False),
        sa.Column("issued_at", INSTANT, nullable=False),
        sa.Column("expires_at", INSTANT, nullable=False),
        sa.Column("used_at", INSTANT),
        sa.PrimaryKeyConstraint("token_sha256", name=op.f("pk_refresh_tokens")),
        _refers("refresh_tokens", "session_id", "sessions"),
        if_not_exists=True,
    )
    op.create_index(
        "idx_refresh_tokens_session", "refresh_tokens", ["session_id"], if_not_exists=True
    )
    op.create_table(
        "login_failures",
        sa.Column("failure_id", sa.String(36), nullable=False),
        sa.Column("account", NAME, nullable=False),
        sa.Column("peer", NAME, nullable=False),
        sa.Column("failed_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("failure_id", name=op.f("pk_login_failures")),
        if_not_exists=True,
    )
    for column in ("account", "peer"):
        op.create_index(
            f"idx_login_failures_{column}",
            "login_failures",
            [column, "failed_at"],
            if_not_exists=True,
        )
    op.create_table(
        "saved_views",
        sa.Column("user_id", NAME, nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("query", sa.Text(), nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("user_id", "name", name=op.f("pk_saved_views")),
        _refers("saved_views", "user_id", "users"),
        if_not_exists=True,
    )
