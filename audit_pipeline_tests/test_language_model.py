"""A whole audit that asks a language model: over HTTP, within its share and budget, or replayed.

The model is a stand-in behind the tests' endpoint (`stand_in_model.py`), the client the real one.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from audit_pipeline.adapters.llm.replay import write_recording
from audit_pipeline.agents.escalation import is_raised
from audit_pipeline.model.flag import Point, Severity
from audit_pipeline_tests.environment import DAYS, ROOT, Command, Row, Workplace, day, why_not
from audit_pipeline_tests.model_server import Asked, model_server, status
from audit_pipeline_tests.stand_in_model import CAREFUL, STRICT, StandIn

DEMO = ROOT / "fixtures" / "demo"
KEY = "sk-or-v1-0123456789abcdef0123456789abcdef"
FROM, TO = day("2026-02-01"), day("2026-02-28")
SHARE_MAX, DOLLARS_MAX = 0.03, 0.10
Number = int | float


@dataclass(frozen=True)
class Audited:
    """An audit of the demo company's February, and what it asked."""

    place: Workplace
    metadata: dict[str, Any]
    asked: Sequence[Asked]

    @property
    def flags(self) -> dict[str, Row]:
        return {row["flag_id"]: row for row in self.place.flags()}


def audit(home: Path, **settings: str) -> dict[str, Any]:
    """One run with these settings; what Dagster shows of the escalated flags."""
    place = Workplace(home, DEMO)
    with pytest.MonkeyPatch.context() as patched:
        for name, value in settings.items():
            patched.setenv(name, value)
        with place.instance() as instance:
            result = place.audit(instance, FROM, TO)
    assert result.success, why_not(result)
    (event,) = [
        event
        for event in result.get_asset_materialization_events()
        if event.asset_key is not None and event.asset_key.path == ["escalated_flags"]
    ][:1]
    return {name: entry.value for name, entry in event.materialization.metadata.items()}


def asking(home: Path, model: StandIn) -> Audited:
    """The audit with a stand-in that answers over HTTP."""
    with model_server() as server:
        server.plans = [model]
        metadata = audit(home, OPENROUTER_API_KEY=KEY, LLM_BASE_URL=server.url)
        return Audited(Workplace(home, DEMO), metadata, list(server.asked))


@pytest.fixture(scope="module")
def off(tmp_path_factory: pytest.TempPathFactory) -> Audited:
    home = tmp_path_factory.mktemp("off")
    return Audited(Workplace(home, DEMO), audit(home), [])


@pytest.fixture(scope="module")
def careful(tmp_path_factory: pytest.TempPathFactory) -> Audited:
    return asking(tmp_path_factory.mktemp("careful"), CAREFUL)


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Audited:
    return asking(tmp_path_factory.mktemp("strict"), STRICT)


def test_without_a_key_nothing_is_asked_and_the_trail_says_so(off: Audited) -> None:
    assert off.place.rows("llm_calls") == []
    with off.place.store() as store:
        (event,) = [e for e in store.trail() if e.document["tool_called"] == "classify_uncertain"]
    summary = json.loads(event.document["output_summary"])
    assert summary == {"model_off": off.metadata["model_off"]}
    assert summary["model_off"] > 0
    assert off.metadata["escalation_model_cost_dollars"] == 0
    assert off.metadata["escalation_model_share_of_transactions"] == 0


def test_few_transactions_reach_it_for_few_cents(careful: Audited) -> None:
    """Tokens are a quarter of the bytes here; a real model counts its own."""
    shown = careful.metadata
    assert 0 < shown["escalation_model_share_of_transactions"] <= SHARE_MAX
    assert 0 < shown["escalation_model_cost_dollars"] <= DOLLARS_MAX
    assert shown["model_questions"] == shown["model_answered"] == len(careful.asked)
    calls = careful.place.rows("llm_calls")
    assert len(calls) == len(careful.asked)
    spent = sum(float(call["cost_dollars"]) for call in calls)
    assert spent == pytest.approx(shown["escalation_model_cost_dollars"])


@pytest.mark.parametrize("model", ["careful", "strict"])
def test_the_same_transactions_are_flagged_at_least_as_severely(
    model: str, off: Audited, request: pytest.FixtureRequest
) -> None:
    found: Audited = request.getfixturevalue(model)
    assert found.flags.keys() == off.flags.keys()
    ranks = [
        (Severity(off.flags[key]["severity_level"]).rank, Severity(row["severity_level"]).rank)
        for key, row in found.flags.items()
    ]
    assert all(now >= before for before, now in ranks)
    assert any(now > before for before, now in ranks) == (model == "strict")
    for key, row in found.flags.items():
        assert row["severity_score"] == off.flags[key]["severity_score"]
    assert found.place.findings() == off.place.findings()


def test_what_is_raised_says_who_raised_it(off: Audited, strict: Audited) -> None:
    changed = [
        row
        for key, row in strict.flags.items()
        if row["severity_level"] != off.flags[key]["severity_level"]
    ]
    assert changed
    assert len(changed) == strict.metadata["model_raised"]
    for row in changed:
        assert is_raised(Point(**point) for point in json.loads(row["points"]))


def test_what_leaves_has_neither_the_key_nor_a_card_number(strict: Audited) -> None:
    """The key travels in its header only."""
    for asked in strict.asked:
        assert KEY not in asked.body
        assert asked.headers["authorization"] == f"Bearer {KEY}"
    with strict.place.store() as store:
        trail = [entry.document for entry in store.trail()]
    assert KEY not in json.dumps(trail, default=str)
    calls = [d for d in trail if d.get("llm_model")]
    assert len(calls) == len(strict.asked)


def test_a_second_run_asks_nothing_new(strict: Audited, tmp_path: Path) -> None:
    """The answers are in the store; the service is gone."""
    before = strict.flags
    with model_server() as server:
        server.plans = [status(500)]
        shown = audit(strict.place.home, OPENROUTER_API_KEY=KEY, LLM_BASE_URL=server.url)
        assert server.asked == []
    assert shown["model_cached"] == shown["model_questions"]
    assert strict.flags == before


def test_recorded_answers_give_the_same_flags(strict: Audited, tmp_path: Path) -> None:
    recording = tmp_path / "answers.jsonl"
    with strict.place.store() as store:
        assert write_recording(store, recording) > 0
    home = tmp_path / "replayed"
    place = Workplace(home, DEMO)
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(DAYS, "LLM_RECORDING", str(recording))
        with place.instance() as instance:
            result = place.audit(instance, FROM, TO)
    assert result.success, why_not(result)
    assert {row["flag_id"]: row for row in place.flags()} == strict.flags
    assert place.rows("llm_calls") == []


def test_a_broken_service_costs_the_rules_nothing(off: Audited, tmp_path: Path) -> None:
    with model_server() as server:
        server.plans = [status(401)]
        shown = audit(tmp_path, OPENROUTER_API_KEY=KEY, LLM_BASE_URL=server.url)
        assert len(server.asked) <= 4  # as many as are asked at a time, then nobody
    assert "model_answered" not in shown
    assert {row["flag_id"]: row for row in Workplace(tmp_path, DEMO).flags()} == off.flags


def test_the_command_line_tells_what_it_cost(strict: Audited, command: Command) -> None:
    ended = command("model", "--data", strict.place.data_dir, "--json", "-")
    assert ended.code == 0, ended.err
    use = json.loads(ended.out)
    assert {calls["purpose"] for calls in use["calls"]} == {"classify_uncertain", "explain"}
    assert use["uncertain"]["held_back"]["raised"] == 0
    assert use["uncertain"]["asked"]["raised"] == strict.metadata["model_raised"]
    assert use["cost_of_one"] is None  # nobody has decided yet
    assert "escalation" in command("model", "--data", strict.place.data_dir).out
