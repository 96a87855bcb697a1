"""Findings in, flags out. Every point of a severity is attributed to a rule.

Source: the specification's escalation agent. The severity is what the rules found; nothing after
them lowers a flag that a settlement or duplicate finding protects. Explanations are templates
filled from the evidence, so every number in them is a cell of a table.
"""

import datetime as dt
from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from audit_pipeline.model.flag import Charge, Flag, Point, Severity, flag_id
from audit_pipeline.model.untrusted import in_one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from audit_pipeline.model.finding import Finding
    from audit_pipeline.model.rule import Rules

SCORE_MAX = 100
EXPLANATION_PARTS_MAX = 4
AMOUNT_MAX = Decimal(10) ** 16
"""What the ledger's decimal(18,2) holds."""
FACT_CHARACTERS_MAX = 500
"""Of one fact in an explanation; the evidence has it in full."""
LOWERED = {
    Severity.CRITICAL: Severity.WARNING,
    Severity.WARNING: Severity.INFO,
    Severity.INFO: Severity.INFO,
}


@dataclass(frozen=True)
class Subject:
    """What escalation rules need to know of a transaction, beside its findings.

    Attributes:
        amount: as in the ledger; None for one that could not be read.
        regular: a recurring payment, on time and within ES-03's share of its usual amount.
    """

    transaction_id: str
    amount: Decimal | None
    domain: str
    vendor_id: str
    vendor_name: str
    regular: bool


def severity_score(findings: "Sequence[Finding]", rules: "Rules") -> tuple[Point, ...]:
    """The points of a transaction, largest first; rules of one group count once.

    Args:
        findings: of one transaction; a rule that hit on two days counts once.
        rules: points and groups.
    """
    best: dict[str, Point] = {}
    for finding in findings:
        rule = rules[finding.rule_id]
        group = rule.group or finding.rule_id
        point = Point(finding.rule_id, finding.score, rule.title)
        if group not in best or (point.points, finding.rule_id) > (
            best[group].points,
            best[group].rule_id,
        ):
            best[group] = point
    scoring = [point for point in best.values() if point.points > 0]
    return tuple(sorted(scoring, key=lambda p: (-p.points, p.rule_id)))


def severity_level(score: int, rules: "Rules") -> Severity | None:
    """The specification's thresholds (80, 50, 20); None below the lowest."""
    bars = rules["ES-00"]
    if score >= bars.whole("critical"):
        return Severity.CRITICAL
    if score >= bars.whole("warning"):
        return Severity.WARNING
    return Severity.INFO if score >= bars.whole("info") else None


def apply_escalation_rules(
    level: Severity, subject: Subject | None, findings: "Sequence[Finding]", rules: "Rules"
) -> tuple[Severity, list[Point]]:
    """Floors, then what lowers, then what raises; each step that changed something is a point.

    A flag with a protected finding (settlement, duplicate, data quality) is never lowered.
    """
    steps: list[Point] = []
    floor, floored_by = _floor(findings, rules)
    if floor is not None and floor.rank > level.rank:
        level = floor
        steps.append(Point(floored_by, 0, f"at least {floor}"))
    if subject is None:
        return level, steps
    protected = any(rules[finding.rule_id].protected for finding in findings)
    if not protected:
        allowed = rules["ES-02"].names
        if subject.vendor_id in allowed or subject.vendor_name in allowed:
            level = _lowered(level, floor)
            steps.append(Point("ES-02", 0, f"allow-listed vendor, lowered to {level}"))
        if subject.regular:
            level = _lowered(level, floor)
            steps.append(Point("ES-03", 0, f"regular recurring payment, lowered to {level}"))
    critical_amount = rules["ES-01"].value("critical_amount")
    amount = subject.amount
    if level is Severity.WARNING and amount is not None and abs(amount) >= critical_amount:
        level = Severity.CRITICAL
        steps.append(Point("ES-01", 0, f"{amount:,} is at or above {critical_amount:,}"))
    return level, steps


def _floor(findings: "Sequence[Finding]", rules: "Rules") -> tuple[Severity | None, str]:
    """The highest floor that a finding's rule sets, and which rule that is."""
    floors = [
        (floor.rank, finding.rule_id, floor)
        for finding in findings
        if (floor := rules[finding.rule_id].at_least) is not None
    ]
    if not floors:
        return None, ""
    _, rule_id, floor = max(floors)
    return floor, rule_id


def _lowered(level: Severity, floor: Severity | None) -> Severity:
    """One level down, and never below a rule's floor."""
    lower = LOWERED[level]
    return floor if floor is not None and floor.rank > lower.rank else lower


def confidence(findings: "Sequence[Finding]", rules: "Rules") -> float:
    """How sure the rules are, 0 to 1: one minus the chance that all of them are wrong.

    A rule that hit on two days counts once. Where a finding has rivals (other sets of charges that
    explain it as well), its confidence is shared among them.
    """
    best: dict[str, float] = {}
    for finding in findings:
        if finding.score == 0:
            continue
        rivals = next((int(c.value) for c in finding.evidence if c.name == "rivals"), 0)
        sure = rules[finding.rule_id].confidence / (1 + rivals)
        best[finding.rule_id] = max(sure, best.get(finding.rule_id, 0.0))
    doubt = 1.0
    for rule_id in sorted(best):
        doubt *= 1 - best[rule_id]
    return round(1 - doubt, 2)


class _Facts(dict[str, str]):
    """The facts of a finding; one that a rules file names and the finding lacks shows as `?`."""

    def __missing__(self, key: str) -> str:
        return "?"


def root_cause(findings: "Sequence[Finding]", rules: "Rules") -> str:
    """The explanation: the rules' own sentences, the weightiest first, filled from the evidence.

    Facts are untrusted text: control and bidirectional characters of one never reach a sentence.
    """
    said: dict[str, str] = {}
    for finding in sorted(findings, key=lambda f: (-f.score, f.rule_id, -f.audit_on.toordinal())):
        template = rules[finding.rule_id].says
        if template and finding.score > 0 and finding.rule_id not in said:
            said[finding.rule_id] = template.format_map(
                _Facts(
                    {
                        cell.name: in_one_line(cell.value, FACT_CHARACTERS_MAX)
                        for cell in finding.evidence
                    }
                )
            )
    sentences = list(said.values())
    rest = len(sentences) - EXPLANATION_PARTS_MAX
    more = [f"(And {rest} more.)"] if rest > 0 else []
    attached = {cell for f in findings if f.rule_id == "CX-04" for cell in f.evidence}
    related = [f"{len(attached)} related document(s) attached."] if attached else []
    return " ".join([*sentences[:EXPLANATION_PARTS_MAX], *more, *related])


def create_flags(
    findings: "Iterable[Finding]",
    subjects: "Mapping[str, Subject]",
    rules: "Rules",
    population: str,
    charges: "Mapping[str, Charge] | None" = None,
) -> list[Flag]:
    """One flag per transaction whose points reach INFO, or that a rule floors.

    Args:
        findings: all that are known of the transactions, of this and of earlier audit dates.
        subjects: by transaction id; missing for entries that are not in the population.
        rules: points, floors, thresholds.
        population: the audited population, part of a flag's id.
        charges: by transaction id; missing for what is in no book.

    Returns:
        Ordered by transaction id; the same for any order of the findings.
    """
    by_transaction: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        by_transaction[finding.transaction_id].append(finding)
    flags: list[Flag] = []
    for transaction_id in sorted(by_transaction):
        own = sorted(by_transaction[transaction_id], key=lambda f: (f.audit_on, f.rule_id))
        subject, charge = subjects.get(transaction_id), (charges or {}).get(transaction_id)
        flag = _flag(transaction_id, own, subject, charge, rules, population)
        if flag is not None:
            flags.append(flag)
    return flags


def _flag(
    transaction_id: str,
    findings: "list[Finding]",
    subject: Subject | None,
    charge: Charge | None,
    rules: "Rules",
    population: str,
) -> Flag | None:
    points = severity_score(findings, rules)
    score = min(SCORE_MAX, sum(point.points for point in points))
    level = severity_level(score, rules) or _floor(findings, rules)[0]
    if level is None:
        return None
    level, steps = apply_escalation_rules(level, subject, findings, rules)
    links = sorted(
        {
            f"{cell.source.rpartition('.')[0]}/{cell.row_id}"
            for finding in findings
            for cell in finding.evidence
            if cell.source.startswith("gold.") and cell.row_id
        }
    )
    return Flag(
        flag_id=flag_id(transaction_id, population),
        transaction_id=transaction_id,
        population=population,
        audit_on=max(finding.audit_on for finding in findings),
        severity_level=level,
        severity_score=score,
        confidence_score=confidence(findings, rules),
        explanation=root_cause(findings, rules),
        links=tuple(links),
        points=(*points, *steps),
        findings=tuple(findings),
        charge=charge or _charge(findings),
    )


def _charge(findings: "list[Finding]") -> Charge:
    """As much as the evidence says of what is in no book: a row that could not be read."""
    said: dict[str, str] = {}
    for finding in sorted(findings, key=lambda f: (f.score, f.audit_on)):
        said |= {cell.name: cell.value for cell in finding.evidence}
    return Charge(
        vendor=said.get("vendor", ""),
        amount=_amount(said.get("amount", "")),
        occurred_on=_day(said.get("charged_on") or said.get("dated", "")),
    )


def _amount(text: str) -> Decimal | None:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and abs(amount) < AMOUNT_MAX else None


def _day(text: str) -> dt.date | None:
    try:
        return dt.date.fromisoformat(text[:10])
    except ValueError:
        return None


def decision_chain(flag: Flag) -> tuple[str, ...]:
    """The steps from findings to severity, for the trail: one line each, in order."""
    points = [f"{p.rule_id} +{p.points} {p.reason}" for p in flag.points if p.points]
    steps = [f"{p.rule_id} {p.reason}" for p in flag.points if not p.points]
    total = f"score {flag.severity_score} → {flag.severity_level}"
    return (*points, *steps, total)


def audit_days(flags: "Iterable[Flag]") -> set[dt.date]:
    """The audit dates on which these flags were last touched."""
    return {flag.audit_on for flag in flags}
