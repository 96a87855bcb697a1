"""The language model behind an OpenAI-compatible endpoint, and the one that is switched off."""

import contextlib
import datetime as dt
import ipaddress
import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Self
from urllib.parse import urlsplit

import pybreaker
from pydantic import BaseModel

from audit_pipeline.adapters.llm.calls import CallLedger, Reserved, Settled
from audit_pipeline.adapters.llm.http import ChatClient, Reply
from audit_pipeline.adapters.llm.prices import Prices, load_prices
from audit_pipeline.adapters.llm.prompt import (
    Message,
    Prompt,
    asked_again,
    error_text,
    outward,
    prompt_of,
    tokens_in_max,
)
from audit_pipeline.adapters.llm.retry import AttemptFailed, retrying
from audit_pipeline.adapters.llm.schema import InvalidAnswer, lifted
from audit_pipeline.adapters.state import LiveState, live_state
from audit_pipeline.adapters.store import Store
from audit_pipeline.model.errors import BadUsage
from audit_pipeline.model.question import (
    CONCURRENCY,
    Answer,
    Endpoint,
    LanguageModel,
    Outcome,
    Question,
)

CONCURRENCY_MAX = 32
FAILURES_MAX = 5
"""In a row, by a service that does not work; then it is left alone."""

LEFT_ALONE_SECONDS = 30.0

SHARED_SECONDS = 24 * 60 * 60

CLOCK_SECONDS = 0.01
"""By which two clocks may disagree on whether the deadline is over."""


class NoLLM:
    """Answers nothing: there is no key, or nobody wants a model asked."""

    def call_llm(self, question: Question) -> Answer:
        """Off."""
        return Answer(None, Outcome.OFF)

    def batch_call_llm(
        self, questions: Sequence[Question], concurrency: int = CONCURRENCY
    ) -> list[Answer]:
        """Off, each."""
        return [self.call_llm(question) for question in questions]


@contextlib.contextmanager
def language_model(
    endpoint: Endpoint,
    store: Store,
    audit_run_id: str,
    from_on: dt.date,
    to_on: dt.date,
    live: LiveState | None = None,
) -> Iterator[LanguageModel]:
    """The model of an audit run, closed at the end: `NoLLM` where the endpoint has no key.

    Args:
        from_on: the first audit date of the run; `to_on` is the last.
        live: where answers are shared with audits that have another store.

    Raises:
        BadUsage: the endpoint is not one that can be asked; also without a key.
    """
    prices = checked(endpoint)
    if not endpoint.api_key:
        yield NoLLM()
        return
    ledger = CallLedger(
        store, audit_run_id, from_on, to_on, endpoint.budget_run, endpoint.budget_day
    )
    with OpenRouter(endpoint, ledger, prices, live=live) as model:
        yield model


def checked(endpoint: Endpoint) -> Prices:
    """The prices of the endpoint's models.

    Raises:
        BadUsage: a model has no price, the key would travel in the clear, or a limit is none.
    """
    prices = load_prices(endpoint.prices_path)
    prices.of(endpoint.model_default)
    prices.of(endpoint.model_edge)
    if not _is_safe(endpoint.base_url):
        raise BadUsage(
            "LLM_BASE_URL: write https://host/path, without a user or a password; http:// is for "
            "this machine only, because the key and the prompts would travel in the clear"
        )
    if not re.fullmatch("[!-~]*", endpoint.api_key):
        raise BadUsage("OPENROUTER_API_KEY: a key is ASCII letters, digits and signs, no spaces")
    limits = (endpoint.deadline_seconds, endpoint.attempt_seconds_max)
    if min(limits) <= 0 or endpoint.attempts_max < 1 or endpoint.tokens_out_max < 1:
        raise BadUsage("a deadline, attempts and tokens of a language model are above zero")
    if endpoint.budget_run < 0 or endpoint.budget_day < 0:
        raise BadUsage("LLM_BUDGET_RUN and LLM_BUDGET_DAY are dollars, 0 or more")
    return prices


def _is_safe(url: str) -> bool:
    try:
        address = urlsplit(url)
        host, _ = address.hostname or "", address.port
    except ValueError:
        return False
    if not host or "@" in address.netloc or not re.fullmatch("[!-~]*", url):
        return False
    return address.scheme == "https" or (address.scheme == "http" and _is_this_machine(host))


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class _OverBudget(Exception):
    """A budget does not have the dollars of the next attempt left."""


@dataclass
class _Asking:
    """A question on its way, and what its attempts have come to."""

    question: Question
    prompt: Prompt
    messages: list[Message]
    started: float
    attempts: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost: Decimal = field(default_factory=Decimal)
    error: str = ""

    def answer(self, value: BaseModel | None, outcome: Outcome) -> Answer:
        return Answer(
            value=value,
            outcome=outcome,
            model=self.prompt.model,
            tokens_in=self.tokens_in,
            tokens_out=self.tokens_out,
            cost=self.cost,
            latency_ms=round((time.monotonic() - self.started) * 1000),
            attempts=self.attempts,
            cached=outcome is Outcome.CACHED,
            prompt_hash=self.prompt.sha256,
            error="" if value is not None else self.error,
        )


class OpenRouter:
    """Asks over HTTP: cached, reserved, deadlined, retried, recorded.

    Usable from several threads; close it, or use it as a context manager. Not to be asked within
    a transaction of the same thread on the ledger's store.

    Args:
        prices: of the endpoint's models, see `checked`.
        sleep: how the time between two attempts is waited for.
        live: where answers are shared with audits that have another store.

    Raises:
        BadUsage: the endpoint is not one that can be asked.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        ledger: CallLedger,
        prices: Prices | None = None,
        sleep: Callable[[float], None] = time.sleep,
        live: LiveState | None = None,
    ) -> None:
        self._live = live or live_state()
        self._prices = checked(endpoint) if prices is None else prices
        if not endpoint.api_key:
            raise BadUsage("no key: set OPENROUTER_API_KEY, or use NoLLM")
        self.endpoint = endpoint
        self.ledger = ledger
        self._sleep = sleep
        self._client = ChatClient(endpoint)
        self._breaker = pybreaker.CircuitBreaker(
            fail_max=FAILURES_MAX,
            reset_timeout=LEFT_ALONE_SECONDS,
            exclude=[lambda fault: not (isinstance(fault, AttemptFailed) and fault.unhealthy)],
            throw_new_error_on_trip=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_fault: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def batch_call_llm(
        self, questions: Sequence[Question], concurrency: int = CONCURRENCY
    ) -> list[Answer]:
        """The answers in the order of the questions; the same question is asked once.

        Args:
            concurrency: questions under way at a time, at most 32.

        Raises:
            StoreUnavailable: the store fails.
        """
        hashes = [prompt_of(question, self.endpoint).sha256 for question in questions]
        first_at: dict[str, int] = {}
        for at, sha256 in enumerate(hashes):
            first_at.setdefault(sha256, at)
        if not first_at:
            return []
        firsts = [questions[at] for at in first_at.values()]
        with ThreadPoolExecutor(max(1, min(concurrency, CONCURRENCY_MAX, len(firsts)))) as pool:
            given = dict(zip(first_at, pool.map(self.call_llm, firsts), strict=True))
        return [
            given[sha256] if first_at[sha256] == at else self._again(questions[at], given[sha256])
            for at, sha256 in enumerate(hashes)
        ]

    def _again(self, question: Question, given: Answer) -> Answer:
        """The answer to a question that the same batch has had already."""
        if given.value is not None:
            return self.call_llm(question)
        nothing = replace(given, tokens_in=0, tokens_out=0, attempts=0, latency_ms=0)
        return replace(nothing, cost=Decimal(0))

    def call_llm(self, question: Question) -> Answer:
        """The answer; no fault of the service is raised.

        Raises:
            StoreUnavailable: the store fails.
        """
        started = time.monotonic()
        prompt = prompt_of(question, self.endpoint)
        asking = _Asking(question, prompt, prompt.messages, started)
        cached = self._cached(asking)
        if cached is not None:
            return asking.answer(cached, Outcome.CACHED)
        retries = retrying(self.endpoint.attempts_max, self.endpoint.deadline_seconds, self._sleep)
        try:
            value = retries(self._guarded, asking)
        except AttemptFailed as failed:
            return asking.answer(None, failed.outcome)
        except pybreaker.CircuitBreakerError:
            asking.error = asking.error or "the service failed or refused the key; it is left alone"
            return asking.answer(None, Outcome.CIRCUIT_OPEN)
        except _OverBudget:
            asking.error = "a budget is spent: LLM_BUDGET_RUN or LLM_BUDGET_DAY"
            return asking.answer(None, Outcome.OVER_BUDGET)
        return asking.answer(value, Outcome.ANSWERED)

    def _cached(self, asking: _Asking) -> BaseModel | None:
        question, prompt = asking.question, asking.prompt
        found = self.ledger.found(prompt.sha256)
        if found is not None:
            # where this fails it was of an older schema with validators of its own
            with contextlib.suppress(ValueError):
                value = question.schema.model_validate_json(found)
                self.ledger.put_cached(question, prompt.model, prompt.sha256)
                return value
        shared = self._live.get(f"answer:{prompt.sha256}")
        if not isinstance(shared, str):
            return None
        try:
            value = lifted(shared, question.schema, lambda text: outward(text, self.endpoint))
        except InvalidAnswer:
            return None
        # with what was answered: no attempt in this store's table says it
        answer = value.model_dump_json(by_alias=True)
        self.ledger.put_cached(question, prompt.model, prompt.sha256, answer)
        return value

    def _guarded(self, asking: _Asking) -> BaseModel:
        try:
            with self._breaker.calling():
                return self._attempt(asking)
        except AttemptFailed as failed:
            if failed.lasting:
                self._breaker.open()
            raise

    def _attempt(self, asking: _Asking) -> BaseModel:
        endpoint, prompt = self.endpoint, asking.prompt
        left = asking.started + endpoint.deadline_seconds - time.monotonic()
        if left <= 0:
            raise AttemptFailed(Outcome.DEADLINE, "the deadline is over")
        tokens_in = tokens_in_max(asking.messages, prompt.schema)
        held = self.ledger.reserve(
            asking.question,
            prompt.model,
            prompt.sha256,
            asking.attempts + 1,
            self._prices.calculate_cost(prompt.model, tokens_in, endpoint.tokens_out_max),
            endpoint.deadline_seconds,
        )
        if held is None:
            raise _OverBudget
        asking.attempts += 1
        began = time.monotonic()
        left = asking.started + endpoint.deadline_seconds - began
        reply: Reply | None = None
        try:
            reply = self._client.ask(
                prompt.model,
                asking.messages,
                prompt.schema,
                max(0.001, min(left, endpoint.attempt_seconds_max)),
            )
            value = self._value(asking, reply)
        except AttemptFailed as failed:
            if time.monotonic() >= asking.started + endpoint.deadline_seconds - CLOCK_SECONDS:
                failed.outcome, failed.again = Outcome.DEADLINE, False
            self._settle(asking, held, began, reply, failed)
            raise
        self._settle(asking, held, began, reply, value)
        answer = value.model_dump_json(by_alias=True)
        self._live.put(f"answer:{prompt.sha256}", answer, SHARED_SECONDS)
        return value

    def _value(self, asking: _Asking, reply: Reply) -> BaseModel:
        if reply.refusal:
            raise AttemptFailed(Outcome.REFUSED, reply.refusal)
        try:
            return lifted(
                reply.text, asking.question.schema, lambda text: outward(text, self.endpoint)
            )
        except InvalidAnswer as fault:
            asking.messages = [
                *asking.prompt.messages,
                *asked_again(reply.text, str(fault), self.endpoint),
            ]
            raise AttemptFailed(Outcome.INVALID, str(fault), again=True) from fault

    def _settle(
        self,
        asking: _Asking,
        held: Reserved,
        began: float,
        reply: Reply | None,
        ended: BaseModel | AttemptFailed,
    ) -> None:
        failed = ended if isinstance(ended, AttemptFailed) else None
        tokens_in = reply.tokens_in if reply else None
        tokens_out = reply.tokens_out if reply else None
        if tokens_in is not None and tokens_out is not None:
            dollars = self._prices.calculate_cost(held.model, tokens_in, tokens_out)
        elif failed and failed.free:
            dollars = Decimal(0)
        else:
            dollars = held.dollars
        asking.tokens_in += tokens_in or 0
        asking.tokens_out += tokens_out or 0
        asking.cost += dollars
        if failed:
            asking.error = error_text(failed.said, self.endpoint)
        self.ledger.settle(
            held,
            Settled(
                outcome=failed.outcome if failed else Outcome.ANSWERED,
                dollars=dollars,
                duration_ms=round((time.monotonic() - began) * 1000),
                tokens_in=tokens_in,
                tokens_out=tokens_out,
                answer=None
                if isinstance(ended, AttemptFailed)
                else ended.model_dump_json(by_alias=True),
                error=asking.error if failed else None,
            ),
        )
