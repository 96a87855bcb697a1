"""A failpoint kills where it is armed, at the time that was said, and nowhere else."""

import os
import signal
from collections.abc import Iterator

import pytest

from audit_pipeline.adapters import failpoints


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, int]]]:
    """The signals that this process would have sent itself."""
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    yield sent
    failpoints.arm("")


@pytest.mark.parametrize(("armed", "turns"), [("publish.before", 1), ("publish.before:3", 3)])
def test_it_kills_at_its_place_and_time(
    killed: list[tuple[int, int]], armed: str, turns: int
) -> None:
    """With SIGKILL, once; the same place before that time, and every other place, is passed."""
    failpoints.arm(armed)
    for _ in range(turns - 1):
        failpoints.here("publish.before")
    failpoints.here("publish.after")
    failpoints.here("publish")
    assert killed == []
    failpoints.here("publish.before")
    assert killed == [(os.getpid(), signal.SIGKILL)]
    failpoints.here("publish.before")
    assert len(killed) == 1


def test_without_one_every_place_is_passed(killed: list[tuple[int, int]]) -> None:
    failpoints.arm("")
    for name in failpoints.FAILPOINTS:
        failpoints.here(name)
    assert killed == []


def test_each_place_has_one_name() -> None:
    assert len(set(failpoints.FAILPOINTS)) == len(failpoints.FAILPOINTS)
