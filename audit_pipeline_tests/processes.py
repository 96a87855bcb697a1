"""Processes of a test, and workers among them: gone at the end, with all their children."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from audit_pipeline.adapters.process import holder, is_gone
from audit_pipeline_tests.environment import OURS, ROOT


@pytest.fixture
def nobody() -> str:
    """A process of this machine that has ended."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    name = holder(child.pid)
    assert not is_gone(name)
    child.communicate(b"\n")
    return name


@contextmanager
def child(
    arguments: list[str], log: Path, environment: Mapping[str, str] | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """A process in a session of its own, killed at the end of the block with all its children."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(OURS)}
    with log.open("wb") as out:
        process = subprocess.Popen(
            arguments,
            cwd=ROOT,
            env=clean | dict(environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        end(process)


def end(process: "subprocess.Popen[bytes]", *signals: signal.Signals) -> None:
    """Its whole process group: TERM, and KILL for what does not listen; or these signals."""
    for sent in signals or (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sent)
        except ProcessLookupError:
            break
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            continue


@contextmanager
def workers(
    number: int, folder: Path, environment: Mapping[str, str], *, seconds_max: float = 60
) -> Iterator[list["subprocess.Popen[bytes]"]]:
    """Workers `one`, `two`, …, of one process each, that are ready to take steps."""
    names = ("one", "two", "three", "four")[:number]
    with ExitStack() as stack:
        started = [
            stack.enter_context(
                child(
                    [
                        sys.executable,
                        "-m",
                        "audit_pipeline.cli",
                        "worker",
                        "--name",
                        name,
                        "--concurrency",
                        "1",
                    ],
                    folder / f"worker-{name}.log",
                    environment,
                )
            )
            for name in names
        ]
        deadline = time.monotonic() + seconds_max
        for name, process in zip(names, started, strict=True):
            log = folder / f"worker-{name}.log"
            while (
                f"{name}@" not in (said := log.read_text(errors="replace")) or "ready." not in said
            ):
                assert process.poll() is None, said
                assert time.monotonic() < deadline, said
                time.sleep(0.1)
        yield started
