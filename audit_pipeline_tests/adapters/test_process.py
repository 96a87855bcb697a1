"""What a process knows of others where the system does not help, and at its parent's end."""

import ctypes
import os
import signal
import sys
from pathlib import Path

import pytest

from audit_pipeline.adapters import process


@pytest.fixture
def without_proc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A system that has no /proc, as macOS."""
    monkeypatch.setattr(process, "Path", lambda path: tmp_path / str(path).lstrip("/"))


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Whom this process would have sent which signal."""
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    return sent


@pytest.mark.usefixtures("without_proc")
def test_without_proc_a_process_is_asked(nobody: str) -> None:
    """When it began is not known: who answers under the number is taken for it."""
    own = process.holder()
    assert own.endswith(f":{os.getpid()}:0")
    assert not process.is_gone(own)
    assert process.is_gone(nobody)
    host = own.split(":")[0]
    assert process.is_gone(f"{host}:{10**30}:0"), "no process can have such a number"


@pytest.mark.usefixtures("without_proc")
def test_without_proc_a_process_of_another_user_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may not be signalled, so it is there to refuse."""

    def refuses(pid: int, number: int) -> None:
        raise PermissionError

    own = process.holder()
    monkeypatch.setattr(os, "kill", refuses)
    assert not process.is_gone(own)


class _Library:
    """A C library that notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, ...]] = []

    def prctl(self, *given: int) -> int:
        self.asked.append(given)
        return 0


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> _Library:
    made = _Library()
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: made)
    return made


def test_a_child_asks_to_be_killed_with_its_parent(
    library: _Library, killed: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    process.die_with_parent()
    assert library.asked == [(1, signal.SIGKILL, 0, 0, 0)]
    assert killed == []


def test_a_child_whose_parent_ended_before_it_asked_ends_itself(
    library: _Library, killed: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has another parent afterwards, whose end would tell it nothing."""
    parents = iter([4711, 1])
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "getppid", lambda: next(parents))
    process.die_with_parent()
    assert killed == [(os.getpid(), signal.SIGKILL)]


def test_where_there_is_no_such_call_nothing_is_asked(
    library: _Library, killed: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    process.die_with_parent()
    assert (library.asked, killed) == ([], [])
