"""How long a service is waited for."""

import datetime as dt

import pytest

from audit_pipeline.adapters.llm.retry import (
    WAIT_SECONDS,
    AttemptFailed,
    retry_after_seconds,
    retrying,
)
from audit_pipeline.model.question import Outcome

NOON = dt.datetime(2025, 3, 1, 12, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 3 ", 3.0),
        ("Sat, 01 Mar 2025 12:00:30 GMT", 30.0),
        ("Sat, 01 Mar 2025 11:00:00 GMT", 0.0),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("²", None),
        ("1" * 400, 111_111_111.0),
    ],
)
def test_retry_after(said: str, seconds: float | None):
    assert retry_after_seconds({"retry-after": said}, NOON) == seconds


def test_no_header():
    assert retry_after_seconds({}) is None


def test_waits_double_and_spread():
    waited: list[float] = []

    def fails() -> None:
        raise AttemptFailed(Outcome.UNAVAILABLE, "no", again=True)

    for _ in range(50):
        with pytest.raises(AttemptFailed):
            retrying(4, 1_000.0, waited.append)(fails)
    for place in range(3):
        mine = waited[place::3]
        usual = WAIT_SECONDS * 2**place
        assert usual * 0.5 <= min(mine) < usual < max(mine) <= usual * 1.5


def test_what_is_not_a_failed_attempt_is_raised_at_once():
    calls: list[int] = []

    def breaks() -> None:
        calls.append(1)
        raise KeyError("a defect")

    with pytest.raises(KeyError):
        retrying(3, 10.0)(breaks)
    assert len(calls) == 1
