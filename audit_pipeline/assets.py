"""The map: every step of the audit, in the order in which data flows.

::

    gold.* → quality_report ─gate─ quarantine, quality_findings ────────────┐
           → matches, statements → reconciliation_findings ─────────────────┤
           → anomaly_scores → anomaly_findings ─────────────────────────────┼→ context_findings
                                                                            └→ escalated_flags
                                              escalated_flags → flags → audit_log

A day's partition is an audit date; a backfill of a range is one run. Each asset's rows are stored
by audit date; what several steps read is derived in the books.
"""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import dagster as dg
import pyarrow as pa

from audit_pipeline import charts, disposition, publishing, scored, second_opinions
from audit_pipeline.adapters.contracts import findings_of
from audit_pipeline.agents.anomaly_detection import rules as anomaly_rules
from audit_pipeline.agents.context_enrichment import rules as context_rules
from audit_pipeline.agents.data_quality import gate
from audit_pipeline.agents.reconciliation import rules as reconciliation_rules
from audit_pipeline.model.query import Query, Value
from audit_pipeline.model.tables import GOLD
from audit_pipeline.resources import DAILY, AskedModel, AuditStore, Gold, step_errors
from audit_pipeline.steps import Step, audit_run_id, gate_reasons, routed, step_of

OWNERS = ["team:finance-data"]
OUTSIDE = dg.RetryPolicy(max_retries=5, delay=30, backoff=dg.Backoff.EXPONENTIAL)
"""30 s, 1, 2, 4, 8 minutes, as the specification retries what touches the outside."""


def _step(
    agent: str, *kinds: str, op_tags: Mapping[str, str], **more: Any
) -> Callable[[Callable[..., dg.MaterializeResult]], dg.AssetsDefinition]:
    """An asset of that agent, with what all of them have in common."""

    def made(body: Callable[..., dg.MaterializeResult]) -> dg.AssetsDefinition:
        with warnings.catch_warnings():
            # Backfill policies are "beta" in 1.13; the version is pinned, and tests show them.
            warnings.simplefilter("ignore", dg.BetaWarning)
            return dg.asset(
                retry_policy=OUTSIDE,
                group_name=agent,
                kinds=set(kinds),
                owners=OWNERS,
                partitions_def=DAILY,
                backfill_policy=dg.BackfillPolicy.single_run(),
                io_manager_key="partitions",
                op_tags=op_tags,
                **more,
            )(body)

    return made


GOLD_TABLES = [
    dg.AssetSpec(
        key=["gold", table.name],
        group_name="gold",
        description=table.meaning,
        kinds={"table"},
        owners=OWNERS,
        metadata={
            "dagster/column_schema": dg.TableSchema(
                columns=[
                    dg.TableColumn(
                        column.name,
                        column.kind.value,
                        description=column.meaning,
                        constraints=dg.TableColumnConstraints(
                            nullable=not column.required or column.nullable,
                            unique=column.name == table.key,
                        ),
                    )
                    for column in table.columns
                ]
            )
        },
    )
    for table in GOLD
]

GOLD_KEYS = [spec.key for spec in GOLD_TABLES]


# ── data quality ────────────────────────────────────────────────────────────────────────────────


@_step("data_quality", "sql", deps=GOLD_KEYS, op_tags=routed("io", 4))
def quality_report(
    context: dg.AssetExecutionContext, gold: Gold, store: AuditStore
) -> dg.MaterializeResult:
    """Completeness per required field and overall, duplicates, future dates; by table and day."""
    with step_of("data_quality", context, gold, store, gated=False) as step:
        step.call("check_schema_conformity", lambda: gold.state.missing_columns)
        step.table("check_completeness", "completeness")
        reasons = step.call("evaluate_gate", lambda: gate_reasons(gold, step.books))
    files = [
        (f.table, f.file or "(none)", f.rows_in, f.rows_kept, f.rows_quarantined, f.problem or "")
        for f in gold.state.files
    ]
    return dg.MaterializeResult(
        value=Query("SELECT * FROM audit.completeness"),
        metadata={
            "gate": "closed" if reasons else "open",
            "reasons": dg.MetadataValue.md("\n".join(f"- {r}" for r in reasons) or "none"),
            "sources": dg.MetadataValue.md(
                charts.table(("table", "file", "rows in", "kept", "quarantined", "problem"), files)
            ),
            "snapshot": gold.state.id,
        },
    )


@_step("data_quality", "sql", deps=[quality_report], op_tags=routed("io", 3))
def quarantine(
    context: dg.AssetExecutionContext, gold: Gold, store: AuditStore
) -> dg.MaterializeResult:
    """Ledger entries that cannot be audited, each with its reason; nothing is lost."""
    with step_of("data_quality", context, gold, store) as step:
        step.table("quarantine_entries", "quarantined")
        return dg.MaterializeResult(
            value=Query(
                "SELECT audit_on, transaction_id, row_number, amount, vendor, dated, rule_id,"
                " reason FROM audit.quarantined WHERE audit_on BETWEEN $from_on AND $to_on"
                " UNION ALL SELECT audit_on, row_id, row_number, amount, NULL, NULL, 'DQ-02',"
                " field || ': ' || reason FROM gold.quarantine"
                " WHERE table_name = 'recent_transactions'"
                " AND audit_on BETWEEN $from_on AND $to_on",
                {"from_on": step.books.from_on, "to_on": step.books.to_on},
            )
        )


@_step("data_quality", "sql", deps=[quality_report], op_tags=routed("compute", 5))
def quality_findings(
    context: dg.AssetExecutionContext, gold: Gold, store: AuditStore
) -> dg.MaterializeResult:
    """What data quality has to say about single entries: DQ-01 to DQ-06."""
    with step_of("data_quality", context, gold, store) as step:
        queries = gate.findings(gold.rules, step.books.from_on, step.books.to_on)
        return _findings(step, step.findings(queries))


# ── reconciliation ──────────────────────────────────────────────────────────────────────────────


def _listed(step: Step, columns: tuple[str, ...], sql: str) -> dg.MetadataValue:
    """A small result as a table in an asset's metadata."""
    named = {name: value for name, value in _range(step).items() if f"${name}" in sql}
    rows = step.books.warehouse.rows(Query(sql, named))
    return dg.MetadataValue.md(charts.table(columns, [tuple(row.values()) for row in rows]))


@_step("reconciliation", "sql", "python", deps=[quality_report], op_tags=routed("compute", 6))
def matches(
    context: dg.AssetExecutionContext, gold: Gold, store: AuditStore
) -> dg.MaterializeResult:
    """Lines of two sources that are the same payment, one to one; the score in its terms."""
    with step_of("reconciliation", context, gold, store) as step:
        step.table("resolve_entities", "vendor_entities")
        step.table("match_cross_source", "matches")
        # A model is kept with the first day it holds for, for whoever re-performs a match.
        step.books.warehouse.replace(
            "matching_models",
            step.books.from_on,
            step.books.to_on,
            Query(
                "SELECT * FROM audit.matching_models WHERE audit_on BETWEEN $from_on AND $to_on",
                _range(step),
            ),
            step.holding,
        )
        return dg.MaterializeResult(
            value=Query(
                "SELECT * FROM audit.matches WHERE audit_on BETWEEN $from_on AND $to_on",
                _range(step),
            ),
            metadata={
                "pairs": _listed(
                    step,
                    ("kind", "confidence", "pairs", "least probable"),
                    "SELECT kind, confidence, count(*), min(posterior) FROM audit.matches"
                    " WHERE audit_on BETWEEN $from_on AND $to_on GROUP BY ALL ORDER BY ALL",
                ),
                "models": _listed(
                    step,
                    ("from", "kind", "learned from pairs", "have a partner"),
                    "SELECT audit_on, kind, pairs, rate FROM audit.matching_models"
                    " WHERE audit_on BETWEEN date_trunc('quarter', $from_on) AND $to_on"
                    " ORDER BY 1, 2",
                ),
                "vendor_names": _listed(
                    step,
                    ("resolved by", "names"),
                    "SELECT method, count(*) FROM audit.vendor_entities GROUP BY ALL ORDER BY 1",
                ),
                "merged_names": _listed(
                    step,
                    ("written", "taken for", "by", "likeness"),
                    "SELECT vendor_key, vendor_name, method, similarity"
                    " FROM audit.vendor_entities WHERE method IN ('fuzzy', 'prefix')"
                    " ORDER BY similarity, vendor_key LIMIT 50",
                ),
            },
        )


@_step("reconciliation", "sql", "python", deps=[quality_report], op_tags=routed("compute", 5))
def statements(
    context: dg.AssetExecutionContext, gold: Gold, store: AuditStore
) -> dg.MaterializeResult:
    """Card payments against the sum of their period's lines; a difference names its charges."""
    with step_of("reconciliation", context, gold, store) as step:
        step.table("settle_statements", "statements")
        return dg.MaterializeResult(
            value=Query(
                "SELECT * FROM audit.statements WHERE audit_on BETWEEN $from_on AND $to_on",
                _range(step),
            ),
            metadata={
                "statements": _listed(
                    step,
                    ("status", "statements", "paid"),
                    "SELECT status, count(*), sum(paid) FROM audit.statements"
                    " WHERE audit_on BETWEEN $from_on AND $to_on GROUP BY ALL ORDER BY ALL",
                )
            },
        )


@_step("reconciliation", "sql", deps=[matches, statements], op_tags=routed("compute", 7))
def reconciliation_findings(
    context: dg.AssetExecutionContext, gold: Gold, store: AuditStore
) -> dg.MaterializeResult:
    """What is left over once everything that matches is matched: RC-01 to RC-09."""
    with step_of("reconciliation", context, gold, store) as step:
        queries = reconciliation_rules.findings(gold.rules, step.books.from_on, step.books.to_on)
        return _findings(step, step.findings(queries))


# ── anomaly detection ───────────────────────────────────────────────────────────────────────────


@_step(
    "anomaly_detection", "sql", "scikitlearn", deps=[quality_report], op_tags=routed("compute", 6)
)
def anomaly_scores(
    context: dg.AssetExecutionContext, gold: Gold, store: AuditStore
) -> dg.MaterializeResult:
    """Every charge's anomaly score, 0 to 100, with the bits of each aspect."""
    with step_of("anomaly_detection", context, gold, store) as step:
        step.table("score_batch", "scores")
        bands = step.books.warehouse.rows(
            Query(
                "SELECT CAST(floor(least(score, 99) / 10) * 10 AS INTEGER) AS band, count(*) AS n"
                " FROM audit.scores GROUP BY ALL ORDER BY 1"
            )
        )
        forests = {
            f"{month:%Y-%m}": f"{trained.version}, trained on {trained.charges:,} charges"
            for month, trained in sorted(step.books.forests.items())
            if trained.charges
        }
        step.call("run_isolation_forest", lambda: forests, versions=forests)
        books = step.books
        digits = scored.benford_of(books.warehouse, books.rules, books.from_on, books.to_on)
        return dg.MaterializeResult(
            value=Query("SELECT * FROM audit.scores"),
            metadata={
                "scores": dg.MetadataValue.md(
                    charts.bars(
                        "Charges by anomaly score",
                        {
                            f"{b['band']} to {int(str(b['band'])) + 10}": int(str(b["n"]))
                            for b in bands
                        },
                    )
                ),
                "forests": forests,
                "benford": dg.MetadataValue.md(charts.first_digits(digits)),
            },
        )


@_step("anomaly_detection", "sql", deps=[anomaly_scores], op_tags=routed("compute", 7))
def anomaly_findings(
    context: dg.AssetExecutionContext, gold: Gold, store: AuditStore
) -> dg.MaterializeResult:
    """Charges that are unlike what was before them: AN-01 to AN-17."""
    with step_of("anomaly_detection", context, gold, store) as step:
        queries = anomaly_rules.findings(gold.rules, step.books.from_on, step.books.to_on)
        return _findings(step, step.findings(queries))


# ── context enrichment ──────────────────────────────────────────────────────────────────────────


@_step("context_enrichment", "sql", "sqlite", op_tags=routed("compute", 8))
def context_findings(
    context: dg.AssetExecutionContext,
    gold: Gold,
    store: AuditStore,
    quality_findings: pa.Table | None,
    reconciliation_findings: pa.Table | None,
    anomaly_findings: pa.Table | None,
) -> dg.MaterializeResult:
    """Missing or doubtful receipts and approvals, and the documents of what is suspicious."""
    with step_of("context_enrichment", context, gold, store) as step:
        queries = context_rules.findings(gold.rules, step.books.from_on, step.books.to_on)
        missing = step.findings(queries)
        suspects = publishing.suspects(
            [quality_findings, reconciliation_findings, anomaly_findings, missing]
        )
        documents = step.call(
            "search_documents",
            lambda: step.books.warehouse.query(step.books.enrich(suspects)),
            suspects=suspects.num_rows,
        )
        found = pa.concat_tables(
            [missing, documents.select(missing.schema.names).cast(missing.schema)]
        )
        step.counts["suspicious"] = suspects.num_rows
        return _findings(step, found)


# ── escalation ──────────────────────────────────────────────────────────────────────────────────


@_step("escalation", "python", "openai", op_tags=routed("model", 8))
def escalated_flags(
    context: dg.AssetExecutionContext,
    gold: Gold,
    store: AuditStore,
    quality_findings: pa.Table | None,
    reconciliation_findings: pa.Table | None,
    anomaly_findings: pa.Table | None,
    context_findings: pa.Table | None,
    llm: AskedModel,
) -> dg.MaterializeResult:
    """One flag per transaction, with every point of its severity attributed to a rule.

    A language model, where there is one, is asked about the uncertain ones (ES-04).
    """
    found = [quality_findings, reconciliation_findings, anomaly_findings, context_findings]
    with step_of("escalation", context, gold, store) as step, store.opened() as opened:
        raised = step.call("create_flags", lambda: publishing.escalate(step, opened, found))
        with llm.of_run(opened, step.run_id, raised.from_on, raised.to_on) as model:
            asked = step.call(
                "classify_uncertain", lambda: second_opinions.ask(step, model, raised)
            )
        counts = {**raised.counts(), **asked.counts()}
        return dg.MaterializeResult(
            value=asked.table(),
            metadata={**_shown(counts, asked.raised.pictures()), **asked.spent()},
        )


@_step("escalation", "python", op_tags=routed("io", 9))
def flags(
    context: dg.AssetExecutionContext,
    gold: Gold,
    store: AuditStore,
    quality_findings: pa.Table | None,
    reconciliation_findings: pa.Table | None,
    anomaly_findings: pa.Table | None,
    context_findings: pa.Table | None,
    escalated_flags: pa.Table | None,
) -> dg.MaterializeResult:
    """The flags in the store, with their findings, queries and trail, in one transaction."""
    found = [quality_findings, reconciliation_findings, anomaly_findings, context_findings]
    with step_of("escalation", context, gold, store) as step:
        raised = second_opinions.with_opinions(
            publishing.escalate(step, step.store, found),
            second_opinions.stored(escalated_flags),
        )
        published = publishing.publish(step, step.store, raised)
        counts = published.counts()
        picture = {"changes": charts.bars("Flags", counts)}
        return dg.MaterializeResult(value=published.table(), metadata=_shown(counts, picture))


# ── audit logging ───────────────────────────────────────────────────────────────────────────────


@_step("audit_logging", "python", deps=[flags], op_tags=routed("io", 9))
def audit_log(
    context: dg.AssetExecutionContext, gold: Gold, store: AuditStore
) -> dg.MaterializeResult:
    """The disposition of every audited day, the end of the run in the trail, and its archive."""
    run_id = audit_run_id(context)
    with step_of("audit_logging", context, gold, store) as step:
        days = publishing.close(step, step.store)
    with step_errors():  # now that the step's own entries are in the trail
        archived = store.archive(run_id)
    return dg.MaterializeResult(
        value=disposition.ledger_table(days),
        metadata={
            "audit_run_id": run_id,
            "archive": archived,
            "disposition": dg.MetadataValue.md(disposition.ledger_markdown(days)),
        },
    )


def _range(step: Step) -> dict[str, Value]:
    return {"from_on": step.books.from_on, "to_on": step.books.to_on}


def _findings(step: Step, found: pa.Table) -> dg.MaterializeResult:
    """The findings of an agent, with a picture of how many each rule has."""
    by_rule: dict[str, int] = {}
    for finding in findings_of(found):
        title = f"{finding.rule_id} {step.gold.rules[finding.rule_id].title}"
        by_rule[title] = by_rule.get(title, 0) + 1
    counts = {"findings": found.num_rows, **step.counts}
    picture = {"by_rule": charts.bars("Findings by rule", dict(sorted(by_rule.items())))}
    return dg.MaterializeResult(value=found, metadata=_shown(counts, picture))


def _shown(counts: Mapping[str, int], pictures: Mapping[str, str]) -> dict[str, Any]:
    return {**counts, **{name: dg.MetadataValue.md(text) for name, text in pictures.items()}}


ASSETS = [
    *GOLD_TABLES,
    quality_report,
    quarantine,
    quality_findings,
    matches,
    statements,
    reconciliation_findings,
    anomaly_scores,
    anomaly_findings,
    context_findings,
    escalated_flags,
    flags,
    audit_log,
]
