"""Answers of an attacker: an instance of the schema or a refusal, and nothing else."""

import json
from collections import Counter
from typing import Literal

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from audit_pipeline.adapters.llm.prompt import outward
from audit_pipeline.adapters.llm.schema import InvalidAnswer, lifted
from audit_pipeline.model.question import Endpoint
from audit_pipeline.model.untrusted import visible
from audit_pipeline_tests.hostile_answers import SEVERITIES, hostile_answers

REFS = ("f1", "f2", "f3")
ENDPOINT = Endpoint(api_key="sk-or-v1-0123456789abcdef0123456789abcdef")


class Verdict(BaseModel):
    """On one flag."""

    model_config = ConfigDict(extra="forbid")

    ref: str
    severity: Literal["INFO", "WARNING", "CRITICAL"]
    confidence: float = Field(ge=0, le=1)
    reason: str = Field(max_length=200)


class Verdicts(BaseModel):
    """What would be asked for."""

    model_config = ConfigDict(extra="forbid")

    verdicts: list[Verdict]


def read(text: str) -> Verdicts | None:
    """As the client reads it; None for a refusal."""
    try:
        return lifted(text, Verdicts, lambda inner: outward(inner, ENDPOINT))
    except InvalidAnswer as refused:
        said = str(refused)
    assert 0 < len(said) < 5_000
    return None


def check(text: str) -> str:
    """What became of it, after everything is claimed that a valid one is held to."""
    said = read(text)
    if said is None:
        return "refused"
    for verdict in said.verdicts:
        assert verdict.severity in SEVERITIES
        assert 0 <= verdict.confidence <= 1
        assert len(verdict.reason) <= 200
        assert visible(verdict.reason) == verdict.reason
        assert visible(verdict.ref) == verdict.ref
    again = said.model_dump_json()
    assert read(again) == said
    return "read" if json.loads(again)["verdicts"] else "read, empty"


@settings(max_examples=500, deadline=None)
@given(hostile_answers(REFS))
def test_a_hostile_answer_is_read_or_refused(text: str):
    check(text)


@pytest.mark.slow
def test_ten_thousand_hostile_answers():
    """And both ends are met often, so that neither is vacuous."""
    ended: Counter[str] = Counter()

    @settings(
        max_examples=10_000,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(hostile_answers(REFS))
    def all_of_them(text: str) -> None:
        ended[check(text)] += 1

    all_of_them()
    assert ended.total() >= 10_000
    assert min(ended["read"], ended["refused"]) >= 1_000


def test_the_attacks_are_among_them():
    """A strategy that had stopped to make one of these would not be noticed otherwise."""
    met: Counter[str] = Counter()

    # The same answers on every day: whether one of them is met is no matter of luck.
    @settings(max_examples=1_500, deadline=None, derandomize=True, phases=[Phase.generate])
    @given(hostile_answers(REFS))
    def look(text: str) -> None:
        said = read(text)
        refs = [verdict.ref for verdict in said.verdicts] if said else []
        met["lowered"] += bool(said) and any(v.severity == "INFO" for v in said.verdicts)
        met["unknown ref"] += bool(set(refs) - set(REFS))
        met["repeated ref"] += len(set(refs)) < len(refs)
        met["empty"] += said is not None and not refs
        met["not a number"] += "NaN" in text
        met["deep"] += "[" * 500 in text
        met["doubled key"] += '"severity": "CRITICAL", "severity"' in text

    look()
    assert not [attack for attack, times in met.items() if times == 0], met


@pytest.mark.parametrize("depth", [10, 500, 900, 2_000, 100_000])
@pytest.mark.parametrize("shape", ["[", '{"a":', '{"verdicts":[', '[{"verdicts":'])
def test_depth_is_refused(shape: str, depth: int):
    closing = "".join({"[": "]", "{": "}"}.get(c, "") for c in reversed(shape))
    for text in (shape * depth, shape * depth + "1" + closing * depth):
        for wrapped in (text, f'{{"verdicts": {text}}}', f"```json\n{text}\n```", f"So: {text}"):
            assert read(wrapped) is None


def test_the_same_key_twice_is_no_answer():
    """Which of the two a reader takes is an accident of its library."""
    twice = '{"verdicts": [{"ref": "f1", "severity": "CRITICAL", "severity": "INFO", %s}]}'
    assert read(twice % '"confidence": 1, "reason": ""') is None
    assert read('{"verdicts": [], "verdicts": []}') is None
    assert read('{"verdicts": [], "ver\u200bdicts": []}') is None
    assert read('So: {"verdicts": [], "verdicts": []}') is None


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN", "Infinity", "9" * 400, "9" * 5_000])
def test_what_is_no_number_is_refused_where_no_bound_says_so(number: str):
    class Free(BaseModel):
        value: float

    with pytest.raises(InvalidAnswer):
        lifted(f'{{"value": {number}}}', Free, str)


@pytest.mark.parametrize("unit", ["```\n", "\n", "``` ", "```a\n\n", "{", '{"a": "', "~", "} "])
def test_the_work_grows_with_the_answer(unit: str):
    """A step for each pair of places would be more than a million million."""
    long = unit * (1_000_000 // len(unit))
    assert read(long) is None
    assert read("```" + long) is None


@given(st.text(max_size=50))
def test_a_number_with_a_bound_is_within_it(text: str):
    assert read(f'{{"verdicts": [{{"ref": "f1", "confidence": {text}}}]}}') is None
