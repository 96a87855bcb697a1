"""What is asked of a language model and what comes back; an agent needs no more than this."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Literal, Protocol

from pydantic import BaseModel

Tier = Literal["default", "edge"]
"""The cheap model, or the stronger one for the cases that the cheap one is unsure of."""

CONCURRENCY = 4


class Outcome(StrEnum):
    """How a question ended; all but the first two leave it without an answer."""

    ANSWERED = "answered"
    CACHED = "cached"
    OFF = "off"
    OVER_BUDGET = "over budget"
    REFUSED = "refused"
    INVALID = "invalid"
    UNAVAILABLE = "unavailable"
    UNAUTHORISED = "unauthorised"
    CIRCUIT_OPEN = "circuit open"
    DEADLINE = "deadline"
    NOT_RECORDED = "not recorded"


@dataclass(frozen=True)
class Question:
    """One question.

    Attributes:
        agent: who asks, e.g. context_enrichment.
        purpose: what for, in a word or two; a column of `llm_calls`.
        tier: which model.
        system: what the model is to do; ours.
        prompt: what it is to look at; text from outside stands in `untrusted.fenced`.
        schema: what an answer looks like.
    """

    agent: str
    purpose: str
    tier: Tier
    system: str
    prompt: str
    schema: type[BaseModel]


@dataclass(frozen=True)
class Answer:
    """What came back.

    Attributes:
        value: an instance of the question's schema; None unless answered or cached.
        outcome: how it ended.
        model: the model's name at the provider; empty where none was chosen.
        tokens_in: prompt tokens of all attempts, as the provider counted them.
        tokens_out: completion tokens, likewise.
        cost: US dollars of all attempts; of one whose cost is unknown, the most it can be.
        latency_ms: wall time of the whole question.
        attempts: requests made.
        cached: the value was given before, to the same question.
        prompt_hash: 64 hex digits: SHA-256 of model, system, prompt and schema as sent.
        error: the last fault in a line, without secrets; empty where there was none.
    """

    value: BaseModel | None
    outcome: Outcome
    model: str = ""
    tokens_in: int = 0
    tokens_out: int = 0
    cost: Decimal = Decimal(0)
    latency_ms: int = 0
    attempts: int = 0
    cached: bool = False
    prompt_hash: str = ""
    error: str = ""


class LanguageModel(Protocol):
    """Something that answers questions, and says so where it cannot."""

    def call_llm(self, question: Question) -> Answer:
        """The answer; a fault of the service is an outcome of it, not an error."""
        ...

    def batch_call_llm(
        self, questions: Sequence[Question], concurrency: int = CONCURRENCY
    ) -> list[Answer]:
        """The answers in the order of the questions, at most `concurrency` asked at a time."""
        ...


@dataclass(frozen=True)
class Endpoint:
    """Where a language model is reached, and how long and how dearly it may be asked.

    Attributes:
        api_key: empty: no model is asked.
        base_url: of any API that is compatible with OpenAI's.
        model_default: of the default tier, by its name at the provider; `model_edge` likewise.
        prices_path: another price file than the packaged one.
        budget_run: US dollars that one audit run may spend.
        budget_day: US dollars that all runs of one UTC day may spend.
        deadline_seconds: of a question, with all of its attempts and the waits between them.
        attempt_seconds_max: of one attempt.
        attempts_max: requests for one question, whatever the reason for asking again.
        tokens_out_max: of one answer.
    """

    api_key: str = field(default="", repr=False)
    base_url: str = "https://openrouter.ai/api/v1"
    model_default: str = "openai/gpt-4o-mini"
    model_edge: str = "anthropic/claude-3.5-haiku"
    prices_path: Path | None = None
    budget_run: Decimal = Decimal(1)
    budget_day: Decimal = Decimal(5)
    deadline_seconds: float = 60.0
    attempt_seconds_max: float = 25.0
    attempts_max: int = 3
    tokens_out_max: int = 1_000

    def model(self, tier: Tier) -> str:
        """The model of a tier."""
        return self.model_edge if tier == "edge" else self.model_default
