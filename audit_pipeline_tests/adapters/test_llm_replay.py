"""A recording answers what was recorded, and nothing else."""

import datetime as dt
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import BaseModel

from audit_pipeline.adapters.llm import OpenRouter, ReplayedLLM
from audit_pipeline.adapters.llm.calls import CallLedger
from audit_pipeline.adapters.llm.replay import write_recording
from audit_pipeline.adapters.store import Store
from audit_pipeline.model.errors import BadUsage
from audit_pipeline.model.question import Endpoint, LanguageModel, Outcome, Question
from audit_pipeline_tests.model_server import model_server, says

DAY = dt.date(2025, 2, 1)


class Verdict(BaseModel):
    verdict: str


class Number(BaseModel):
    verdict: int


def question(prompt: str) -> Question:
    return Question("escalation", "test", "default", "Answer.", prompt, Verdict)


def test_a_recorded_run_is_repeated(tmp_path: Path):
    """Without the server and the key; an unknown prompt is not guessed at."""
    asked = [question("one"), question("two"), question("one")]
    with Store.open(f"sqlite:///{tmp_path / 's.db'}") as store, model_server() as server:
        server.plans = [says('{"verdict": "1"}'), says('{"verdict": "2"}')]
        ledger = CallLedger(store, "run", DAY, DAY, Decimal(1), Decimal(1))
        with OpenRouter(Endpoint(api_key="k" * 20, base_url=server.url), ledger) as model:
            first = model.batch_call_llm(asked, concurrency=1)
        assert write_recording(store, tmp_path / "r.jsonl") == 2
        assert write_recording(store, tmp_path / "none.jsonl", audit_run_id="other") == 0
    replayed: LanguageModel = ReplayedLLM(tmp_path / "r.jsonl", Endpoint())
    again = replayed.batch_call_llm(asked)
    assert [a.value for a in again] == [a.value for a in first]
    assert {a.outcome for a in again} == {Outcome.ANSWERED}
    assert [a.prompt_hash for a in again] == [a.prompt_hash for a in first]
    assert [(a.cost, a.attempts, a.cached) for a in again] == [(Decimal(0), 0, True)] * 3
    unknown = replayed.call_llm(question("three"))
    assert (unknown.value, unknown.outcome) == (None, Outcome.NOT_RECORDED)


def test_a_recorded_answer_of_another_form(tmp_path: Path):
    recording = tmp_path / "r.jsonl"
    recording.write_text("")
    asked = replace(question("one"), schema=Number)
    sha256 = ReplayedLLM(recording, Endpoint()).call_llm(asked).prompt_hash
    recording.write_text(f'{{"prompt_sha256": "{sha256}", "answer": {{"verdict": "x"}}}}\n')
    answer = ReplayedLLM(recording, Endpoint()).call_llm(asked)
    assert (answer.value, answer.outcome) == (None, Outcome.INVALID)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "line 1"),
        ('{"prompt_sha256": "a"}', "line 1"),
        ("[]", "line 1"),
        (
            '{"prompt_sha256": "a", "answer": {}}\n{"prompt_sha256": "a", "answer": {"b": 1}}',
            "line 2: another answer",
        ),
    ],
)
def test_a_broken_recording(tmp_path: Path, text: str, said: str):
    (tmp_path / "r.jsonl").write_text(text)
    with pytest.raises(BadUsage, match=said):
        ReplayedLLM(tmp_path / "r.jsonl", Endpoint())


def test_no_recording(tmp_path: Path):
    with pytest.raises(BadUsage, match="cannot read the recording"):
        ReplayedLLM(tmp_path / "none.jsonl", Endpoint())
