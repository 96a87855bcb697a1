"""A real Redis for tests: the machine's own `redis-server`, gone at the end.

A test module that wants one marks its tests `redis` and asks for `redis_server` (one of its own,
which it may stop and kill) or `redis_url` (the address of an empty database of the session's).
Where there is no `redis-server`, the test is skipped; where CI is set, it fails.
"""

import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from audit_pipeline_tests.environment import skip_or_fail
from audit_pipeline_tests.postgres import free_port

START_SECONDS_MAX = 30
MISSING = "no redis-server on this machine; apt-get install redis-server"


@dataclass
class RedisServer:
    """A running server on the loopback interface; nothing of it is kept on disk."""

    port: int
    password: str
    process: "subprocess.Popen[bytes]"

    @property
    def url(self) -> str:
        """Its address."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def client(self) -> redis.Redis:
        """A plain client, to look at what is there and to spoil it."""
        return redis.Redis.from_url(self.url, protocol=2)

    def kill(self) -> None:
        """At once, by SIGKILL; what asks next is refused."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(timeout=30)


def _until_it_answers(server: RedisServer, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS_MAX
    while True:
        try:
            with closing(server.client()) as client:
                client.ping()
        except redis.RedisError:
            if server.process.poll() is not None or time.monotonic() > deadline:
                server.process.kill()
                server.process.wait()
                pytest.fail(f"Redis did not start:\n{log.read_text(errors='replace')}")
            time.sleep(0.02)
        else:
            return


@contextmanager
def running(like: RedisServer | None = None) -> Iterator[RedisServer]:
    """A server with a password, without persistence, stopped by its pid.

    Args:
        like: one that is gone, whose address it takes.
    """
    program = shutil.which("redis-server")
    if program is None:
        skip_or_fail(MISSING)
    home = Path(tempfile.mkdtemp(prefix="audit-pipeline-redis-"))
    try:
        port = like.port if like else free_port()
        password = like.password if like else secrets.token_hex(16)
        settings = home / "redis.conf"  # a password on the command line is everybody's to see
        settings.touch(mode=0o600)
        settings.write_text(
            f"bind 127.0.0.1\nport {port}\nrequirepass {password}\ndir {home}\n"
            'save ""\nappendonly no\ndaemonize no\n'
        )
        with (home / "log").open("wb") as log:
            process = subprocess.Popen([program, settings], stdout=log, stderr=log, cwd=home)
        server = RedisServer(port, password, process)
        _until_it_answers(server, home / "log")
        try:
            yield server
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(timeout=30)
    finally:
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A server of the test's own: it may be killed."""
    with running() as server:
        yield server


@pytest.fixture(scope="session")
def _shared_redis() -> Iterator[RedisServer]:
    with running() as server:
        yield server


@pytest.fixture
def redis_url(_shared_redis: RedisServer) -> str:
    """The address of an empty database."""
    with closing(_shared_redis.client()) as client:
        client.flushall()
    return _shared_redis.url
