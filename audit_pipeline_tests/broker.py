"""A real Redis for tests, and workers on it: on the loopback interface, gone at the end."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
import redis

from audit_pipeline_tests.environment import OURS, ROOT

START_SECONDS_MAX = 60
MISSING = "no redis-server on this machine; apt-get install redis-server"


@pytest.fixture
def broker_url(tmp_path: Path) -> Iterator[str]:
    """The address of an empty Redis of its own, which keeps nothing on disk."""
    with broker_in(tmp_path) as url:
        yield url


@contextmanager
def broker_in(folder: Path) -> Iterator[str]:
    """A Redis until the end of the block; its log in that folder."""
    server = shutil.which("redis-server")
    if server is None:
        pytest.skip(MISSING)
    port = free_port()
    arguments = [server, "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    arguments += ["--appendonly", "no", "--dir", str(folder), "--logfile", "redis.log"]
    with child(arguments, folder / "redis.out"):
        url = f"redis://127.0.0.1:{port}/0"
        with closing(redis.Redis.from_url(url)) as client:
            deadline = time.monotonic() + START_SECONDS_MAX
            while True:
                try:
                    client.ping()
                    break
                except redis.ConnectionError:
                    assert time.monotonic() < deadline, "Redis did not start"
                    time.sleep(0.02)
        yield url


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


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
