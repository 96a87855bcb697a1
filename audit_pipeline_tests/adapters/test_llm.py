"""The language model's client over real HTTP: every fault has an outcome, a bound and a row."""

import datetime as dt
import json
import logging
import multiprocessing
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

from audit_pipeline.adapters.llm import NoLLM, OpenRouter, language_model
from audit_pipeline.adapters.llm.calls import EXPIRES_AFTER_SECONDS, CallLedger
from audit_pipeline.adapters.llm.prompt import prompt_of, tokens_in_max
from audit_pipeline.adapters.store import Store
from audit_pipeline.model.errors import BadUsage
from audit_pipeline.model.question import Answer, Endpoint, Outcome, Question
from audit_pipeline_tests import model_server
from audit_pipeline_tests.model_server import ModelServer, Plan, says, status

KEY = "sk-or-v1-0123456789abcdef0123456789abcdef"
CARD = "4111 1111 1111 1111"
DAY = dt.date(2025, 2, 1)
YES = '{"verdict": "yes", "score": 3}'


class Verdict(BaseModel):
    """What the tests ask for."""

    verdict: Literal["yes", "no"]
    score: int = Field(default=0, ge=0, le=5)


def question(prompt: str = "Is it so?", **changes: Any) -> Question:
    asked = Question("context_enrichment", "test", "default", "Answer.", prompt, Verdict)
    return replace(asked, **changes)


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with model_server.model_server() as running:
        yield running


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_url")
    else:
        url = f"sqlite:///{tmp_path / 'store.db'}"
    with Store.open(url) as opened:
        yield opened


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path / 'store.db'}") as opened:
        yield opened


Ask = Callable[..., OpenRouter]


@pytest.fixture
def client(server: ModelServer, store: Store) -> Iterator[Ask]:
    """Makes clients of the server; the waits between attempts are skipped unless asked for."""
    made: list[OpenRouter] = []

    def make(
        *plans: Plan,
        budgets: tuple[str, str] = ("1", "1"),
        sleep: Callable[[float], None] = lambda _seconds: None,
        run: str = "run-1",
        **limits: Any,
    ) -> OpenRouter:
        server.plans = plans
        ledger = CallLedger(store, run, DAY, DAY, *map(Decimal, budgets))
        endpoint = replace(Endpoint(api_key=KEY, base_url=server.url), **limits)
        made.append(OpenRouter(endpoint, ledger, sleep=sleep))
        return made[-1]

    yield make
    for model in made:
        model.close()


def rows(store: Store) -> list[dict[str, Any]]:
    with store.reading() as connection:
        found = connection.exec_driver_sql("SELECT * FROM llm_calls ORDER BY started_at, attempt")
        return [dict(row) for row in found.mappings()]


# ---- answers


def test_an_answer(client: Ask, server: ModelServer, store: Store):
    """Value, tokens, cost by the price list, one row and one entry of the trail that agree."""
    answer = client(says(YES)).call_llm(question())
    assert answer.value == Verdict(verdict="yes", score=3)
    assert (answer.outcome, answer.attempts, answer.cached) == (Outcome.ANSWERED, 1, False)
    assert (answer.tokens_in, answer.tokens_out) == (100, 20)
    assert answer.cost == Decimal("0.000027")  # 100 × 0.15 + 20 × 0.60 dollars per million
    [row] = rows(store)
    assert row["status"] == "answered"
    assert (row["audit_run_id"], row["from_on"], row["to_on"]) == ("run-1", str(DAY), str(DAY))
    assert (row["agent_name"], row["purpose"]) == ("context_enrichment", "test")
    assert Decimal(row["cost_dollars"]) == answer.cost < Decimal(row["reserved_dollars"])
    assert row["prompt_sha256"] == answer.prompt_hash
    assert json.loads(row["answer"]) == {"verdict": "yes", "score": 3}
    [entry] = store.trail()
    assert entry.intact
    assert entry.event.tool_called == "call_llm"
    assert entry.event.llm_tokens_used == 120
    assert entry.event.input_data["call_id"] == row["call_id"]
    assert entry.event.output_summary["cost_dollars"] == "0.000027"


def test_what_is_sent(client: Ask, server: ModelServer):
    """A strict schema, no tools, no variable of another service."""
    client(says(YES), tokens_out_max=77).call_llm(question(tier="edge"))
    [asked] = server.asked
    sent = asked.document
    assert asked.path == "/v1/chat/completions"
    assert sent["model"] == Endpoint().model_edge
    assert [message["role"] for message in sent["messages"]] == ["system", "user"]
    assert (sent["max_tokens"], sent["temperature"]) == (77, 0)
    form = sent["response_format"]["json_schema"]
    assert form["strict"] is True
    assert form["schema"]["required"] == ["verdict", "score"]
    assert form["schema"]["additionalProperties"] is False
    assert "tools" not in sent
    assert asked.headers["authorization"] == f"Bearer {KEY}"


def test_the_variables_of_another_service_are_not_sent(
    client: Ask, server: ModelServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-another-service")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "project-of-another-service")
    assert client(says(YES)).call_llm(question()).value is not None
    assert "another-service" not in str(server.asked[0].headers)


@pytest.mark.parametrize(
    "content",
    [
        f"```json\n{YES}\n```",
        f"```\n{YES}\n```\nI hope that helps.",
        f"Here it is: {YES} and that is all {{really}}.",
        f"{YES}\n{YES}",
    ],
)
def test_an_answer_among_other_words(client: Ask, content: str):
    answer = client(says(content)).call_llm(question())
    assert answer.value == Verdict(verdict="yes", score=3)
    assert answer.attempts == 1


@pytest.mark.parametrize(
    "content",
    [
        "",
        "no JSON",
        '{"verdict": "perhaps", "score": 1}',
        '{"verdict": "yes", "score": 6}',
        '{"verdict": "yes", "score": "3"}',
        '{"verdict": "yes", "score": NaN}',
        "[" * 100_000,
        "{" * 100_000,
        YES + ' or rather {"verdict": "no", "score": 0}',
        '{"verdict": "yes"',
    ],
)
def test_an_invalid_answer_is_asked_again_at_most_twice(
    client: Ask, server: ModelServer, store: Store, content: str
):
    """With the error; every attempt is paid for and has its row."""
    answer = client(says(content)).call_llm(question())
    assert (answer.value, answer.outcome) == (None, Outcome.INVALID)
    assert answer.attempts == len(server.asked) == 3
    assert answer.cost == 3 * Decimal("0.000027")
    assert [row["status"] for row in rows(store)] == ["invalid"] * 3
    assert len(list(store.trail())) == 3
    again = server.asked[1].document["messages"]
    assert [message["role"] for message in again] == ["system", "user", "assistant", "user"]
    assert "no valid answer" in again[3]["content"]


def test_the_second_answer_may_be_valid(client: Ask, server: ModelServer):
    answer = client(says("hm"), says(YES)).call_llm(question())
    assert (answer.outcome, answer.attempts) == (Outcome.ANSWERED, 2)
    assert (answer.tokens_in, answer.cost) == (200, Decimal("0.000054"))
    assert answer.error == ""


@pytest.mark.parametrize(
    "plan", [says(None, refusal="I cannot."), says("", finish_reason="content_filter")]
)
def test_a_refusal_is_not_asked_again(client: Ask, server: ModelServer, plan: Plan):
    answer = client(plan).call_llm(question())
    assert (answer.outcome, len(server.asked)) == (Outcome.REFUSED, 1)
    assert answer.cost == Decimal("0.000027")


# ---- faults

FAULTS: dict[str, tuple[Plan, Outcome, int]] = {
    "429": (status(429), Outcome.UNAVAILABLE, 3),
    "429 with Retry-After": (status(429, retry_after="1"), Outcome.UNAVAILABLE, 3),
    "500": (status(500), Outcome.UNAVAILABLE, 3),
    "503": (status(503), Outcome.UNAVAILABLE, 3),
    "408": (status(408), Outcome.UNAVAILABLE, 3),
    "400": (status(400), Outcome.REFUSED, 1),
    "401": (status(401), Outcome.UNAUTHORISED, 1),
    "402": (status(402), Outcome.UNAUTHORISED, 1),
    "403": (status(403), Outcome.UNAUTHORISED, 1),
    "404": (status(404), Outcome.REFUSED, 1),
    "redirect": (status(307, location="http://127.0.0.1:9/v1"), Outcome.REFUSED, 1),
    "reset": (model_server.resets, Outcome.UNAVAILABLE, 3),
    "truncated": (model_server.truncates, Outcome.UNAVAILABLE, 3),
    "no JSON": (model_server.raw(b"<html>"), Outcome.UNAVAILABLE, 3),
    "no UTF-8": (model_server.raw(b"\xff\xfe{}"), Outcome.UNAVAILABLE, 3),
    "a list": (model_server.raw(b"[]"), Outcome.UNAVAILABLE, 3),
    "no choices": (model_server.raw(b'{"choices": []}'), Outcome.UNAVAILABLE, 3),
    "null": (model_server.raw(b"null"), Outcome.UNAVAILABLE, 3),
    "an error in a 200": (
        model_server.raw(b'{"error": {"code": 502, "message": "upstream"}}'),
        Outcome.UNAVAILABLE,
        3,
    ),
    "no credit in a 200": (
        model_server.raw(b'{"error": {"code": 402, "message": "credit"}}'),
        Outcome.UNAUTHORISED,
        1,
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_an_outcome(client: Ask, server: ModelServer, store: Store, fault: str):
    """No error is raised, no more is asked than allowed, each attempt has its row."""
    plan, outcome, attempts = FAULTS[fault]
    answer = client(plan).call_llm(question())
    assert (answer.value, answer.outcome) == (None, outcome)
    assert answer.attempts == len(server.asked) == attempts
    assert [row["status"] for row in rows(store)] == [outcome.value] * attempts
    assert answer.error


@pytest.mark.parametrize("fault", FAULTS)
def test_a_service_that_recovers(client: Ask, server: ModelServer, fault: str):
    """What is asked again is answered; what is not, is not."""
    plan, outcome, attempts = FAULTS[fault]
    answer = client(plan, says(YES)).call_llm(question())
    assert answer.outcome is (Outcome.ANSWERED if attempts > 1 else outcome)
    assert answer.attempts == len(server.asked) == min(attempts, 2)


@pytest.mark.parametrize("plan", [model_server.hangs, model_server.drips], ids=["hangs", "drips"])
def test_the_deadline_holds(client: Ask, server: ModelServer, plan: Plan):
    """A question takes no longer than its deadline and a tenth."""
    model = client(plan, deadline_seconds=1.5, sleep=time.sleep)
    started = time.monotonic()
    answer = model.call_llm(question())
    took = time.monotonic() - started
    assert (answer.value, answer.outcome) == (None, Outcome.DEADLINE)
    assert len(server.asked) == 1
    assert took <= 1.5 * 1.1


@pytest.mark.parametrize("plan", [model_server.hangs, model_server.drips], ids=["hangs", "drips"])
def test_an_attempt_has_its_own_time(client: Ask, server: ModelServer, plan: Plan):
    """So that one hung connection does not use up the deadline."""
    answer = client(plan, says(YES), attempt_seconds_max=0.3).call_llm(question())
    assert (answer.outcome, answer.attempts) == (Outcome.ANSWERED, 2)


def test_a_wait_beyond_the_deadline_is_not_waited_for(client: Ask, server: ModelServer):
    """`Retry-After` is honoured or nothing is: an earlier request would be refused again."""
    waited: list[float] = []
    answer = client(
        status(429, retry_after="60"), says(YES), deadline_seconds=30, sleep=waited.append
    ).call_llm(question())
    assert (answer.outcome, len(server.asked), waited) == (Outcome.UNAVAILABLE, 1, [])


def test_retry_after_is_honoured(client: Ask):
    waited: list[float] = []
    plans = status(429, retry_after="7"), status(503), says(YES)
    assert client(*plans, sleep=waited.append).call_llm(question()).value is not None
    first, second = waited
    assert 7 <= first < 8
    assert 0.5 <= second <= 1.5, "doubled, and spread by half"


def test_what_an_unknown_cost_counts_as(client: Ask, store: Store):
    """A reply that was begun may be charged: the reservation stays. An error status is free."""
    client(model_server.truncates, status(500), says(YES, tokens=None)).call_llm(question())
    cut, failed, uncounted = rows(store)
    assert cut["cost_dollars"] == cut["reserved_dollars"]
    assert Decimal(failed["cost_dollars"]) == 0
    assert uncounted["cost_dollars"] == uncounted["reserved_dollars"]


# ---- the circuit breaker


def test_a_broken_service_is_left_alone(
    client: Ask, server: ModelServer, monkeypatch: pytest.MonkeyPatch
):
    """Five failures in a row open the circuit; after a while one attempt closes it."""
    model = client(*[status(500)] * 5, says(YES))
    outcomes = [model.call_llm(question(str(number))).outcome for number in range(4)]
    assert outcomes == [
        Outcome.UNAVAILABLE,
        Outcome.CIRCUIT_OPEN,
        Outcome.CIRCUIT_OPEN,
        Outcome.CIRCUIT_OPEN,
    ]
    assert len(server.asked) == 5
    model._breaker.reset_timeout = 0
    assert model.call_llm(question()).outcome is Outcome.ANSWERED
    assert model.call_llm(question("another")).outcome is Outcome.ANSWERED


def test_a_refused_key_is_not_tried_again_with_every_question(client: Ask, server: ModelServer):
    answers = client(status(401)).batch_call_llm(
        [question(str(number)) for number in range(20)], concurrency=1
    )
    assert {answer.outcome for answer in answers[1:]} == {Outcome.CIRCUIT_OPEN}
    assert (answers[0].outcome, len(server.asked)) == (Outcome.UNAUTHORISED, 1)


def test_a_busy_service_is_no_broken_one(client: Ask, server: ModelServer):
    model = client(status(429))
    outcomes = {model.call_llm(question(str(number))).outcome for number in range(4)}
    assert (outcomes, len(server.asked)) == ({Outcome.UNAVAILABLE}, 12)


# ---- cache and batches


def test_the_same_question_is_paid_for_once(client: Ask, server: ModelServer, store: Store):
    """Also in a later run; what was found again has its row and its entry in the trail."""
    first = client(says(YES)).call_llm(question())
    again = client(says('{"verdict": "no", "score": 0}'), run="run-2").call_llm(question())
    assert again.value == first.value
    assert (again.outcome, again.cached, again.attempts) == (Outcome.CACHED, True, 0)
    assert (again.cost, again.prompt_hash) == (Decimal(0), first.prompt_hash)
    assert len(server.asked) == 1
    assert [row["status"] for row in rows(store)] == ["answered", "cached"]
    assert [entry.audit_run_id for entry in store.trail()] == ["run-1", "run-2"]


class Other(BaseModel):
    """Another schema."""

    verdict: str


@pytest.mark.parametrize(
    "changes",
    [{"prompt": "else?"}, {"system": "Else."}, {"tier": "edge"}, {"schema": Other}],
    ids=lambda changes: next(iter(changes)),
)
def test_another_question_is_asked(client: Ask, server: ModelServer, changes: dict[str, Any]):
    model = client(says(YES))
    assert model.call_llm(question()).outcome is Outcome.ANSWERED
    assert model.call_llm(question(**changes)).outcome is Outcome.ANSWERED
    assert len(server.asked) == 2


def test_a_failed_question_is_not_cached(client: Ask, server: ModelServer):
    model = client(says("hm"), says("hm"), says("hm"), says(YES))
    assert model.call_llm(question()).outcome is Outcome.INVALID
    assert model.call_llm(question()).outcome is Outcome.ANSWERED


def test_a_batch_keeps_its_order_and_asks_the_same_once(client: Ask, server: ModelServer):
    def echoes(handler: model_server.Handler) -> None:
        body = json.loads(server.asked[-1].body)
        number = int(body["messages"][1]["content"])
        time.sleep(0.01 * (5 - number))
        handler.reply(json.dumps(model_server.completion(answer_of(number))).encode())

    def answer_of(number: int) -> str:
        return json.dumps({"verdict": "yes", "score": number})

    asked = [question(str(number)) for number in (3, 1, 4, 1, 5, 3, 0)]
    answers = client(echoes).batch_call_llm(asked, concurrency=1)
    assert [answer.value and answer.value.model_dump()["score"] for answer in answers] == [
        *(3, 1, 4, 1, 5, 3, 0)
    ]
    assert len(server.asked) == 5
    assert sum(answer.cached for answer in answers) == 2


def test_a_batch_is_bounded(client: Ask, server: ModelServer):
    """No more requests under way than asked for; more than one, though."""
    now, most = [0], [0]

    def counts(handler: model_server.Handler) -> None:
        with server.turn:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.1)
        with server.turn:
            now[0] -= 1
        says(YES)(handler)

    asked = [question(str(number)) for number in range(12)]
    answers = client(counts).batch_call_llm(asked, concurrency=3)
    assert {answer.outcome for answer in answers} == {Outcome.ANSWERED}
    assert 1 < most[0] <= 3


def test_an_empty_batch(client: Ask):
    assert client(says(YES)).batch_call_llm([]) == []


def test_a_failed_question_in_a_batch_is_counted_once(client: Ask, server: ModelServer):
    answers = client(status(400)).batch_call_llm([question()] * 3)
    assert {answer.outcome for answer in answers} == {Outcome.REFUSED}
    assert sum(answer.attempts for answer in answers) == len(server.asked) == 1


# ---- budgets


def worst_case(client: OpenRouter) -> Decimal:
    """What one attempt at the tests' question reserves."""
    prompt = prompt_of(question(), client.endpoint)
    tokens_in = tokens_in_max(prompt.messages, prompt.schema)
    return client._prices.calculate_cost(prompt.model, tokens_in, client.endpoint.tokens_out_max)


@pytest.mark.parametrize("budget", ["run", "day"])
def test_a_budget_is_spent_to_the_last_attempt(
    client: Ask, server: ModelServer, store: Store, budget: str
):
    """Exactly enough is enough; a millionth less is not; nothing is asked then."""
    needed = worst_case(client(says(YES)))
    for dollars, outcome in (
        (needed - Decimal("0.000001"), Outcome.OVER_BUDGET),
        (needed, Outcome.ANSWERED),
    ):
        budgets = (str(dollars), "9") if budget == "run" else ("9", str(dollars))
        answer = client(says(YES), budgets=budgets).call_llm(question())
        assert answer.outcome is outcome
        assert len(server.asked) == (outcome is Outcome.ANSWERED)


def test_a_run_has_its_own_budget_and_the_day_is_shared(client: Ask, store: Store):
    first = client(says(YES, tokens=None), budgets=("0.001", "0.0014"))
    needed = worst_case(first)
    assert Decimal("0.0005") < needed < Decimal("0.0007")
    assert first.call_llm(question("1")).outcome is Outcome.ANSWERED
    assert first.call_llm(question("2")).outcome is Outcome.OVER_BUDGET, "of the run"
    second = client(says(YES, tokens=None), budgets=("0.001", "0.0014"), run="run-2")
    assert second.call_llm(question("3")).outcome is Outcome.ANSWERED
    third = client(says(YES, tokens=None), budgets=("0.001", "0.0014"), run="run-3")
    assert third.call_llm(question("4")).outcome is Outcome.OVER_BUDGET, "of the day"


def test_a_budget_can_end_between_attempts(client: Ask, server: ModelServer):
    model = client(says("hm", tokens=None), budgets=("0.001", "1"))
    answer = model.call_llm(question())
    assert (answer.outcome, answer.attempts, len(server.asked)) == (Outcome.OVER_BUDGET, 1, 1)
    assert answer.cost > 0


def test_a_dead_process_s_reservation_counts_until_it_expires(any_store: Store):
    """In full until then; not at all afterwards."""
    now = [dt.datetime(2025, 3, 1, 12, tzinfo=dt.UTC)]
    any_store._clock = lambda: now[0]
    ledger = CallLedger(any_store, "run", DAY, DAY, Decimal("0.5"), Decimal(9))
    held = ledger.reserve(question(), "m", "0" * 64, 1, Decimal("0.4"), seconds_max=60)
    assert held is not None
    now[0] += dt.timedelta(seconds=60 + EXPIRES_AFTER_SECONDS - 1)
    assert ledger.reserve(question(), "m", "0" * 64, 1, Decimal("0.100001"), 60) is None
    assert ledger.reserve(question(), "m", "0" * 64, 1, Decimal("0.1"), 60) is not None
    now[0] += dt.timedelta(seconds=2)
    assert ledger.reserve(question(), "m", "0" * 64, 1, Decimal("0.4"), 60) is not None


def test_money_adds_up_exactly(any_store: Store):
    """Ten thousandths of a dollar, a hundred times: no float's rest refuses the last."""
    ledger = CallLedger(any_store, "run", DAY, DAY, Decimal("0.03"), Decimal("0.03"))
    for number in range(100):
        assert ledger.reserve(question(), "m", "0" * 64, 1, Decimal("0.0003"), 60), number
    assert ledger.spent().run == ledger.spent().day == Decimal("0.03")
    assert ledger.reserve(question(), "m", "0" * 64, 1, Decimal("0.000001"), 60) is None


def test_the_worst_case_is_never_less_than_the_cost():
    """A token stands for a byte or more, so that many bytes are no fewer tokens."""
    endpoint = Endpoint(api_key=KEY)
    for text in ("", "é" * 50, "漢字" * 50, "a b " * 99):
        prompt = prompt_of(question(text), endpoint)
        assert tokens_in_max(prompt.messages, prompt.schema) >= len(text.encode())


def _spends(url: str, number: int, gate: Any, taken: Any) -> None:
    """A worker: reserves and settles until the budget is spent."""
    with Store.open(url) as store:
        ledger = CallLedger(store, "run", DAY, DAY, Decimal("0.01"), Decimal(9))
        gate.wait()
        got = 0
        while ledger.reserve(question(), "m", f"{number:064d}", 1, Decimal("0.0001"), 60):
            got += 1
        taken.put(got)


def test_sixteen_processes_do_not_overspend(tmp_path: Path):
    """Each takes what it can get at the same time; together it is the budget to the cent."""
    url = f"sqlite:///{tmp_path / 'store.db'}"
    Store.open(url).close()
    spawning = multiprocessing.get_context("spawn")
    gate, taken = spawning.Barrier(16), spawning.Queue()
    workers = [
        spawning.Process(target=_spends, args=(url, number, gate, taken)) for number in range(16)
    ]
    for worker in workers:
        worker.start()
    counts = [taken.get(timeout=120) for _ in workers]
    for worker in workers:
        worker.join(30)
    assert [worker.exitcode for worker in workers] == [0] * 16
    with closing(sqlite3.connect(tmp_path / "store.db")) as connection:
        [(count,)] = connection.execute("SELECT count(*) FROM llm_calls")
    assert sum(counts) == count == 100


# ---- secrets


def test_no_secret_gets_out(
    client: Ask, server: ModelServer, store: Store, caplog: pytest.LogCaptureFixture
):
    """Not into the prompt, the log at its most talkative, the store or the answer."""
    caplog.set_level(logging.DEBUG)
    leaky = f"key {KEY}, card {CARD}, {CARD.replace(' ', chr(0x200B))}"
    plans = [
        status(500, leaky),
        says(json.dumps({"verdict": leaky, "score": 1})),
        says(None, refusal=leaky),
    ]
    model = client(*plans)
    answer = model.call_llm(question(f"About: {leaky}", system=f"Look: {leaky}"))
    assert answer.outcome is Outcome.REFUSED
    seen = [asked.body for asked in server.asked]
    seen += [record.getMessage() + str(record.args) for record in caplog.records]
    with store.reading() as connection:
        for table in ("llm_calls", "audit_trail"):
            seen.append(str(connection.exec_driver_sql(f"SELECT * FROM {table}").all()))
    seen += [repr(answer), repr(model.endpoint), repr(model.ledger)]
    assert len(seen) > 8
    for text in seen:
        assert KEY not in text
        for form in (CARD, "4111111111111111", CARD.replace(" ", chr(0x200B))):
            assert form not in text
    assert "****1111" in server.asked[0].body


def test_an_answer_is_cleaned_too(client: Ask):
    class Told(BaseModel):
        words: str

    said = json.dumps({"words": f"paid by {CARD}\u202e\u200b"})
    answer = client(says(said)).call_llm(question(schema=Told))
    assert answer.value == Told(words="paid by ****1111")


# ---- configuration


def test_off_without_a_key(store: Store):
    with language_model(Endpoint(), store, "run", DAY, DAY) as model:
        assert isinstance(model, NoLLM)
        assert model.call_llm(question()) == Answer(None, Outcome.OFF)
        assert model.batch_call_llm([question()] * 2) == [Answer(None, Outcome.OFF)] * 2


def test_on_with_a_key(store: Store, server: ModelServer):
    server.plans = [says(YES)]
    endpoint = Endpoint(api_key=KEY, base_url=server.url)
    with language_model(endpoint, store, "run", DAY, DAY) as model:
        assert model.call_llm(question()).outcome is Outcome.ANSWERED


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_default": "openai/gpt-9"}, r"'openai/gpt-9'.*openai/gpt-4o-mini.*LLM_PRICES"),
        ({"model_edge": "x"}, "LLM_MODEL_EDGE"),
        ({"base_url": "http://models.example/v1"}, "https://"),
        ({"base_url": "models.example"}, "https://"),
        ({"base_url": "http://127.0.0.1.example/v1"}, "https://"),
        ({"base_url": "https://"}, "https://"),
        ({"base_url": "https://["}, "https://"),
        ({"base_url": "https://host:port/v1"}, "https://"),
        ({"base_url": "https://user:pass@models.example/v1"}, "https://"),
        ({"base_url": "https://models.example/ v1"}, "https://"),
        ({"api_key": "klucz-ż"}, "OPENROUTER_API_KEY"),
        ({"api_key": "two words"}, "OPENROUTER_API_KEY"),
        ({"api_key": "line\nend"}, "OPENROUTER_API_KEY"),
        ({"prices_path": Path("/no/such/file")}, "cannot read the price file"),
        ({"budget_run": Decimal(-1)}, "LLM_BUDGET_RUN"),
        ({"attempts_max": 0}, "above zero"),
        ({"deadline_seconds": 0}, "above zero"),
    ],
)
def test_bad_configuration_says_so_at_once(store: Store, changes: dict[str, Any], said: str):
    endpoint = replace(Endpoint(api_key=KEY), **changes)
    with (
        pytest.raises(BadUsage, match=said) as told,
        language_model(endpoint, store, "run", DAY, DAY),
    ):
        pass
    assert endpoint.api_key not in str(told.value)


def test_a_client_needs_a_key(store: Store):
    ledger = CallLedger(store, "run", DAY, DAY, Decimal(1), Decimal(1))
    with pytest.raises(BadUsage, match="OPENROUTER_API_KEY"):
        OpenRouter(Endpoint(), ledger)


def test_the_outcomes_of_an_attempt_are_those_of_the_table(store: Store):
    """Each can be stored; what needs no attempt is no status."""
    from audit_pipeline.adapters.store.schema import LLM_CALL_STATUSES

    without_an_attempt = {"off", "over budget", "circuit open", "not recorded"}
    assert set(LLM_CALL_STATUSES) == {o.value for o in Outcome} - without_an_attempt | {"reserved"}
