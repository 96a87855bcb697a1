"""Asset checks: the quality gate and the disposition ledger block, the others warn."""

import inspect
from collections.abc import Callable
from typing import Any

import dagster as dg

from audit_pipeline import assets, disposition
from audit_pipeline.agents.data_quality import gate
from audit_pipeline.model.query import Query
from audit_pipeline.resources import AuditStore, Gold, dates_of, paused, step_errors
from audit_pipeline.steps import gate_reasons, routed


def _check(
    **more: Any,
) -> Callable[[Callable[..., dg.AssetCheckResult]], dg.AssetChecksDefinition]:
    """An asset check that meets the outside as a step does: it waits for it, without traceback."""

    def made(body: Callable[..., dg.AssetCheckResult]) -> dg.AssetChecksDefinition:
        wanted = inspect.signature(body).parameters

        def guarded(
            context: dg.AssetCheckExecutionContext, gold: Gold, store: AuditStore
        ) -> dg.AssetCheckResult:
            given = {"context": context, "gold": gold, "store": store}
            with step_errors(), paused(store, context.run):
                return body(**{name: given[name] for name in wanted})

        guarded.__name__, guarded.__doc__ = body.__name__, body.__doc__
        # A check reads, and nothing may pass a blocking one before it has answered.
        tags = routed("io", 9 if more.get("blocking") else 3)
        return dg.asset_check(retry_policy=assets.OUTSIDE, op_tags=tags, **more)(guarded)

    return made


@_check(asset=assets.quality_report, blocking=True)
def quality_gate(context: dg.AssetCheckExecutionContext, gold: Gold) -> dg.AssetCheckResult:
    """Closed when a source is unreadable, lacks a column, or a day is below 90 % completeness."""
    reasons = gate_reasons(gold, gold.books(*dates_of(context)))
    return dg.AssetCheckResult(
        passed=not reasons,
        description="open" if not reasons else "closed: " + "; ".join(reasons),
        metadata={"reasons": dg.MetadataValue.json(reasons)},
    )


@_check(asset=assets.quality_report)
def freshness(context: dg.AssetCheckExecutionContext, gold: Gold) -> dg.AssetCheckResult:
    """Domains that have been silent for longer than they ever are, or than set by hand (DQ-04)."""
    books = gold.books(*dates_of(context))
    books.need("transactions")
    stale = gate.stale_domains(
        books.warehouse.rows(gate.check_freshness(books.to_on)),
        books.to_on,
        gold.rules["DQ-04"],
        gold.state.about.freshness_days,
    )
    said = [f"{s.domain}: silent for {s.silent_days} days, {s.allowed_days} allowed" for s in stale]
    return dg.AssetCheckResult(
        passed=not stale,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(said) or "every domain is fresh",
        metadata={"stale": dg.MetadataValue.json(said)},
    )


@_check(asset=assets.quality_report)
def source_notes(gold: Gold) -> dg.AssetCheckResult:
    """What the sources have that was not asked for: unknown columns, instants without a zone."""
    notes = [f"{file.table}: {note}" for file in gold.state.files for note in file.notes]
    return dg.AssetCheckResult(
        passed=not notes,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(notes)[:2000] or "nothing to note",
    )


@_check(asset=assets.quality_report)
def gold_health(gold: Gold) -> dg.AssetCheckResult:
    """Gold can be read, and what an audit stores can be stored."""
    tried = gold.health()
    return dg.AssetCheckResult(
        passed=all(one.is_well for one in tried),
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(f"{one.name}: {one.said}" for one in tried)[:2000],
    )


@_check(asset=assets.quarantine)
def nothing_quarantined(context: dg.AssetCheckExecutionContext, gold: Gold) -> dg.AssetCheckResult:
    """How many rows of each table were set aside."""
    books = gold.books(*dates_of(context))
    books.need("quarantined")
    rows = books.warehouse.rows(
        Query(
            "SELECT table_name, count(*) AS n FROM gold.quarantine"
            " WHERE audit_on BETWEEN $from_on AND $to_on GROUP BY ALL"
            " UNION ALL SELECT 'recent_transactions (' || rule_id || ')', count(*)"
            " FROM audit.quarantined WHERE audit_on BETWEEN $from_on AND $to_on GROUP BY ALL"
            " ORDER BY 1",
            {"from_on": books.from_on, "to_on": books.to_on},
        )
    )
    said = [f"{row['table_name']}: {row['n']}" for row in rows]
    return dg.AssetCheckResult(
        passed=not rows,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(said) or "no row was set aside",
    )


@_check(asset=assets.escalated_flags, blocking=True)
def disposition_ledger(
    context: dg.AssetCheckExecutionContext, gold: Gold, store: AuditStore
) -> dg.AssetCheckResult:
    """Flagged + cleared + quarantined = gold, by count and amount, each day; else it stops."""
    from_on, to_on = dates_of(context)
    warehouse = gold.books(from_on, to_on).warehouse
    flagged = warehouse.stored("escalated_flags", from_on, to_on)
    with store.opened() as opened:
        touched = opened.transactions_with_findings(gold.population, from_on, to_on)
        known = opened.flagged_transactions(gold.population) - touched
    now = set(flagged.column("transaction_id").to_pylist()) if flagged is not None else set()
    days = disposition.disposition(gold.books(from_on, to_on), gold.population, "", known | now)
    wrong = disposition.imbalances(days)
    return dg.AssetCheckResult(
        passed=not wrong,
        description="; ".join(wrong)[:2000] or f"{len(days)} day(s) balance",
        metadata={"disposition": dg.MetadataValue.md(disposition.ledger_markdown(days))},
    )


CHECKS = [
    quality_gate,
    freshness,
    source_notes,
    gold_health,
    nothing_quarantined,
    disposition_ledger,
]
