"""What a person reads in the terminal after an audit: flags, ledger, sources, planted faults."""

import datetime as dt
import json
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from audit_pipeline.agents.reconciliation.linkage import TERMS
from audit_pipeline.model.finding import Finding
from audit_pipeline.model.rule import Rules

if TYPE_CHECKING:
    from audit_pipeline.adapters.store import Store
    from audit_pipeline.adapters.store.rows import FlagRow, PartitionRow
    from audit_pipeline.model.gold import FileRead, GoldState
    from audit_pipeline.reconcile_result import Reconciled
    from audit_pipeline.runs import Run
    from audit_pipeline.score import Scored
    from audit_pipeline.vendor_profile import VendorProfile

FLAGS_SHOWN, PARTS_SHOWN = 10, 3
STYLES = {"CRITICAL": "bold red", "WARNING": "yellow", "INFO": "blue"}


def plain(text: object) -> str:
    """Untrusted text for a terminal: no control or invisible formatting characters."""
    return "".join(
        character if character == "\n" or unicodedata.category(character)[0] != "C" else "�"
        for character in str(text)
    )


def _table(title: str, *columns: str, right: Sequence[str] = ()) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", header_style="")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table


def show_sources(console: Console, files: "Sequence[FileRead]") -> None:
    """What was read from each file, and what of it was set aside."""
    table = _table(
        "Sources", "table", "file", "rows", "set aside", "note", right=("rows", "set aside")
    )
    for file in files:
        if not file.file:
            continue
        note = file.problem or "; ".join(file.notes)
        table.add_row(
            file.table,
            Text(plain(file.file)),
            f"{file.rows_in:,}",
            f"{file.rows_quarantined:,}",
            Text(plain(note)),
        )
    console.print(table)


def show_ledger(console: Console, days: "Sequence[PartitionRow]") -> None:
    """What became of every ledger entry that was received."""
    table = _table(
        "Disposition of the ledger", "", "entries", "amount", right=("entries", "amount")
    )
    for name, count, amount in (
        ("received", "transactions", "amount"),
        ("flagged", "flagged", "flagged_amount"),
        ("cleared", "cleared", "cleared_amount"),
        ("quarantined", "quarantined", "quarantined_amount"),
    ):
        table.add_row(
            name,
            f"{sum(getattr(day, count) for day in days):,}",
            f"{sum(getattr(day, amount) for day in days):,.2f}",
        )
    console.print(table)


def show_flags(console: Console, flags: "Sequence[FlagRow]", shown_max: int) -> None:
    """The flags that matter most, in the order in which a reviewer works."""
    if not flags:
        console.print("No flags: every entry was cleared.", style="bold")
        return
    levels = Counter(str(flag.severity_level) for flag in flags)
    counts = ", ".join(f"{levels[level]:,} {level}" for level in STYLES)
    title = f"{len(flags):,} flags: {counts}"
    table = _table(title, "flag", "severity", "score", "date", "what was found", right=("score",))
    for flag in flags[:shown_max]:
        level = str(flag.severity_level)
        table.add_row(
            flag.flag_id[:8],
            Text(level, style=STYLES[level]),
            str(flag.severity_score),
            str(flag.audit_on),
            Text(plain(flag.explanation)),
        )
    console.print(table)
    if len(flags) > shown_max:
        console.print(f"… and {len(flags) - shown_max:,} more: audit-pipeline flags")


def show_flag(console: Console, flag: "FlagRow", findings: Sequence[Finding], rules: Rules) -> None:
    """One flag: why, from what, and how its score adds up."""
    level = str(flag.severity_level)
    console.print(Text(f"{level}  score {flag.severity_score}", style=STYLES[level]))
    console.print(Text(plain(flag.explanation)))
    console.print(
        Text(
            plain(
                f"transaction {flag.transaction_id}   audit date {flag.audit_on}   "
                f"confidence {flag.confidence_score:.2f}   state {flag.state}   id {flag.flag_id}"
            ),
            style="dim",
        )
    )
    points = _table("How the score adds up", "rule", "points", "why", right=("points",))
    for point in flag.points:
        given = f"{point.points:+d}" if point.points else ""
        points.add_row(point.rule_id, given, Text(plain(point.reason)))  # a model's, perhaps
    console.print(points)
    for finding in findings:
        rule = rules.by_id.get(finding.rule_id)
        title = (
            f"{finding.rule_id} {rule.title if rule else ''} (v{finding.rule_version}, "
            f"{finding.audit_on}): measured {finding.measured.normalize():f}, "
            f"threshold {finding.threshold.normalize():f}"
        )
        cells = _table(title, "fact", "value", "read from", "row")
        for cell in finding.evidence:
            cells.add_row(cell.name, Text(plain(cell.value)), cell.source, Text(plain(cell.row_id)))
        console.print(cells)
    console.print(f"Re-perform it: audit-pipeline reperform {flag.flag_id[:8]}")


def show_vendor(console: Console, profile: "VendorProfile | None") -> None:
    """What is usual for a flag's vendor, in a few lines."""
    if profile is None:
        console.print("No query of this flag is kept, so its vendor cannot be looked up.")
        return
    often = "" if profile.gap_days is None else f", mostly {profile.gap_days} days apart"
    said = f"Vendor {profile.vendor} up to {profile.as_of}, without this one: " + (
        f"{profile.transactions:,} from {profile.first_on} to {profile.last_on}{often}; "
        f"amounts mostly {profile.low_amount} to {profile.high_amount}, "
        f"median {profile.median_amount}"
        if profile.transactions
        else "no other transaction"
    )
    console.print(Text(plain(said)))


@dataclass(frozen=True)
class Planted:
    """How the planted faults of a demo company fared.

    Attributes:
        rows: kind, rule, planted, caught by its rule, flagged by another rule only, missed.
        missed: what was missed, one line each.
        false: flags of WARNING or above on transactions without a planted fault.
        benign: of those, on the look-alikes that were planted to tempt the rules.
    """

    rows: tuple[tuple[str, str, int, int, int, int], ...]
    missed: tuple[str, ...]
    false: int
    benign: int
    info: int


def judge_planted(
    folder: Path, flags: "Sequence[FlagRow]", rules_of: Mapping[str, set[str]]
) -> Planted | None:
    """Compare flags with the folder's planted.json; None where it has none.

    Args:
        folder: the fixture folder.
        flags: of the audited range.
        rules_of: transaction id → the rules that have a finding on it.
    """
    try:
        document = json.loads((folder / "planted.json").read_text(encoding="utf-8"))
        planted = document["planted"]
        benign_ids = {i for b in document["benign_lookalikes"] for i in b["transaction_ids"]}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    counts: dict[tuple[str, str], list[int]] = {}
    missed: list[str] = []
    planted_ids: set[str] = set()
    for fault in planted:
        ids = fault["transaction_ids"]
        # A line cut out of a statement is found at the gap; its ledger entry is found as well.
        planted_ids |= {*ids, *fault.get("also_ids", ())}
        row = counts.setdefault((fault["kind"], fault["rule"]), [0, 0, 0, 0])
        row[0] += 1
        if all(fault["rule"] in rules_of.get(i, ()) for i in ids):
            row[1] += 1
        elif any(rules_of.get(i) for i in ids):
            row[2] += 1
        else:
            row[3] += 1
            missed.append(f"{fault['id']} {fault['rule']} {fault['what']}")
    others = [f for f in flags if f.transaction_id not in planted_ids]
    loud = [f for f in others if f.severity_level != "INFO"]
    return Planted(
        tuple(
            (kind, rule, row[0], row[1], row[2], row[3])
            for (kind, rule), row in sorted(counts.items())
        ),
        tuple(missed),
        len(loud),
        sum(f.transaction_id in benign_ids for f in loud),
        len(others) - len(loud),
    )


def show_planted(console: Console, planted: Planted) -> None:
    """Caught, missed and false."""
    numbers = ("planted", "caught", "by another rule", "missed")
    table = _table("Planted faults", "kind", "rule", *numbers, right=numbers)
    for kind, rule, *row in planted.rows:
        table.add_row(kind.replace("_", " "), rule, *(str(n) if n else "" for n in row))
    totals = [sum(int(row[at]) for row in planted.rows) for at in range(2, 6)]
    table.add_section()
    table.add_row("all", "", *(str(total) for total in totals))
    console.print(table)
    for line in planted.missed:
        console.print(Text(plain(f"  missed: {line}"), style="dim"))
    console.print(
        f"False: {planted.false} flags of WARNING or above on transactions without a planted "
        f"fault ({planted.benign} of them on look-alikes planted to tempt the rules), "
        f"and {planted.info} of INFO."
    )


@dataclass(frozen=True)
class Outcome:
    """What an audit came to: its run, its days, and the flags dated on them."""

    run: "Run"
    gold: "GoldState"
    from_on: dt.date
    to_on: dt.date
    days: "Sequence[PartitionRow]"
    flags: "Sequence[FlagRow]"


def outcome_of(
    run: "Run", gold: "GoldState", from_on: dt.date, to_on: dt.date, store: "Store"
) -> Outcome:
    """The outcome of a run, as the store has it; empty for one that was not completed."""
    if run.status != "completed":
        return Outcome(run, gold, from_on, to_on, [], [])
    population = gold.about.name
    return Outcome(
        run,
        gold,
        from_on,
        to_on,
        store.partitions(population, from_on, to_on),
        store.flags(population, from_on=from_on, to_on=to_on),
    )


def show_outcome(console: Console, outcome: Outcome, store: "Store", fixtures: Path | None) -> None:
    """Sources, ledger, flags, planted faults, and what to do next."""
    show_sources(console, outcome.gold.files)
    if outcome.run.status != "completed":
        return
    show_ledger(console, outcome.days)
    show_flags(console, outcome.flags, FLAGS_SHOWN)
    rules_of = store.rules_by_transaction(outcome.gold.about.name)
    planted = judge_planted(fixtures, outcome.flags, rules_of) if fixtures else None
    if planted is not None:
        show_planted(console, planted)
    if outcome.flags:
        first = outcome.flags[0].flag_id[:8]
        console.print(
            f"Next: audit-pipeline flags {first}   shows the evidence; "
            f"audit-pipeline reperform {first}   runs its query again; make ui   opens Dagster."
        )


COUNTS = ("transactions", "flagged", "cleared", "quarantined")
AMOUNTS = ("amount", "flagged_amount", "cleared_amount", "quarantined_amount")


def document(outcome: Outcome, store: "Store") -> dict[str, object]:
    """The result of an audit as `--json` writes it; amounts are text, to the cent."""
    days, gold = outcome.days, outcome.gold
    counts = {name: sum(getattr(day, name) for day in days) for name in COUNTS}
    amounts = {
        name: str(sum((getattr(day, name) for day in days), Decimal("0.00"))) for name in AMOUNTS
    }
    return {
        "audit_run_id": outcome.run.run_id,
        "status": outcome.run.status,
        "reasons": list(outcome.run.reasons),
        "population": gold.about.name,
        "from": outcome.from_on.isoformat(),
        "to": outcome.to_on.isoformat(),
        "transactions": counts["transactions"],
        "quarantined": counts["quarantined"],
        "sources": [asdict(file) for file in gold.files],
        "ledger": {
            **counts,
            **amounts,
            "days": [
                {
                    "audit_on": day.audit_on.isoformat(),
                    **{name: getattr(day, name) for name in COUNTS},
                    **{name: str(getattr(day, name)) for name in AMOUNTS},
                }
                for day in days
            ],
        },
        "flags": flag_documents(outcome.flags, store),
    }


def flag_documents(flags: "Sequence[FlagRow]", store: "Store") -> list[dict[str, object]]:
    """Flags with their findings and evidence, JSON-able."""
    findings = store.findings_by_flag([flag.flag_id for flag in flags])
    return [
        {
            "flag_id": flag.flag_id,
            "transaction_id": flag.transaction_id,
            "audit_on": flag.audit_on.isoformat(),
            "severity_level": str(flag.severity_level),
            "confidence_score": flag.confidence_score,
            "severity_score": flag.severity_score,
            "explanation": flag.explanation,
            "supporting_evidence_links": list(flag.links),
            "points": [
                {"rule_id": p.rule_id, "points": p.points, "reason": p.reason} for p in flag.points
            ],
            "findings": [
                {
                    "rule_id": finding.rule_id,
                    "rule_version": finding.rule_version,
                    "audit_on": finding.audit_on.isoformat(),
                    "measured": str(finding.measured),
                    "threshold": str(finding.threshold),
                    "score": finding.score,
                    "evidence": [
                        {
                            "name": cell.name,
                            "source": cell.source,
                            "row_id": cell.row_id,
                            "value": cell.value,
                        }
                        for cell in finding.evidence
                    ],
                }
                for finding in findings.get(flag.flag_id, [])
            ],
        }
        for flag in flags
    ]


def rules_text(rules: Rules) -> str:
    """The rules and their thresholds, for a terminal."""
    lines: list[str] = []
    for rule_id, rule in rules:
        lines.append(f"{rule_id}  {rule.title}  [{rule.agent}]")
        lines += [
            f"         {name} = {t.value} {t.unit} ({t.floor} … {t.ceiling})"
            for name, t in rule.thresholds.items()
        ]
    return "\n".join(lines)


def rules_markdown(rules: Rules) -> str:
    """The rule catalogue of the documentation."""
    lines = [
        "# Rules",
        "",
        "Made by `audit-pipeline rules --markdown` from `audit_pipeline/rules.yaml`; a test keeps",
        "the two together. Points add up to a flag's severity score.",
    ]
    for rule_id, rule in rules:
        facts = [
            f"agent {rule.agent}",
            f"version {rule.version}",
            f"{rule.points} points",
            *([f"at least {rule.at_least}"] if rule.at_least else []),
            *(["never lowered"] if rule.protected else []),
            *(
                [f"asked {rule.matures_after_days} days after the transaction"]
                if rule.matures_after_days
                else []
            ),
            *([f"holidays {' '.join(rule.holidays)}"] if rule.holidays else []),
        ]
        lines += ["", f"## {rule_id} {rule.title}", "", ", ".join(facts) + "."]
        if rule.says:
            lines += ["", f"> {rule.says}"]
        if rule.thresholds:
            lines += ["", "| threshold | value | from … to | why |", "|---|---|---|---|"]
            lines += [
                f"| {name} | {t.value} {t.unit} | {t.floor} … {t.ceiling} | {t.reason} |"
                for name, t in rule.thresholds.items()
            ]
    return "\n".join(lines)


def show_reconciliation(console: Console, outcome: "Reconciled", out: Path, seconds: float) -> None:
    """What became of the lines of two extracts, and the pairs to look at first."""
    lines = _table(
        "Lines",
        "side",
        "read",
        "set aside",
        "unmatched",
        "amount unmatched",
        right=("read", "set aside", "unmatched", "amount unmatched"),
    )
    for side in ("left", "right"):
        lines.add_row(
            side,
            f"{outcome.lines[side] + outcome.rejected[side]:,}",
            f"{outcome.rejected[side]:,}",
            f"{outcome.unmatched[side]:,}",
            f"{Decimal(outcome.unmatched_cents[side]) / 100:,.2f}",
        )
    console.print(lines)
    accepted, review = (outcome.pairs.get(status, 0) for status in ("accepted", "review"))
    console.print(f"{accepted:,} pairs accepted (probability 0.95 or more), {review:,} to review.")
    if outcome.groups:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(outcome.groups.items()))
        console.print(f"Groups: {kinds}.")
    if outcome.flipped:
        console.print("The right side prints amounts with the other sign; it was turned.")
    for note in outcome.notes:
        console.print(note)
    uncertain = [row for row in outcome.least_certain if row["status"] == "review"]
    for row in uncertain:
        console.print(
            Text(plain(f"{row['left_id']} and {row['right_id']}: {row['posterior']:.2f}"))
        )
        console.print(waterfall({t: row[f"{t}_term"] for t in TERMS if f"{t}_term" in row}))
    console.print(f"Written to {plain(out)} in {seconds:.1f} s.", markup=False)


def show_scores(console: Console, outcome: "Scored", out: Path, seconds: float) -> None:
    """How many charges score high, which patterns there are, and the charges to look at first."""
    console.print(f"{outcome.rows:,} charges scored, {outcome.rejected:,} set aside.")
    above = ", ".join(f"{found:,} above {score}" for score, found in outcome.above.items())
    console.print(f"Scores: {above}.")
    patterns = [f"{n:,} {name.replace('_', ' ')}" for name, n in outcome.patterns.items() if n]
    console.print(f"Patterns, habits left out: {', '.join(patterns) or 'none'}.")
    for sentence in outcome.benford.sentences():
        console.print(sentence)
    odd = outcome.benford.odd_parts
    if odd:
        named = ", ".join(
            f"{part.by} {part.name[:60] or '(none)'} ({part.first.deviation:.4f})"
            for part in odd[:PARTS_SHOWN]
        )
        text = f"Of the largest, {len(odd)} do not conform, the furthest off: {named}."
        console.print(Text(plain(text).replace("\n", " ")))
    for row in outcome.top:
        console.print(Text(plain(f"{row['score']:5.1f}  {row['id']}")))
        for reason in filter(None, row["reasons"].split("; ")):
            console.print(Text(plain(f"       {reason}")))
    console.print(f"Written to {plain(out)} in {seconds:.1f} s.", markup=False)


def waterfall(terms: Mapping[str, float]) -> Text:
    """The terms of a pair's score as bars; to the right what speaks for the match."""
    widest = max((abs(value) for value in terms.values()), default=0) or 1
    total = sum(terms.values())
    lines: list[str] = []
    for name, value in [*terms.items(), ("sum", total)]:
        length = round(min(abs(value) / widest, 1) * 12)
        bar = "█" * length
        lines.append(
            f"  {name:<9}{value:>8.2f} {bar if value < 0 else '':>12}│{bar if value >= 0 else ''}"
        )
    return Text("\n".join(lines))
