"""A real Postgres for tests: the machine's own binaries, a new cluster, gone at the end.

A test module that wants one says `pytest_plugins = ("audit_pipeline_tests.postgres",)`, marks
its tests `postgres` and asks for `postgres_url`: the address of an empty database of its own.
Where there is no Postgres, the test is skipped; where CI is set, it fails. (Not by importing the
fixtures: pytest warns about a plugin that was imported before it could rewrite its asserts, and
warnings are errors.)
"""

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import psycopg2
import pytest

from audit_pipeline_tests.environment import skip_or_fail

START_SECONDS_MAX = 60
MISSING = "no initdb and postgres on this machine; apt-get install postgresql"

_database_number = count(1)


@dataclass(frozen=True)
class PostgresServer:
    """A running server on the loopback interface."""

    port: int
    password: str

    def url(self, database: str) -> str:
        """The address of a database of it."""
        return f"postgresql+psycopg2://audit:{self.password}@127.0.0.1:{self.port}/{database}"

    def connect(self, database: str = "postgres") -> "psycopg2.extensions.connection":
        """A plain driver connection, each statement its own transaction."""
        connection = psycopg2.connect(
            host="127.0.0.1",
            port=self.port,
            user="audit",
            password=self.password,
            dbname=database,
            connect_timeout=5,
        )
        connection.autocommit = True
        return connection


def binaries() -> Path | None:
    """The folder that holds `initdb` and `postgres`: the newest installed, or that on the PATH."""
    installed = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"),
        key=lambda path: int(path.parts[-3]) if path.parts[-3].isdigit() else 0,
    )
    on_path = shutil.which("initdb")
    for initdb in (*reversed(installed), *([Path(on_path).resolve()] if on_path else [])):
        if (initdb.parent / "postgres").exists():
            return initdb.parent
    return None


def _unprivileged() -> tuple[list[str], int | None]:
    """Postgres refuses to run as root: what to put before a command, and whose uid that is."""
    if os.geteuid() != 0:
        return [], None
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return ["runuser", "-u", name, "--"], user.pw_uid
    return skip_or_fail("this is root, and no user postgres or nobody is there to run Postgres as")


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _until_it_answers(server: PostgresServer, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS_MAX
    while True:
        try:
            server.connect().close()
        except psycopg2.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                process.wait()
                pytest.fail(f"Postgres did not start:\n{log.read_text(errors='replace')}")
            time.sleep(0.05)
        else:
            return


@contextmanager
def running() -> Iterator[PostgresServer]:
    """A server of its own, without fsync: what it holds need not survive."""
    found = binaries()
    if found is None:
        skip_or_fail(MISSING)
    as_user, uid = _unprivileged()
    server = PostgresServer(free_port(), secrets.token_hex(16))
    home = Path(tempfile.mkdtemp(prefix="audit-pipeline-postgres-"))
    try:
        password = home / "password"
        password.write_text(server.password)
        if uid is not None:
            os.chown(home, uid, -1)
            os.chown(password, uid, -1)
        initdb = [found / "initdb", "-D", home / "data", "-U", "audit", f"--pwfile={password}"]
        initdb += ["-A", "scram-sha-256", "-E", "UTF8", "--locale=C", "--no-sync"]
        subprocess.run([*as_user, *initdb], check=True, capture_output=True, cwd=home)
        with (home / "log").open("wb") as log:
            settings = ["-p", str(server.port), "-h", "127.0.0.1", "-k", "", "-c", "fsync=off"]
            # far from UTC, so that a test notices an instant whose zone is taken for granted
            settings += ["-c", "timezone=Asia/Tokyo"]
            postgres = [*as_user, found / "postgres", "-D", home / "data", *settings]
            process = subprocess.Popen(postgres, stdout=log, stderr=log, cwd=home)
        _until_it_answers(server, process, home / "log")
        try:
            yield server
        finally:
            _stop(home, process)
    finally:
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One for the session."""
    with running() as server:
        yield server


def _stop(home: Path, process: subprocess.Popen[bytes]) -> None:
    """Fast shutdown, to the server itself: it may be the child of `runuser`."""
    pid = int((home / "data" / "postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGINT)
    try:
        process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        os.kill(pid, signal.SIGQUIT)
        process.wait(timeout=30)


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The address of an empty database for one test."""
    name = f"audit_{os.getpid()}_{next(_database_number)}"
    with closing(postgres_server.connect()) as admin, admin.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
    yield postgres_server.url(name)
    with closing(postgres_server.connect()) as admin, admin.cursor() as cursor:
        cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")
