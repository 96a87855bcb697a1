"""When an attempt is made again: one policy for every kind of fault.

Nothing else retries: not the HTTP client, not its transport, and a step of the graph that asked
gets an answer instead of an error.
"""

import datetime as dt
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt
from tenacity.stop import stop_before_delay

from audit_pipeline.model.question import Outcome

WAIT_SECONDS = 0.5
"""Before the second attempt; doubled before each further one, and spread by half."""

WAIT_SECONDS_MAX = 20.0

_TOO_MANY_REQUESTS = 429
_NO_CREDENTIALS = (401, 402)
_FORBIDDEN = 403
_LATER = (408, 425, _TOO_MANY_REQUESTS)
_SERVER_ERROR = 500


@dataclass(eq=False)
class AttemptFailed(Exception):
    """One attempt gave no answer.

    Attributes:
        outcome: of the question, if this attempt was the last.
        said: what happened.
        again: another attempt may fare better.
        free: it is known to have cost nothing.
        unhealthy: the service did not work; the circuit breaker counts it.
        lasting: every other question would meet the same; the circuit breaker opens at once.
        wait_seconds: how long the service asks to be left alone; None: it does not say.
    """

    outcome: Outcome
    said: str
    again: bool = False
    free: bool = False
    unhealthy: bool = False
    lasting: bool = False
    wait_seconds: float | None = None

    def __str__(self) -> str:
        return self.said


def failed_by_status(status: int, said: str, headers: Mapping[str, str]) -> AttemptFailed:
    """What an HTTP status of 400 or more means; such a request is not charged."""
    text = f"HTTP {status}: {said}"
    if status in _NO_CREDENTIALS:
        return AttemptFailed(Outcome.UNAUTHORISED, text, free=True, lasting=True)
    if status == _FORBIDDEN:
        # also a single prompt that the provider's moderation stops
        return AttemptFailed(Outcome.UNAUTHORISED, text, free=True)
    if status in _LATER or status >= _SERVER_ERROR:
        return AttemptFailed(
            Outcome.UNAVAILABLE,
            text,
            again=True,
            free=True,
            unhealthy=status != _TOO_MANY_REQUESTS,
            wait_seconds=retry_after_seconds(headers),
        )
    return AttemptFailed(Outcome.REFUSED, text, free=True)


def retry_after_seconds(headers: Mapping[str, str], now: dt.datetime | None = None) -> float | None:
    """What `Retry-After` asks for, in seconds or as a date; None where it says nothing sound."""
    said = headers.get("retry-after", "").strip()
    if said.isascii() and said.isdigit():
        return float(said[:9])
    try:
        until = parsedate_to_datetime(said)
    except (TypeError, ValueError):
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=dt.UTC)
    return max(0.0, (until - (now or dt.datetime.now(dt.UTC))).total_seconds())


def retrying(
    attempts_max: int, seconds_max: float, sleep: Callable[[float], None] = time.sleep
) -> Retrying:
    """Calls a function until it returns, or raises what is not to be tried again.

    Args:
        seconds_max: no wait reaches beyond it; the last fault is then raised instead.
    """
    return Retrying(
        retry=retry_if_exception(lambda fault: isinstance(fault, AttemptFailed) and fault.again),
        stop=stop_after_attempt(attempts_max) | stop_before_delay(seconds_max),
        wait=_wait_seconds,
        sleep=sleep,
        reraise=True,
    )


def _wait_seconds(state: RetryCallState) -> float:
    fault = state.outcome.exception() if state.outcome else None
    if isinstance(fault, AttemptFailed) and fault.outcome is Outcome.INVALID:
        return 0.0  # the service works; it is the answer that did not
    grown = min(WAIT_SECONDS * 2 ** (state.attempt_number - 1), WAIT_SECONDS_MAX)
    spread = random.uniform(0.5, 1.5)  # noqa: S311 - so that workers do not return all at once
    asked = fault.wait_seconds if isinstance(fault, AttemptFailed) else None
    # never sooner than asked for
    return grown * spread if asked is None else asked + grown * (spread - 0.5) / 2
