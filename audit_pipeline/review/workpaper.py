"""A workpaper: a period, or a selection of flags, with all that an outside auditor asks for.

What was received and what became of it, what was left out and why, the rules in force, every flag
with its evidence and what people said, the queries that re-perform it, and the signed state of the
trail. It is read in one state of the store.
"""

import datetime as dt
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from audit_pipeline.adapters.store.papers import Papers, Selection, read_papers
from audit_pipeline.adapters.trail.folder import TrailFolder
from audit_pipeline.model.flag import Severity
from audit_pipeline.review.of_flags import (
    DAY,
    RULE,
    comments_sheet,
    decisions_sheet,
    evidence_sheet,
    findings_sheet,
    flags_sheet,
    score_parts_sheet,
)
from audit_pipeline.review.paper import RECOMPUTE, Column, Kind, Sheet, manifest

if TYPE_CHECKING:
    from audit_pipeline.adapters.store import Store
    from audit_pipeline.adapters.store.papers import FlagFinding
    from audit_pipeline.adapters.store.rows import PartitionRow
    from audit_pipeline.settings import Settings

PURPOSE = (
    "To show what the continuous audit flagged in this period, on which evidence, and how each "
    "flag was decided."
)
PURPOSE_CHARACTERS_MAX = 1_000
BY_HAND = (
    "The sheet Queries has each finding's SQL, its parameters and the snapshot that it was asked "
    "of; the sheet Findings has what it measured."
)
READING = (
    "Amounts are in the company's own currency. A flag is dated by its latest finding, the sheet "
    "Population by the day of the entry, so their numbers differ. A superseded flag is one whose "
    "findings are gone. Characters that cannot be seen are shown as \ufffd."
)


@dataclass(frozen=True)
class Prepared:
    """Who made the paper, when and what for.

    Attributes:
        at: UTC, to the second; the only thing in a paper that the store does not decide.
    """

    by: str
    at: dt.datetime
    purpose: str = PURPOSE


@dataclass(frozen=True)
class Workpaper:
    """The sheets in their order, the manifest last.

    Attributes:
        from_on: the first audit date that is covered; `to_on` is the last.
    """

    prepared: Prepared
    from_on: dt.date
    to_on: dt.date
    flags: int
    sheets: tuple[Sheet, ...]

    @property
    def sha256(self) -> str:
        """Of the whole paper, as its manifest says."""
        return str(self.sheets[-1].rows[-1][-1])

    def __getitem__(self, name: str) -> Sheet:
        return next(sheet for sheet in self.sheets if sheet.name == name)


def workpaper(
    store: "Store", settings: "Settings", asked: Selection, prepared: Prepared
) -> Workpaper:
    """The paper of a selection.

    Args:
        settings: where the rules files and the signed checkpoints lie.

    Raises:
        BadUsage: nothing is asked for, or too much.
        FlagUnknown: a named flag is not there.
    """
    papers = read_papers(store, asked)
    body = (
        _population(papers.partitions),
        _exclusions(papers.quarantine_findings),
        _rules(papers),
        flags_sheet(papers.flags, papers.decisions),
        score_parts_sheet(papers.flags),
        findings_sheet(papers.findings),
        evidence_sheet(papers.findings),
        decisions_sheet(papers),
        comments_sheet(papers),
        _queries(papers),
        _trail(papers, settings),
    )
    sheets = (_cover(papers, asked, prepared, settings), *body)
    return Workpaper(
        prepared, papers.from_on, papers.to_on, len(papers.flags), (*sheets, manifest(sheets))
    )


# ── what it is of ───────────────────────────────────────────────────────────────────────────────


def _cover(papers: Papers, asked: Selection, prepared: Prepared, settings: "Settings") -> Sheet:
    levels = Counter(flag.severity_level for flag in papers.flags)
    states = Counter(str(flag.state) for flag in papers.flags)
    days = papers.partitions
    held = sum(day.quarantined for day in days)
    named = len({(f.population, f.finding.transaction_id) for f in papers.quarantine_findings})
    populations = sorted({day.population for day in days} | {f.population for f in papers.flags})
    selection = f"all {papers.flags_of_days:,} flags dated on these days"
    if asked.flag_ids:
        selection = f"those that were named, of {papers.flags_of_days:,} dated on these days"
    rows: list[tuple[str, object]] = [
        ("workpaper", "Flags of the continuous audit"),
        ("population", "; ".join(populations)),
        ("first day", papers.from_on),
        ("last day", papers.to_on),
        ("purpose", prepared.purpose),
        ("prepared by", prepared.by),
        ("prepared at (UTC)", prepared.at.astimezone(dt.UTC)),
        ("flags", len(papers.flags)),
        ("selection", selection),
        *((f"flags, {level}", levels[level]) for level in Severity),
        *((f"flags, {state}", count) for state, count in sorted(states.items())),
        ("received", sum(day.transactions for day in days)),
        ("received, amount", _sum(days, "amount")),
        ("flagged", sum(day.flagged for day in days)),
        ("flagged, amount", _sum(days, "flagged_amount")),
        ("cleared", sum(day.cleared for day in days)),
        ("cleared, amount", _sum(days, "cleared_amount")),
        ("quarantined", held),
        ("quarantined, amount", _sum(days, "quarantined_amount")),
        ("sum check", _sum_check(days)),
        ("exclusions", f"{held:,} entries were set aside; {named:,} of them are listed with why"),
        *_rules_files(papers, settings),
        *_conventions(papers, asked),
    ]
    return Sheet.of("Cover", (Column("item", width=24), Column("said", width=100)), rows)


def _conventions(papers: Papers, asked: Selection) -> Iterator[tuple[str, object]]:
    again = f"audit-pipeline workpaper --from {papers.from_on} --to {papers.to_on} --out FILE.xlsx"
    if asked.flag_ids:
        again = "audit-pipeline workpaper --flag FLAG_ID --flag … --out FILE.xlsx"
    yield "re-perform a flag", "audit-pipeline reperform FLAG_ID --sql"
    yield "re-perform by hand", BY_HAND
    yield "verify the trail", "audit-pipeline verify --key THE_PUBLIC_KEY_THAT_YOU_TRUST"
    yield "make this paper again", again
    yield "recompute the manifest", RECOMPUTE
    yield "reading it", READING


def _rules_files(papers: Papers, settings: "Settings") -> Iterator[tuple[str, object]]:
    """The rules files that the queries name, each with its digest where it is still kept."""
    named = {
        str(query.tables["rules"])
        for query in papers.queries
        if isinstance(query.tables, Mapping) and "rules" in query.tables
    }
    for name in sorted(named):
        file = settings.data_dir / "rules" / f"{name}.yaml"
        try:
            yield "rules file", f"{name}, SHA-256 {hashlib.sha256(file.read_bytes()).hexdigest()}"
        except OSError:
            yield "rules file", f"{name}, which is not kept here any more"


def _sum(days: "Iterable[PartitionRow]", name: str) -> Decimal:
    return sum((getattr(day, name) for day in days), Decimal("0.00"))


def _sum_check(days: "list[PartitionRow]") -> str:
    wrong = [day for day in days if any(_differences(day))]
    if wrong:
        return f"{len(wrong):,} of {len(days):,} days DO NOT add up; see the sheet Population"
    return (
        "flagged + cleared + quarantined = received, by count and amount, "
        f"on each of {len(days):,} days"
    )


def _differences(day: "PartitionRow") -> tuple[int, Decimal]:
    return (
        day.transactions - day.flagged - day.cleared - day.quarantined,
        day.amount - day.flagged_amount - day.cleared_amount - day.quarantined_amount,
    )


_LEDGER = ("transactions", "flagged", "cleared", "quarantined")
_AMOUNTS = ("amount", "flagged_amount", "cleared_amount", "quarantined_amount")


def _population(days: "list[PartitionRow]") -> Sheet:
    columns = [Column("population", width=20), DAY]
    for name in ("received", "flagged", "cleared", "quarantined"):
        columns += [Column(name, Kind.COUNT), Column(f"{name} amount", Kind.MONEY, 16)]
    columns += [Column("difference", Kind.COUNT), Column("difference amount", Kind.MONEY, 16)]
    columns.append(Column("audit run", width=38))
    rows: list[tuple[object, ...]] = []
    for population in dict.fromkeys(day.population for day in days):
        own = [day for day in days if day.population == population]
        rows += [(population, day.audit_on, *_figures([day]), day.audit_run_id) for day in own]
        rows.append((f"total of {population}", None, *_figures(own), None))
    return Sheet.of("Population", columns, rows)


def _figures(days: "list[PartitionRow]") -> list[object]:
    """Count and amount of each disposition, and what does not add up."""
    figures: list[object] = []
    for count, amount in zip(_LEDGER, _AMOUNTS, strict=True):
        figures += [sum(getattr(day, count) for day in days), _sum(days, amount)]
    differences = [_differences(day) for day in days]
    return [
        *figures,
        sum(count for count, _ in differences),
        sum((amount for _, amount in differences), Decimal("0.00")),
    ]


def _exclusions(found: "list[FlagFinding]") -> Sheet:
    columns = (
        Column("population", width=20),
        DAY,
        Column("transaction", width=24),
        RULE,
        Column("reason", width=36),
        Column("facts", width=80),
    )
    rows = [
        (
            one.population,
            one.finding.audit_on,
            one.finding.transaction_id,
            one.finding.rule_id,
            "; ".join(cell.value for cell in one.finding.evidence if cell.name == "reason"),
            "\n".join(f"{cell.name}: {cell.value}" for cell in one.finding.evidence),
        )
        for one in found
    ]
    return Sheet.of("Exclusions", columns, rows)


def _rules(papers: Papers) -> Sheet:
    columns = (
        RULE,
        Column("version", Kind.COUNT, 8),
        Column("status", width=10),
        Column("findings here", Kind.COUNT),
        Column("thresholds", width=50),
        Column("content SHA-256", width=66),
        Column("reason", width=24),
        Column("proposed by", width=18),
        Column("proposed at (UTC)", Kind.INSTANT, 20),
        Column("approved by", width=18),
        Column("approved at (UTC)", Kind.INSTANT, 20),
    )
    used = Counter((f.finding.rule_id, f.finding.rule_version) for f in papers.findings)
    rows = [
        (
            rule.rule_id,
            rule.rule_version,
            rule.status,
            used[rule.rule_id, rule.rule_version],
            "\n".join(f"{name} = {value}" for name, value in json.loads(rule.thresholds).items()),
            rule.content_sha256,
            rule.reason,
            rule.proposed_by,
            rule.proposed_at,
            rule.approved_by,
            rule.approved_at,
        )
        for rule in papers.rule_versions
    ]
    return Sheet.of("Rules", columns, rows)


# ── what shows it ───────────────────────────────────────────────────────────────────────────────


def _queries(papers: Papers) -> Sheet:
    columns = (
        Column("query id", width=66),
        RULE,
        Column("snapshot", width=24),
        Column("parameters", width=50),
        Column("read", width=50),
        Column("SQL", width=100),
    )
    rows = [
        (
            query.query_id,
            query.rule_id,
            query.snapshot_id,
            _json(query.parameters),
            _json(query.tables),
            query.sql,
        )
        for query in papers.queries
    ]
    return Sheet.of("Queries", columns, rows)


def _json(document: Any) -> str:
    return json.dumps(document, sort_keys=True, ensure_ascii=True)


def _trail(papers: Papers, settings: "Settings") -> Sheet:
    columns = (
        Column("item", width=24),
        Column("said", width=80),
        Column("first entry", Kind.COUNT),
        Column("last entry", Kind.COUNT),
        Column("entries", Kind.COUNT),
    )
    sealed = papers.checkpoint
    rows: list[tuple[object, ...]] = []
    if sealed is None:
        rows.append(("checkpoint", "nothing of the trail is signed yet", None, None, None))
    else:
        rows += [
            ("checkpoint", "the longest signed state", 1, sealed.tree_size, sealed.tree_size),
            ("root hash", sealed.root_hash, None, None, None),
            ("key id", sealed.key_id, None, None, None),
            ("signed at (UTC)", f"{sealed.created_at:%Y-%m-%dT%H:%M:%SZ}", None, None, None),
            ("checkpoint file", _note(settings, sealed.tree_size), None, None, None),
        ]
    rows += [
        ("audit run", one.audit_run_id, one.first_number, one.last_number, one.entries)
        for one in papers.trail
    ]
    return Sheet.of("Trail", columns, rows)


def _note(settings: "Settings", tree_size: int) -> str:
    """The signed note as it lies outside the database."""
    try:
        return TrailFolder(settings.trail_dir).file(tree_size).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return "it cannot be read where checkpoints are kept"
