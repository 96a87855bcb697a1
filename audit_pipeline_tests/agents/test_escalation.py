"""Escalation: points add up, severity only rises with findings, explanations quote the evidence."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_pipeline.agents.escalation import (
    Subject,
    apply_escalation_rules,
    audit_days,
    confidence,
    create_flags,
    decision_chain,
    root_cause,
    severity_level,
    severity_score,
)
from audit_pipeline.agents.escalation.flags import FACT_CHARACTERS_MAX
from audit_pipeline.model.finding import Cell, Finding
from audit_pipeline.model.flag import Flag, Severity
from audit_pipeline.model.rule import Rules
from audit_pipeline_tests.books_of import AGENTS, day, packaged_rules, rules_with

RULES = packaged_rules()
FACTS = {d.rule_id: d.facts for agent in AGENTS.values() for d in agent.DETECTORS}
HOSTILE = "O'Neill {amount} {0} %s $from_on\n😀 {vendor.__class__}"

quickly = settings(max_examples=120, deadline=None, derandomize=True)


def finding(
    rule_id: str, on: int = 0, transaction_id: str = "t", values: Mapping[str, str] | None = None
) -> Finding:
    """A finding as the rule's detector would make it; its cells say `<name>!` unless told."""
    cells = [
        Cell(
            name,
            source.partition("@")[0],
            transaction_id,
            (values or {}).get(name, "2" if name == "rivals" else f"{name}!"),
        )
        for name, source in FACTS[rule_id].items()
    ]
    rule = RULES[rule_id]
    return Finding(
        day(on), transaction_id, rule_id, 1, Decimal(1), Decimal(0), rule.points, tuple(cells)
    )


def subject(
    amount: str | None = "100.00",
    vendor_id: str = "V1",
    vendor_name: str = "Acme",
    *,
    regular: bool = False,
) -> Subject:
    value = None if amount is None else Decimal(amount)
    return Subject("t", value, "business", vendor_id, vendor_name, regular)


def allowing(*names: str) -> Rules:
    rules = dict(RULES)
    rules["ES-02"] = rules["ES-02"].model_copy(update={"names": names})
    return Rules(rules)


def flag_of(*found: Finding, about: Subject | None = None, rules: Rules = RULES) -> Flag | None:
    flags = create_flags(found, {"t": about} if about else {}, rules, "small")
    assert len(flags) <= 1
    return flags[0] if flags else None


def level_of(*found: Finding, about: Subject | None = None, rules: Rules = RULES) -> int:
    flag = flag_of(*found, about=about, rules=rules)
    return flag.severity_level.rank if flag else 0


some_findings = st.lists(
    st.builds(finding, st.sampled_from(sorted(FACTS)), st.integers(0, 2)),
    max_size=6,
    unique_by=lambda f: (f.audit_on, f.rule_id),
)
subjects = st.none() | st.builds(
    subject,
    st.sampled_from([None, "100.00", "9999.99", "10000.00", "-10000.00"]),
    st.sampled_from(["V1", "V2"]),
    regular=st.booleans(),
)


# ── properties ────────────────────────────────────────────────────────────────────────────────────


@quickly
@given(some_findings, st.builds(finding, st.sampled_from(sorted(FACTS))), subjects)
def test_one_more_finding_never_lowers_a_flag(
    found: list[Finding], more: Finding, about: Subject | None
) -> None:
    """Neither its severity, nor its score, nor what the rules are sure of."""
    rules = allowing("V1")
    assert level_of(*found, about=about, rules=rules) <= level_of(
        *found, more, about=about, rules=rules
    )
    before, after = (flag_of(*x, about=about, rules=rules) for x in (found, [*found, more]))
    if before is not None and after is not None:
        assert before.severity_score <= after.severity_score
        assert before.confidence_score <= after.confidence_score


@quickly
@given(some_findings, subjects)
def test_points_add_up_to_the_score(found: list[Finding], about: Subject | None) -> None:
    """Each point is a rule's, each rule and each group is there once, and none beyond 100."""
    flag = flag_of(*found, about=about)
    if flag is None:
        assert sum(point.points for point in severity_score(found, RULES)) < 20
        return
    assert flag.severity_score == min(100, sum(point.points for point in flag.points))
    scoring = [point for point in flag.points if point.points]
    assert len({p.rule_id for p in scoring}) == len(scoring)
    groups = [RULES[p.rule_id].group or p.rule_id for p in scoring]
    assert len(set(groups)) == len(groups)
    assert all(point.points == RULES[point.rule_id].points for point in scoring)


@quickly
@given(some_findings, subjects, st.randoms(use_true_random=False))
def test_the_order_of_the_findings_does_not_matter(
    found: list[Finding], about: Subject | None, random: Random
) -> None:
    rules = allowing("V1")
    shuffled = list(found)
    random.shuffle(shuffled)
    assert flag_of(*shuffled, about=about, rules=rules) == flag_of(*found, about=about, rules=rules)


@quickly
@given(some_findings, subjects)
def test_a_protected_finding_is_never_lowered(found: list[Finding], about: Subject | None) -> None:
    """By the allow-list or by regularity: its level is at least that of its score."""
    flag = flag_of(*found, about=about, rules=allowing("V1"))
    if flag is None or not any(RULES[f.rule_id].protected for f in found):
        return
    by_score = severity_level(flag.severity_score, RULES)
    assert by_score is not None
    assert flag.severity_level.rank >= by_score.rank
    assert not {"ES-02", "ES-03"} & {point.rule_id for point in flag.points}


@quickly
@given(some_findings, subjects)
def test_nothing_brings_a_flag_below_its_floor(found: list[Finding], about: Subject | None) -> None:
    """What `at_least` says of a rule: neither the allow-list nor regularity go below it."""
    floors = [RULES[f.rule_id].at_least for f in found]
    highest = max((floor.rank for floor in floors if floor), default=0)
    assert level_of(*found, about=about, rules=allowing("V1")) >= highest


@quickly
@given(some_findings)
def test_an_explanation_says_rules_and_cells_and_nothing_else(found: list[Finding]) -> None:
    """Every word in it stands in a rule's sentence or in a cell of the evidence."""
    text = root_cause(found, RULES)
    words = {"(And", "more.)", "related", "document(s)", "attached.", "1", "2", "3", "4", "5", "6"}
    for each in found:
        values = {cell.name: cell.value for cell in each.evidence}
        words |= set(RULES[each.rule_id].says.format_map(values).split())
    assert set(text.split()) <= words


# ── levels ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("score", "level"),
    [
        (0, None),
        (19, None),
        (20, Severity.INFO),
        (49, Severity.INFO),
        (50, Severity.WARNING),
        (79, Severity.WARNING),
        (80, Severity.CRITICAL),
        (100, Severity.CRITICAL),
    ],
)
def test_the_thresholds_of_the_levels_are_inclusive(score: int, level: Severity | None) -> None:
    assert severity_level(score, RULES) == level


def test_rules_of_one_group_count_once() -> None:
    """The highest of them; rules without a group count each."""
    points = severity_score([finding("RC-01"), finding("RC-03"), finding("AN-03")], RULES)
    assert [(p.rule_id, p.points) for p in points] == [("RC-03", 50), ("AN-03", 20)]
    assert severity_score([], RULES) == ()


def test_a_rule_that_hit_on_two_days_counts_once() -> None:
    """In the points, and in how sure the rules are."""
    once, twice = [finding("AN-03")], [finding("AN-03"), finding("AN-03", on=9)]
    assert severity_score(twice, RULES) == severity_score(once, RULES)
    assert confidence(twice, RULES) == confidence(once, RULES)


def test_a_rule_with_a_floor_raises_a_flag_whatever_its_points() -> None:
    """One flag per transaction whose points reach INFO, or that a rule floors."""
    rules = rules_with(AN_06__points=5)
    flag = flag_of(replace(finding("AN-06"), score=5), rules=rules)
    assert flag is not None
    assert flag.severity_level is Severity.WARNING


@pytest.mark.parametrize(
    ("amount", "level"),
    [
        ("9999.99", Severity.WARNING),
        ("10000.00", Severity.CRITICAL),
        ("-10000.00", Severity.CRITICAL),
        (None, Severity.WARNING),
    ],
)
def test_es01_raises_a_warning_of_a_material_amount(amount: str | None, level: Severity) -> None:
    flag = flag_of(finding("AN-05"), about=subject(amount))
    assert flag is not None
    assert flag.severity_level is level


def test_es01_leaves_an_info_alone() -> None:
    flag = flag_of(finding("AN-03"), about=subject("50000.00"))
    assert flag is not None
    assert flag.severity_level is Severity.INFO


@pytest.mark.parametrize("names", [("V1",), ("Acme",), ()])
def test_es02_lowers_an_allow_listed_vendor(names: tuple[str, ...]) -> None:
    """By its id or by its name, one level; an empty list lowers nobody."""
    found = [finding("AN-01"), finding("AN-02")]
    flag = flag_of(*found, about=subject(), rules=allowing(*names))
    assert flag is not None
    assert flag.severity_score == 70
    assert flag.severity_level is (Severity.INFO if names else Severity.WARNING)
    assert ("ES-02" in {point.rule_id for point in flag.points}) is bool(names)


def test_es03_lowers_a_regular_payment() -> None:
    level, steps = apply_escalation_rules(
        Severity.CRITICAL, subject(regular=True), [finding("AN-07")], RULES
    )
    assert level is Severity.WARNING
    assert [step.rule_id for step in steps] == ["ES-03"]


def test_an_unknown_transaction_is_neither_lowered_nor_raised() -> None:
    """A statement line without a ledger entry has findings and no subject."""
    level, steps = apply_escalation_rules(Severity.INFO, None, [finding("RC-04")], RULES)
    assert level is Severity.WARNING
    assert [(s.rule_id, s.points) for s in steps] == [("RC-04", 0)]


@pytest.mark.parametrize("rule_id", ["DQ-03", "DQ-05", "DQ-06", "RC-02", "AN-05"])
def test_settlement_duplicates_and_data_quality_are_protected(rule_id: str) -> None:
    """What the escalation of the specification never lowers."""
    rules = allowing("V1")
    level, _ = apply_escalation_rules(
        Severity.WARNING, subject(regular=True), [finding(rule_id)], rules
    )
    assert level is Severity.WARNING


# ── confidence ────────────────────────────────────────────────────────────────────────────────────


def test_confidence_is_one_minus_the_chance_that_all_are_wrong() -> None:
    assert confidence([finding("AN-03")], RULES) == 0.6
    assert confidence([finding("AN-03"), finding("AN-02")], RULES) == 0.88
    assert confidence([], RULES) == 0.0


@pytest.mark.parametrize(("rivals", "sure"), [("0", 0.9), ("1", 0.45), ("8", 0.1)])
def test_rivals_share_the_confidence(rivals: str, sure: float) -> None:
    assert confidence([finding("RC-02", values={"rivals": rivals})], RULES) == sure


# ── explanations ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("rule_id", sorted(FACTS))
def test_every_rule_says_what_its_cells_say(rule_id: str) -> None:
    """A hostile value is quoted in one line and never read as a template."""
    quoted = HOSTILE.replace("\n", " ")
    values = dict.fromkeys(FACTS[rule_id], HOSTILE) | {"rivals": "1"}
    flag = flag_of(finding(rule_id, values=values), about=None)
    assert flag is not None
    assert quoted in flag.explanation
    assert flag.explanation == RULES[rule_id].says.format_map(
        {name: quoted if values[name] == HOSTILE else values[name] for name in FACTS[rule_id]}
    )


def test_hidden_characters_and_long_texts_of_a_fact_stay_out_of_the_explanation() -> None:
    """The evidence keeps them."""
    vendor = "\x00ACME\u202e\x1b[31m\u200b\x07 \u2066Corp\U000e0041\r\n" + "x" * 9_999
    flag = flag_of(finding("AN-05", values={"vendor": vendor}))
    assert flag is not None
    assert "ACME[31m Corp xxx" in flag.explanation
    assert flag.explanation.isprintable()
    assert len(flag.explanation) < FACT_CHARACTERS_MAX + 200
    assert vendor in {cell.value for f in flag.findings for cell in f.evidence}


def test_four_sentences_and_how_many_more() -> None:
    """The weightiest first."""
    found = [finding(r) for r in ("AN-03", "AN-01", "AN-02", "AN-05", "AN-07", "AN-04")]
    text = root_cause(found, RULES)
    cells = {cell.name: cell.value for cell in found[3].evidence}
    assert text.startswith(RULES["AN-05"].says.format_map(cells))
    assert text.endswith("(And 2 more.)")
    assert root_cause([], RULES) == ""


def test_documents_are_counted_and_never_scored() -> None:
    cells = tuple(Cell("email", "gold.emails.body", f"e{n}", "text") for n in range(2))
    documents = Finding(day(0), "t", "CX-04", 1, Decimal(2), Decimal(0), 0, cells)
    flag = flag_of(finding("AN-03"), documents)
    assert flag is not None
    assert flag.severity_score == 20
    assert flag.explanation.endswith("2 related document(s) attached.")
    assert "gold.emails/e0" in flag.links
    assert flag_of(documents) is None


# ── flags ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_flag_per_transaction_in_order() -> None:
    found = [finding("AN-03", 3, "b"), finding("AN-03", 1, "a"), finding("AN-02", 5, "a")]
    flags = create_flags(found, {}, RULES, "small")
    assert [(f.transaction_id, f.audit_on, f.severity_score) for f in flags] == [
        ("a", day(5), 50),
        ("b", day(3), 20),
    ]
    assert [f.rule_id for f in flags[0].findings] == ["AN-03", "AN-02"]
    assert audit_days(flags) == {day(5), day(3)}
    assert create_flags([], {}, RULES, "small") == []


def test_links_are_gold_cells_once_each() -> None:
    flag = flag_of(finding("AN-03"), finding("AN-02"))
    assert flag is not None
    assert flag.links == ("gold.recent_transactions/t",)


def test_the_decision_chain_ends_with_the_severity() -> None:
    flag = flag_of(finding("AN-05"), about=subject("20000.00"))
    assert flag is not None
    assert decision_chain(flag) == (
        "AN-05 +50 The same charge twice under different ids",
        "ES-01 20,000.00 is at or above 10,000",
        "score 50 → CRITICAL",
    )
    assert isinstance(flag.audit_on, dt.date)
