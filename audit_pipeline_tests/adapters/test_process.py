"""What a process knows of others where the system does not help, and at its parent's end."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from audit_pipeline.adapters import process
from audit_pipeline_tests.environment import ROOT


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


ASKS = """
import multiprocessing, sys, threading, time
from audit_pipeline.adapters import process

def step():
    process.die_with_parent()
    print(process.holder(), flush=True)
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()

if __name__ == "__main__":
    started = multiprocessing.get_context(sys.argv[1]).Process(target=step)
    started.start()
    time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="processes die with their parents on Linux")
@pytest.mark.parametrize("way", ["fork", "forkserver", "spawn"])
def test_a_step_that_hangs_dies_with_who_asked_for_it(tmp_path: Path, way: str) -> None:
    """Whatever it waits for, and also where a fork server stands between the two."""
    script = tmp_path / "asks.py"
    script.write_text(ASKS)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    arguments = [sys.executable, str(script), way]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=environment) as asks:
        assert asks.stdout is not None
        step = asks.stdout.readline().strip()
        assert not process.is_gone(step)
        asks.kill()
        deadline = time.monotonic() + 30
        while not process.is_gone(step):
            assert time.monotonic() < deadline, "it hangs on"
            time.sleep(0.05)
