"""Rules: what rules.yaml may say, and that every mistake in it is reported at once."""

import copy
from decimal import Decimal
from typing import Any

import pytest
import yaml

from audit_pipeline.model.errors import AuditError, RulesInvalid
from audit_pipeline.model.flag import Severity
from audit_pipeline.model.rule import parse_rules
from audit_pipeline.settings import load_rules
from audit_pipeline_tests.books_of import packaged_rules, rules_with

RULE: dict[str, Any] = {
    "title": "A rule of a test",
    "agent": "reconciliation",
    "version": 1,
    "points": 40,
    "at_least": "WARNING",
    "thresholds": {
        "limit": {
            "value": "5.10",
            "floor": 0,
            "ceiling": 10,
            "unit": "dollars",
            "reason": "It has to be something.",
        }
    },
}


def document(**changes: object) -> dict[str, Any]:
    return {"rules": {"RC-01": {**copy.deepcopy(RULE), **changes}}}


def limit(**changes: object) -> dict[str, Any]:
    return document(thresholds={"limit": {**RULE["thresholds"]["limit"], **changes}})


def mistakes_of(broken: object) -> list[str]:
    with pytest.raises(RulesInvalid) as caught:
        parse_rules(broken, "my.yaml")
    assert str(caught.value).startswith(f"my.yaml: {len(caught.value.mistakes)} mistake(s)")
    assert all(f"- {mistake}" in str(caught.value) for mistake in caught.value.mistakes)
    return caught.value.mistakes


def test_a_rule_as_it_is_written() -> None:
    """Thresholds are exact decimals; a count is an int, a share a float."""
    rule = parse_rules(document())["RC-01"]
    assert rule.value("limit") == Decimal("5.10")
    assert (rule.number("limit"), rule.whole("limit")) == (5.1, 5)
    assert rule.at_least is Severity.WARNING
    assert (rule.group, rule.protected, rule.matures_after_days, rule.says) == ("", False, 0, "")
    with pytest.raises(KeyError):
        rule.value("other")


@pytest.mark.parametrize("value", [0, 10, "0.00", 10.0])
def test_a_value_may_lie_on_its_bounds(value: object) -> None:
    assert parse_rules(limit(value=value))["RC-01"].value("limit") == Decimal(str(value))


def test_a_float_of_the_file_keeps_the_digits_that_were_written() -> None:
    document = yaml.safe_load(
        "rules: {RC-01: {title: A rule of a test, agent: escalation, version: 1,"
        " thresholds: {x: {value: 0.1, floor: 0, ceiling: 1, unit: share,"
        " reason: long enough it is}}}}"
    )
    assert parse_rules(document)["RC-01"].value("x") == Decimal("0.1")


def test_a_file_that_lacks_a_rule_or_a_threshold_says_which() -> None:
    with pytest.raises(RulesInvalid) as invalid:
        load_rules("rules: {}")
    assert "rules.AN-05: missing" in invalid.value.mistakes


@pytest.mark.parametrize(
    ("broken", "path"),
    [
        (limit(value=-1), "rules.RC-01.thresholds.limit"),
        (limit(value="10.01"), "rules.RC-01.thresholds.limit"),
        (limit(floor=6), "rules.RC-01.thresholds.limit"),
        (limit(value="lots"), "rules.RC-01.thresholds.limit.value"),
        (limit(value="NaN"), "rules.RC-01.thresholds.limit.value"),
        (limit(reason="short"), "rules.RC-01.thresholds.limit.reason"),
        (limit(colour="red"), "rules.RC-01.thresholds.limit.colour"),
        (document(points=101), "rules.RC-01.points"),
        (document(points=-1), "rules.RC-01.points"),
        (document(confidence=1.01), "rules.RC-01.confidence"),
        (document(matures_after_days=401), "rules.RC-01.matures_after_days"),
        (document(version=0), "rules.RC-01.version"),
        (document(agent="nobody"), "rules.RC-01.agent"),
        (document(at_least="HIGH"), "rules.RC-01.at_least"),
        (document(titel="A typing error"), "rules.RC-01.titel"),
        (document(title="x"), "rules.RC-01.title"),
        ({"rules": {"XX-01": RULE}}, "rules.XX-01"),
        ({"rules": {"RC-1": RULE}}, "rules.RC-1"),
        ({"rules": {}, "more": 1}, "more"),
        ({}, "rules"),
        (None, "(file)"),
        ([RULE], "(file)"),
        ("rules", "(file)"),
    ],
)
def test_a_mistake_is_named_by_its_key_path(broken: object, path: str) -> None:
    (mistake,) = mistakes_of(broken)
    assert mistake.startswith(path)


def test_all_mistakes_are_reported_at_once() -> None:
    broken = document(points=500, agent="nobody", titel="x")
    broken["rules"]["AN-01"] = {
        **RULE,
        "thresholds": {"a": {**RULE["thresholds"]["limit"], "value": 99}},
    }
    broken["rules"]["bad"] = RULE
    paths = {mistake.split(":")[0] for mistake in mistakes_of(broken)}
    assert paths >= {
        "rules.RC-01.points",
        "rules.RC-01.agent",
        "rules.RC-01.titel",
        "rules.AN-01.thresholds.a",
    }
    assert any(path.startswith("rules.bad") for path in paths)


def test_what_is_no_yaml_is_one_line_for_the_user() -> None:
    for text in ("rules: [", "\t", "rules: {a: b: c}"):
        with pytest.raises(AuditError, match="not YAML"):
            load_rules(text)
    with pytest.raises(RulesInvalid):
        load_rules("")


# ── the packaged rules ────────────────────────────────────────────────────────────────────────────


def test_packaged_rules_keep_their_order_and_cannot_be_changed() -> None:
    rules = packaged_rules()
    assert next(iter(rules))[0] == "DQ-01"
    with pytest.raises(TypeError):
        rules.by_id["DQ-01"] = rules["DQ-02"]  # pyright: ignore[reportIndexIssue]
    with pytest.raises(ValueError, match="frozen"):
        rules["DQ-01"].points = 5  # pyright: ignore[reportAttributeAccessIssue]


def test_a_floored_rule_scores_enough_to_be_seen() -> None:
    """`at_least` would be an empty promise below the lowest threshold of ES-00."""
    lowest = packaged_rules()["ES-00"].whole("info")
    for rule_id, rule in packaged_rules():
        assert rule.at_least is None or rule.points >= lowest, rule_id
        assert rule.points == 0 or rule.says, rule_id
        assert rule.points == 0 or rule.points >= lowest, rule_id


def test_the_levels_of_a_severity_are_in_order() -> None:
    bars = packaged_rules()["ES-00"]
    assert bars.whole("info") < bars.whole("warning") < bars.whole("critical")


def test_the_harness_changes_one_threshold() -> None:
    rules = rules_with(AN_06__limit=100, RC_05__points=5)
    assert (rules["AN-06"].value("limit"), rules["RC-05"].points) == (100, 5)
    assert rules["CX-02"] == packaged_rules()["CX-02"]
    with pytest.raises(RulesInvalid):
        rules_with(AN_06__limit=0)
