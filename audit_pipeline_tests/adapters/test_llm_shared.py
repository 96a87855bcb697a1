"""Answers that audits with different stores share through Redis: recorded, and validated anew."""

import datetime as dt
import json
from collections.abc import Iterator
from contextlib import ExitStack, closing
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

from audit_pipeline.adapters.llm import OpenRouter
from audit_pipeline.adapters.llm.calls import CallLedger
from audit_pipeline.adapters.llm.prompt import prompt_of
from audit_pipeline.adapters.state import LiveState
from audit_pipeline.adapters.store import Store
from audit_pipeline.model.question import Answer, Endpoint, Outcome, Question
from audit_pipeline_tests.model_server import ModelServer, model_server, says

pytestmark = pytest.mark.redis

DAY = dt.date(2025, 2, 1)
YES, NO = '{"verdict": "yes", "score": 3}', '{"verdict": "no", "score": 0}'


class Verdict(BaseModel):
    """What the tests ask for."""

    verdict: Literal["yes", "no"]
    score: int = Field(default=0, ge=0, le=5)


QUESTION = Question("context_enrichment", "test", "default", "Answer.", "Is it so?", Verdict)


class Audits:
    """Audits that share a model and Redis, each with a store of its own name."""

    def __init__(self, folder: Path, server: ModelServer, live: LiveState, stack: ExitStack):
        self.folder, self.server, self.live, self._stack = folder, server, live, stack
        self.endpoint = Endpoint(api_key="k" * 20, base_url=server.url)
        self.key = f"answer:{prompt_of(QUESTION, self.endpoint).sha256}"

    def ask(self, name: str, live: LiveState | None = None) -> tuple[Answer, Store]:
        """The answer that an audit with this store gets."""
        store = self._stack.enter_context(Store.open(f"sqlite:///{self.folder / name}.sqlite"))
        ledger = CallLedger(store, f"run-{name}", DAY, DAY, Decimal(1), Decimal(1))
        with OpenRouter(self.endpoint, ledger, live=live or self.live) as model:
            return model.call_llm(QUESTION), store


@pytest.fixture
def audits(tmp_path: Path, redis_url: str) -> Iterator[Audits]:
    with (
        ExitStack() as stack,
        model_server() as server,
        closing(LiveState(redis_url)) as live,
    ):
        server.plans = (says(YES), says(NO))
        yield Audits(tmp_path, server, live, stack)


def _rows(store: Store) -> list[dict[str, Any]]:
    with store.reading() as connection:
        found = connection.exec_driver_sql("SELECT * FROM llm_calls ORDER BY started_at")
        return [dict(row) for row in found.mappings()]


def test_another_stores_answer_is_found_and_recorded(audits: Audits):
    """The second audit pays nothing, and its own table has what it was told."""
    audits.ask("first")
    answer, store = audits.ask("second")
    assert answer.value == Verdict(verdict="yes", score=3)
    assert (answer.outcome, answer.cached, answer.cost) == (Outcome.CACHED, True, 0)
    assert len(audits.server.asked) == 1
    [row] = _rows(store)
    assert (row["status"], row["audit_run_id"]) == ("cached", "run-second")
    assert json.loads(row["answer"]) == {"verdict": "yes", "score": 3}
    [entry] = store.trail()
    assert entry.intact
    assert entry.event.output_summary["outcome"] == "cached"


def test_without_redis_each_store_asks(audits: Audits):
    audits.ask("first", LiveState())
    answer, _ = audits.ask("second", LiveState())
    assert answer.value == Verdict(verdict="no", score=0)
    assert len(audits.server.asked) == 2


def test_the_table_comes_first(audits: Audits):
    """Whoever writes to Redis cannot change what this store was answered."""
    audits.ask("first")
    audits.live.put(audits.key, NO, 60)
    answer, store = audits.ask("first")
    assert answer.value == Verdict(verdict="yes", score=3)
    assert _rows(store)[-1]["answer"] is None  # the attempt above it has it


@pytest.mark.parametrize(
    "poison",
    [
        '{"verdict": "perhaps", "score": 3}',
        '{"verdict": "yes", "score": 6}',
        '{"verdict": "yes", "score": "3"}',
        '{"score": 1}',
        '{"verdict": "no", "verdict": "yes"}',
        f"{YES} {NO}",
        "[" * 5000,
        "",
        None,
        7,
        ["yes"],
        {"verdict": "yes", "score": 3},
    ],
)
def test_a_poisoned_answer_is_none(audits: Audits, poison: object):
    """It is asked anew, and what is answered takes its place."""
    audits.live.put(audits.key, poison, 60)
    answer, store = audits.ask("first")
    assert (answer.outcome, answer.attempts) == (Outcome.ANSWERED, 1)
    assert [row["status"] for row in _rows(store)] == ["answered"]
    assert json.loads(audits.live.get(audits.key)) == json.loads(YES)


def test_an_answer_to_another_prompt_is_none(audits: Audits, redis_url: str):
    """A value copied under this prompt's key still names the one that it belongs to."""
    import redis

    audits.live.put("answer:other", NO, 60)
    with closing(redis.Redis.from_url(redis_url, protocol=2)) as raw:
        raw.copy("audit_pipeline:cache:answer:other", f"audit_pipeline:cache:{audits.key}")
    answer, _ = audits.ask("first")
    assert answer.outcome is Outcome.ANSWERED
    assert answer.value == Verdict(verdict="yes", score=3)
