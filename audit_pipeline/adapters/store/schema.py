"""Every table of the store, declared once: SQLite, Postgres and the DDL texts come from here.

`flags`, `audit_trail` and `workflow_state` carry the columns, checks and indexes of the
specification under its names, and some of ours after them. `Column.doc` and the table's
`meaning` become the comments of the Databricks DDL. Columns that hold JSON are TEXT with
`model.trail.canonical` in it, so that equal documents are equal texts.

A change here needs a new version in `migrations/`, and `HEAD` below names the newest one.
"""

from collections.abc import Iterable

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    Table,
    text,
)

from audit_pipeline.adapters.store.columns import Exact, Instant, Words
from audit_pipeline.model.decision import Reason, Verdict
from audit_pipeline.model.flag import FlagState, Severity
from audit_pipeline.model.person import Role

HEAD = "0004"
"""The newest migration; `Store.open` compares it with the database before it loads Alembic."""

METADATA = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
    }
)

NOW = text("CURRENT_TIMESTAMP")


def _one_of(column: str, values: Iterable[str]) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


FLAGS = Table(
    "flags",
    METADATA,
    Column("flag_id", Words(36), primary_key=True, doc="uuid5 of transaction and population"),
    Column("transaction_id", Words(255), nullable=False, doc="the audited ledger entry"),
    Column("audit_run_id", Words(36), nullable=False, doc="the run that last changed the flag"),
    Column("severity_level", Words(20), doc="CRITICAL, WARNING or INFO"),
    Column("confidence_score", Float, doc="0 to 1, how sure the rules are"),
    Column("explanation", Words(), nullable=False, doc="generated from the evidence"),
    Column("supporting_evidence_links", Words(), doc="JSON array of table/row_id"),
    Column("reviewed", Boolean, server_default=text("FALSE"), doc="the flag is decided"),
    Column("human_decision", Words(30), doc="the verdict of the latest decision"),
    Column("reviewer_id", Words(255), doc="who took the latest decision"),
    Column("review_timestamp", Instant, doc="when the latest decision was taken, UTC"),
    Column("reviewer_notes", Words(), doc="the notes of the latest decision"),
    Column("created_at", Instant, server_default=NOW, doc="when it was first raised, UTC"),
    Column("updated_at", Instant, server_default=NOW, doc="when its content last changed, UTC"),
    Column("population", Words(255), nullable=False, doc="what was audited"),
    Column("audit_on", Date, nullable=False, doc="the latest audit date with a finding on it"),
    Column("severity_score", Integer, nullable=False, doc="0 to 100, the sum of the points"),
    Column("state", Words(20), nullable=False, server_default=text("'open'"), doc="its standing"),
    Column("points", Words(), nullable=False, doc="JSON array: the parts of the score"),
    Column("first_run_id", Words(36), nullable=False, doc="the run that first raised the flag"),
    Column("vendor", Words(255), doc="as the ledger writes it"),
    Column("vendor_id", Words(255), doc="the vendor's entity, where it is known"),
    Column("cardholder", Words(255), doc="who spent it, where a card did"),
    Column("amount_cents", BigInteger, doc="of the charge; none where it could not be read"),
    Column("occurred_on", Date, doc="the day of the charge; none where it could not be read"),
    Column("approver_id", Words(255), doc="who agreed to the latest decision"),
    _one_of("severity_level", Severity),
    CheckConstraint("confidence_score BETWEEN 0 AND 1", name="confidence_score"),
    _one_of("state", FlagState),
    CheckConstraint(
        "severity_level <> 'CRITICAL' OR state <> 'decided' OR (reviewer_id IS NOT NULL"
        " AND approver_id IS NOT NULL AND lower(approver_id) <> lower(reviewer_id))",
        name="four_eyes",
    ),
    info={"meaning": "what a reviewer decides on; the review columns show the latest decision"},
)
Index("idx_flags_txn_id", FLAGS.c.transaction_id)
Index("idx_flags_audit_run", FLAGS.c.audit_run_id)
Index("idx_flags_reviewed", FLAGS.c.reviewed, FLAGS.c.created_at.desc())
Index("idx_flags_severity", FLAGS.c.severity_level, FLAGS.c.created_at.desc())
Index(  # the order in which a reviewer works through them
    "idx_flags_worklist",
    FLAGS.c.state,
    FLAGS.c.severity_level,
    FLAGS.c.severity_score.desc(),
    FLAGS.c.audit_on,
    FLAGS.c.transaction_id,
)
Index(  # the order of the desk's queue
    "idx_flags_age",
    FLAGS.c.state,
    FLAGS.c.severity_level,
    FLAGS.c.created_at,
    FLAGS.c.severity_score.desc(),
    FLAGS.c.flag_id,
)
Index("idx_flags_vendor", FLAGS.c.vendor, FLAGS.c.created_at)
Index(  # the overview's totals are read from it alone, without the rows' long texts
    "idx_flags_overview",
    FLAGS.c.state,
    FLAGS.c.severity_level,
    FLAGS.c.audit_on,
    FLAGS.c.vendor,
    FLAGS.c.amount_cents,
)

REVIEW_COLUMNS = (
    "reviewed",
    "human_decision",
    "reviewer_id",
    "review_timestamp",
    "reviewer_notes",
    "approver_id",
)
"""The projection of `decisions` in `flags`: only a decision writes them, never a re-run."""

QUERIES = Table(
    "queries",
    METADATA,
    Column("query_id", Words(64), primary_key=True, doc="SHA-256 of SQL, parameters, snapshot"),
    Column("rule_id", Words(20), nullable=False, doc="the rule that asked"),
    Column("sql", Words(), nullable=False, doc="the statement as it was executed"),
    Column("parameters", Words(), nullable=False, doc="JSON object: the bound values"),
    Column("snapshot_id", Words(255), nullable=False, doc="the state of gold it was asked of"),
    Column("tables", Words(), nullable=False, doc="JSON: what it read, as of the snapshot"),
    Column("created_at", Instant, nullable=False, doc="when it was first stored, UTC"),
    info={"meaning": "what re-performs a finding"},
)

FINDINGS = Table(
    "findings",
    METADATA,
    Column("population", Words(255), primary_key=True, doc="what was audited"),
    Column("transaction_id", Words(255), primary_key=True, doc="the audited ledger entry"),
    Column("rule_id", Words(20), primary_key=True, doc="e.g. RC-02"),
    Column("audit_on", Date, primary_key=True, doc="the audit date on which the rule met it"),
    Column("flag_id", Words(36), nullable=False, doc="the flag it leads to, if it is raised"),
    Column("rule_version", Integer, nullable=False, doc="which thresholds and which SQL"),
    Column("measured", Exact(20, 4), nullable=False, doc="the quantity that the rule compares"),
    Column("threshold", Exact(20, 4), nullable=False, doc="what it was compared with"),
    Column("score", Integer, nullable=False, doc="points that the rule gives"),
    Column("evidence", Words(), nullable=False, doc="JSON array of {name, source, row_id, value}"),
    Column(
        "query_id",
        Words(64),
        ForeignKey("queries.query_id", deferrable=True, initially="DEFERRED"),
        doc="the query that found it",
    ),
    info={"meaning": "one rule's verdict on one transaction, on one audit date"},
)
Index("idx_findings_flag", FINDINGS.c.flag_id)
Index("idx_findings_audit_on", FINDINGS.c.audit_on, FINDINGS.c.population)
Index("idx_findings_rule", FINDINGS.c.audit_on, FINDINGS.c.rule_id, FINDINGS.c.flag_id)

DECISIONS = Table(
    "decisions",
    METADATA,
    Column("decision_id", Words(64), primary_key=True, doc="SHA-256 of the decision"),
    Column("flag_id", Words(36), ForeignKey("flags.flag_id"), nullable=False, doc="the flag"),
    Column("verdict", Words(30), nullable=False, doc="what the reviewer said"),
    Column("reason", Words(30), nullable=False, doc="why"),
    Column("reviewer_id", Words(255), nullable=False, doc="who"),
    Column("decided_at", Instant, nullable=False, doc="when, UTC"),
    Column("notes", Words(), nullable=False, doc="the reviewer's words"),
    Column("recorded_at", Instant, nullable=False, doc="when the store took it, UTC"),
    _one_of("verdict", Verdict),
    _one_of("reason", Reason),
    info={"meaning": "every verdict that was ever given; rows are added, never changed"},
)
Index("idx_decisions_flag", DECISIONS.c.flag_id, DECISIONS.c.decided_at)
Index("uq_decisions_reviewer", DECISIONS.c.decision_id, DECISIONS.c.reviewer_id, unique=True)

SECOND_REVIEWS = Table(
    "second_reviews",
    METADATA,
    Column("decision_id", Words(64), primary_key=True, doc="the decision that was proposed"),
    Column("reviewer_id", Words(255), nullable=False, doc="who proposed it"),
    Column("approver_id", Words(255), nullable=False, doc="the second person"),
    Column("agrees", Boolean, nullable=False, doc="whether the decision holds"),
    Column("reviewed_at", Instant, nullable=False, doc="when, UTC"),
    Column("notes", Words(), nullable=False, doc="the second person's words"),
    ForeignKeyConstraint(
        ["decision_id", "reviewer_id"],
        ["decisions.decision_id", "decisions.reviewer_id"],
    ),
    CheckConstraint("lower(approver_id) <> lower(reviewer_id)", name="four_eyes"),
    info={"meaning": "what a second person said to a decision on a critical flag; never changed"},
)

WITHDRAWALS = Table(
    "withdrawals",
    METADATA,
    Column(
        "decision_id",
        Words(64),
        ForeignKey("decisions.decision_id"),
        primary_key=True,
        doc="the decision that does not hold any more",
    ),
    Column("withdrawn_by", Words(255), nullable=False, doc="who took it back"),
    Column("withdrawn_at", Instant, nullable=False, doc="when, UTC"),
    info={"meaning": "decisions that were taken back; rows are added, never changed"},
)

WORKLIST = Table(
    "worklist",
    METADATA,
    Column("flag_id", Words(36), ForeignKey("flags.flag_id"), primary_key=True, doc="the flag"),
    Column("assignee_id", Words(255), doc="whose it is to decide; none: anybody's"),
    Column("snoozed_until_at", Instant, doc="it is not shown before, UTC"),
    Column("locked_by", Words(255), doc="who has it open"),
    Column("locked_until_at", Instant, doc="until when nobody else may decide it, UTC"),
    info={"meaning": "who works on which flag; a re-run never touches it"},
)
Index("idx_worklist_assignee", WORKLIST.c.assignee_id)

COMMENTS = Table(
    "comments",
    METADATA,
    Column("comment_id", Words(36), primary_key=True, doc="uuid4"),
    Column("flag_id", Words(36), ForeignKey("flags.flag_id"), nullable=False, doc="the flag"),
    Column("author_id", Words(255), nullable=False, doc="who"),
    Column("said_at", Instant, nullable=False, doc="when, UTC"),
    Column("body", Words(), nullable=False, doc="the words"),
    info={"meaning": "what people say about a flag; rows are added, never changed"},
)
Index("idx_comments_flag", COMMENTS.c.flag_id, COMMENTS.c.said_at)

AUDIT_TRAIL = Table(
    "audit_trail",
    METADATA,
    Column("audit_run_id", Words(36), primary_key=True, doc="the root run of the audit"),
    Column(
        "log_sequence_number",
        BigInteger,
        primary_key=True,
        autoincrement=False,
        doc="one sequence for the whole store: 1 to N without a gap",
    ),
    Column("agent_name", Words(100), nullable=False, doc="the agent, or reviewer:<id>"),
    Column("tool_called", Words(100), nullable=False, doc="the tool"),
    Column("timestamp", Instant, server_default=NOW, doc="when it happened, UTC"),
    Column("execution_time_ms", BigInteger, doc="wall time of the call"),
    Column("input_data", Words(), doc="JSON object: what went in"),
    Column("output_summary", Words(), doc="JSON object: what came out"),
    Column("llm_model", Words(100), doc="the model, where one was asked"),
    Column("llm_tokens_used", BigInteger, doc="tokens in and out"),
    Column("llm_cost_dollars", Exact(10, 4), doc="US dollars"),
    Column("error_message", Words(), doc="what went wrong"),
    Column("error_stack_trace", Words(), doc="where"),
    Column("decision_chain", Words(), doc="JSON array: the steps to a flag's severity"),
    Column("leaf_hash", Words(64), nullable=False, doc="RFC 6962 leaf hash of all other columns"),
    info={"meaning": "append-only and tamper-evident: one row for each step of an audit"},
)
Index("idx_audit_trail_agent", AUDIT_TRAIL.c.agent_name, AUDIT_TRAIL.c.timestamp.desc())
Index("idx_audit_trail_timestamp", AUDIT_TRAIL.c.timestamp.desc())
Index("idx_audit_trail_sequence", AUDIT_TRAIL.c.log_sequence_number, unique=True)

TRAIL_CHECKPOINTS = Table(
    "trail_checkpoints",
    METADATA,
    Column(
        "tree_size",
        BigInteger,
        primary_key=True,
        autoincrement=False,
        doc="how many entries of the trail it covers",
    ),
    Column("root_hash", Words(64), nullable=False, doc="RFC 6962 root of those entries"),
    Column("signature", Words(), nullable=False, doc="Ed25519 over the checkpoint, base64"),
    Column("key_id", Words(64), nullable=False, doc="which key signed"),
    Column("created_at", Instant, nullable=False, doc="when it was signed, UTC"),
    info={"meaning": "signed states of the trail; the copies that count lie elsewhere"},
)

WORKFLOW_STATUSES = ("pending", "in_progress", "completed", "failed", "paused")

WORKFLOW_STATE = Table(
    "workflow_state",
    METADATA,
    Column("audit_run_id", Words(36), primary_key=True, doc="the root run of the audit"),
    Column("workflow_status", Words(20), doc="how far it is"),
    Column("current_agent", Words(100), doc="the agent at work"),
    Column("completed_agents", Words(), doc="JSON array"),
    Column("pending_agents", Words(), doc="JSON array"),
    Column("intermediate_results", Words(), doc="JSON object: the state as it was saved"),
    Column("created_at", Instant, server_default=NOW, doc="when the run began, UTC"),
    Column("updated_at", Instant, server_default=NOW, doc="when it was last saved, UTC"),
    Column("from_on", Date, doc="the first audit date of the run"),
    Column("to_on", Date, doc="the last audit date of the run"),
    Column("population", Words(255), doc="what is audited"),
    _one_of("workflow_status", WORKFLOW_STATUSES),
    info={"meaning": "one row for each audit run: what a resumed run starts from"},
)
Index("idx_workflow_status", WORKFLOW_STATE.c.workflow_status, WORKFLOW_STATE.c.created_at.desc())

AUDIT_PARTITIONS = Table(
    "audit_partitions",
    METADATA,
    Column("population", Words(255), primary_key=True, doc="what was audited"),
    Column("audit_on", Date, primary_key=True, doc="the audited day, UTC"),
    Column("audit_run_id", Words(36), nullable=False, doc="the run that last audited it"),
    Column("transactions", BigInteger, nullable=False, doc="gold rows of that day"),
    Column("amount", Exact(20, 2), nullable=False, doc="their sum"),
    Column("flagged", BigInteger, nullable=False, doc="rows with a flag"),
    Column("flagged_amount", Exact(20, 2), nullable=False, doc="their sum"),
    Column("cleared", BigInteger, nullable=False, doc="rows without one"),
    Column("cleared_amount", Exact(20, 2), nullable=False, doc="their sum"),
    Column("quarantined", BigInteger, nullable=False, doc="rows that could not be audited"),
    Column("quarantined_amount", Exact(20, 2), nullable=False, doc="their sum"),
    info={"meaning": "the disposition ledger: flagged + cleared + quarantined = gold, each day"},
)
Index("idx_audit_partitions_run", AUDIT_PARTITIONS.c.audit_run_id)

AUDIT_ATTEMPTS = Table(
    "audit_attempts",
    METADATA,
    Column(
        "epoch",
        BigInteger,
        primary_key=True,
        autoincrement=False,
        doc="1, 2, …: of two attempts at a day only the later one may write",
    ),
    Column("population", Words(255), nullable=False, doc="what is audited"),
    Column("from_on", Date, nullable=False, doc="the first audit date of the attempt"),
    Column("to_on", Date, nullable=False, doc="the last audit date of the attempt"),
    Column("audit_run_id", Words(36), nullable=False, doc="the root run of the audit"),
    Column(
        "dagster_run_id", Words(36), nullable=False, unique=True, doc="the run that attempts it"
    ),
    Column("worker", Words(255), doc="host:process:start of the run's own process, where known"),
    Column("granted_at", Instant, nullable=False, doc="when it began, UTC"),
    Column("released_at", Instant, doc="when it ended, UTC; none while it may still write"),
    info={"meaning": "one row for each attempt at a range of days: who may write, who is at work"},
)
Index("idx_audit_attempts_to", AUDIT_ATTEMPTS.c.population, AUDIT_ATTEMPTS.c.to_on)

AUDIT_STEPS = Table(
    "audit_steps",
    METADATA,
    Column("dagster_run_id", Words(36), primary_key=True, doc="the run that attempts it"),
    Column("step_key", Words(255), primary_key=True, doc="the asset, as Dagster names its step"),
    Column("holder", Words(255), nullable=False, doc="host:process:start of who is at work on it"),
    Column("began_at", Instant, nullable=False, doc="when its last try began, UTC"),
    Column("beat_at", Instant, nullable=False, doc="when it was last seen alive, UTC"),
    Column("ended_at", Instant, doc="when it ended, however it ended, UTC"),
    info={"meaning": "the steps of attempts, and whether their processes are alive"},
)
Index("idx_audit_steps_ended", AUDIT_STEPS.c.ended_at, AUDIT_STEPS.c.beat_at)

RULE_VERSIONS = Table(
    "rule_versions",
    METADATA,
    Column("rule_id", Words(20), primary_key=True, doc="e.g. RC-02"),
    Column("rule_version", Integer, primary_key=True, autoincrement=False, doc="1, 2, …"),
    Column("thresholds", Words(), nullable=False, doc="JSON object: name to value"),
    Column("content_sha256", Words(64), nullable=False, doc="of thresholds and SQL"),
    Column("reason", Words(), nullable=False, doc="why it was changed"),
    Column("effect", Words(), doc="JSON object: what replaying stored findings showed"),
    Column("status", Words(20), nullable=False, doc="proposed, active, rejected or retired"),
    Column("proposed_by", Words(255), nullable=False, doc="a person, or rule_tuning"),
    Column("proposed_at", Instant, nullable=False, doc="UTC"),
    Column("approved_by", Words(255), doc="a person other than the proposer"),
    Column("approved_at", Instant, doc="UTC"),
    _one_of("status", ("proposed", "active", "rejected", "retired")),
    info={"meaning": "every set of thresholds a rule ever had or was offered"},
)

LLM_CALL_STATUSES = (
    "reserved",
    "answered",
    "cached",
    "refused",
    "invalid",
    "unavailable",
    "unauthorised",
    "deadline",
)

LLM_CALLS = Table(
    "llm_calls",
    METADATA,
    Column("call_id", Words(36), primary_key=True, doc="one attempt, not one question"),
    Column("audit_run_id", Words(36), nullable=False, doc="the root run of the audit"),
    Column("from_on", Date, nullable=False, doc="the first audit date of the run"),
    Column("to_on", Date, nullable=False, doc="the last audit date of the run"),
    Column("agent_name", Words(100), nullable=False, doc="who asked"),
    Column("purpose", Words(100), nullable=False, doc="what for"),
    Column("model", Words(100), nullable=False, doc="the model's name at the provider"),
    Column("attempt", Integer, nullable=False, doc="1, 2, …; 0 for an answer found again"),
    Column("status", Words(20), nullable=False, doc="how it ended"),
    Column("prompt_sha256", Words(64), nullable=False, doc="the content hash: the cache's key"),
    Column("tokens_in", BigInteger, doc="prompt tokens"),
    Column("tokens_out", BigInteger, doc="completion tokens"),
    Column("reserved_dollars", Exact(12, 6), nullable=False, doc="held before the call"),
    Column("cost_dollars", Exact(12, 6), doc="charged after it"),
    Column("started_at", Instant, nullable=False, doc="UTC"),
    Column("expires_at", Instant, nullable=False, doc="until when a reservation counts, UTC"),
    Column("duration_ms", BigInteger, doc="wall time"),
    Column("answer", Words(), doc="JSON object: the validated answer"),
    Column("error_message", Words(), doc="what went wrong"),
    _one_of("status", LLM_CALL_STATUSES),
    info={"meaning": "every attempt to ask a language model, and what it cost"},
)
# What is spent is read before every attempt: from the index alone, without the rows' answers.
_SPENT = [
    LLM_CALLS.c[name] for name in ("status", "expires_at", "cost_dollars", "reserved_dollars")
]
Index("idx_llm_calls_run", LLM_CALLS.c.audit_run_id, *_SPENT)
Index("idx_llm_calls_started_at", LLM_CALLS.c.started_at, *_SPENT)
Index("idx_llm_calls_prompt", LLM_CALLS.c.prompt_sha256)

USERS = Table(
    "users",
    METADATA,
    Column("user_id", Words(255), primary_key=True, doc="the name a person signs in with"),
    Column("display_name", Words(255), nullable=False, doc="as the desk shows it"),
    Column("password_hash", Words(), doc="with salt and parameters; none: cannot sign in"),
    Column("role", Words(20), nullable=False, doc="what the person may do"),
    Column("disabled", Boolean, nullable=False, server_default=text("FALSE"), doc="locked out"),
    Column("cardholder", Words(255), doc="as cards name the person: whose charges are their own"),
    Column("token_version", Integer, nullable=False, doc="raised to end every session"),
    Column("created_at", Instant, nullable=False, doc="UTC"),
    Column("updated_at", Instant, nullable=False, doc="UTC"),
    _one_of("role", Role),
    info={"meaning": "who may use the review desk"},
)

SESSIONS = Table(
    "sessions",
    METADATA,
    Column("session_id", Words(36), primary_key=True, doc="uuid4; every token names it"),
    Column("user_id", Words(255), ForeignKey("users.user_id"), nullable=False, doc="whose"),
    Column("token_version", Integer, nullable=False, doc="the user's when it began"),
    Column("csrf_token", Words(64), nullable=False, doc="what a page's forms must send back"),
    Column("peer", Words(255), nullable=False, doc="the address it began from"),
    Column("created_at", Instant, nullable=False, doc="UTC"),
    Column("expires_at", Instant, nullable=False, doc="UTC"),
    Column("revoked_at", Instant, doc="UTC; none while it holds"),
    info={"meaning": "who is signed in to the review desk"},
)
Index("idx_sessions_user", SESSIONS.c.user_id, SESSIONS.c.expires_at)

REFRESH_TOKENS = Table(
    "refresh_tokens",
    METADATA,
    Column("token_sha256", Words(64), primary_key=True, doc="of the token, which is not kept"),
    Column(
        "session_id", Words(36), ForeignKey("sessions.session_id"), nullable=False, doc="of which"
    ),
    Column("issued_at", Instant, nullable=False, doc="UTC"),
    Column("expires_at", Instant, nullable=False, doc="UTC"),
    Column("used_at", Instant, doc="UTC; used again, it ends the session"),
    info={"meaning": "tokens that a session is renewed with, each once"},
)
Index("idx_refresh_tokens_session", REFRESH_TOKENS.c.session_id)

LOGIN_FAILURES = Table(
    "login_failures",
    METADATA,
    Column("failure_id", Words(36), primary_key=True, doc="uuid4"),
    Column("account", Words(255), nullable=False, doc="the name that was tried"),
    Column("peer", Words(255), nullable=False, doc="the address it was tried from"),
    Column("failed_at", Instant, nullable=False, doc="UTC"),
    info={"meaning": "passwords that were wrong, for as long as they count"},
)
Index("idx_login_failures_account", LOGIN_FAILURES.c.account, LOGIN_FAILURES.c.failed_at)
Index("idx_login_failures_peer", LOGIN_FAILURES.c.peer, LOGIN_FAILURES.c.failed_at)

SAVED_VIEWS = Table(
    "saved_views",
    METADATA,
    Column("user_id", Words(255), ForeignKey("users.user_id"), primary_key=True, doc="whose"),
    Column("name", Words(100), primary_key=True, doc="as the person calls it"),
    Column("query", Words(), nullable=False, doc="the filters, as the queue's address has them"),
    Column("updated_at", Instant, nullable=False, doc="UTC"),
    info={"meaning": "filters of the queue that a person comes back to"},
)
