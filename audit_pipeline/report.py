"""What a person reads in the terminal after an audit: flags, ledger, sources, planted faults."""

import json
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from audit_pipeline.adapters.fixtures import FileRead
from audit_pipeline.adapters.store.rows import FlagRow, PartitionRow
from audit_pipeline.model.finding import Finding
from audit_pipeline.model.rule import Rules

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


def show_sources(console: Console, files: Sequence[FileRead]) -> None:
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


def show_ledger(console: Console, days: Sequence[PartitionRow]) -> None:
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


def show_flags(console: Console, flags: Sequence[FlagRow], shown_max: int) -> None:
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


def show_flag(console: Console, flag: FlagRow, findings: Sequence[Finding], rules: Rules) -> None:
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
        points.add_row(point.rule_id, f"{point.points:+d}" if point.points else "", point.reason)
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
    folder: Path, flags: Sequence[FlagRow], rules_of: Mapping[str, set[str]]
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
        planted_ids |= set(ids)
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
