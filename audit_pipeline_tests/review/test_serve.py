"""The desk as a process, and its accounts, by the command line."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from audit_pipeline.model.errors import BadUsage
from audit_pipeline.review.options import Options
from audit_pipeline.review.serve import Listening, refuse_in_clear
from audit_pipeline_tests.environment import OURS, ROOT, SUBPROCESS_SECONDS_MAX, Command

pytestmark = pytest.mark.slow

PASSWORD = re.compile(r"[A-Za-z0-9_-]{20}")


def test_accounts_by_the_command_line(command: Command) -> None:
    assert command("users", "list").out == ""
    made = command("users", "add", "Ann", "--role", "reviewer", "--cardholder", "A LEE")
    name, _, password = made.out.strip().partition(": ")
    assert (made.code, name) == (0, "ann")
    assert PASSWORD.fullmatch(password)
    for words in (
        ("role", "ann", "--role", "approver"),
        ("lock", "ann"),
        ("cardholder", "ann", "--cardholder", "A L"),
    ):
        assert command("users", *words).out == "ann: done\n"
    assert command("users", "list").out == "ann: approver, ann, cards of A L, locked\n"
    assert command("users", "unlock", "ann").code == 0
    assert command("users", "cardholder", "ann").code == 0
    assert command("users", "list").out == "ann: approver, ann\n"
    again = command("users", "password", "ann").out.strip().removeprefix("ann: ")
    assert PASSWORD.fullmatch(again)
    assert again != password


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("add",), "takes one"),
        (("list", "ann"), "takes no name"),
        (("add", "ann"), "--role goes with"),
        (("lock", "ann", "--role", "admin"), "--role goes with"),
        (("lock", "ann", "--cardholder", "A"), "--cardholder goes with"),
        (("lock", "ann"), "nobody here is called ann"),
        (("add", "a b", "--role", "admin"), "1 to 64 of the signs"),
    ],
)
def test_a_wrong_command_is_told_in_one_line(
    command: Command, words: tuple[str, ...], said: str
) -> None:
    ended = command("users", *words)
    assert ended.code == 2
    assert said in ended.one_line


def test_a_desk_without_its_packages_says_what_to_do(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("audit_pipeline.review")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("audit_pipeline.review", raising=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert "`make setup-desk`" in command("desk").one_line


# ── in clear ────────────────────────────────────────────────────────────────────────────────────


def test_passwords_do_not_cross_a_network_in_clear(tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    for file in (certificate, key):
        file.touch()
    anywhere = "0.0.0.0"  # noqa: S104
    plain, behind = Options(), Options(is_behind_proxy=True)
    refuse_in_clear(Listening("127.0.0.1"), plain)
    refuse_in_clear(Listening("::1"), plain)
    refuse_in_clear(Listening(anywhere), behind)
    refuse_in_clear(Listening(anywhere, 1, certificate, key), plain)
    for listening, said in (
        (Listening(anywhere), "in clear"),
        (Listening("desk.example"), "in clear"),
        (Listening(anywhere, 1, certificate), "go together"),
        (Listening(anywhere, 1, None, key), "go together"),
        (Listening(anywhere, 1, certificate, tmp_path / "none"), "no such file"),
    ):
        with pytest.raises(BadUsage, match=said):
            refuse_in_clear(listening, plain)


def test_a_port_that_is_taken_is_told(command: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert (
            f"cannot listen on http://127.0.0.1:{port}" in command("desk", "--port", port).one_line
        )
    assert command("desk", "--port", "70000").code == 2
    assert Listening("::1", 1, Path("c")).address(8) == "https://[::1]:8"


# ── as a process ────────────────────────────────────────────────────────────────────────────────


class Served:
    """`audit-pipeline desk` on a terminal, or on a pipe."""

    def __init__(self, data: Path, *, on_terminal: bool) -> None:
        self.log = data.parent / "log"
        reading, writing = os.openpty() if on_terminal else os.pipe()
        self.reading = reading
        clean = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "audit_pipeline.cli", "desk", "--port", "0"],
                env=clean | {"AUDIT_DATA_DIR": str(data)},
                cwd=ROOT,
                stdout=writing,
                stderr=log,
            )
        os.close(writing)
        self.said = ""
        self.address = self.read(r"http://127\.0\.0\.1:\d+")

    def read(self, pattern: str) -> str:
        """What it says, up to this."""
        ends_at = time.monotonic() + SUBPROCESS_SECONDS_MAX
        while not (found := re.search(pattern, self.said)):
            assert time.monotonic() < ends_at, self.said
            try:
                said = os.read(self.reading, 4_096)
            except OSError:  # how a terminal ends
                said = b""
            assert said, self.said + self.log.read_text()
            self.said += said.decode()
        return found[0]

    def ask(self, method: str, path: str, **sent: object) -> requests.Response:
        """Once it answers."""
        ends_at = time.monotonic() + SUBPROCESS_SECONDS_MAX
        while True:
            try:
                return requests.request(method, self.address + path, timeout=30, **sent)  # type: ignore[arg-type]
            except requests.ConnectionError:
                assert time.monotonic() < ends_at
                time.sleep(0.05)

    def stop(self) -> int:
        """As ctrl-C does."""
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(SUBPROCESS_SECONDS_MAX)
        os.close(self.reading)
        return code


def test_the_first_password_is_shown_once_on_a_terminal(tmp_path: Path) -> None:
    """It is nowhere else: not in the log, and not in any file of the desk."""
    data = tmp_path / "data"
    served = Served(data, on_terminal=True)
    password = served.read(r"password (\S{20})\s").split()[1]
    assert "Sign in as admin" in served.said
    credentials = {"user_id": "admin", "password": password}
    pair = served.ask("POST", "/api/v1/auth/login", json=credentials).json()
    bearer = {"Authorization": f"Bearer {pair['access_token']}"}
    assert served.ask("GET", "/api/v1/me", headers=bearer).json()["role"] == "admin"
    assert "Server" not in served.ask("GET", "/health").headers
    forwarded = {"X-Forwarded-For": "198.51.100.1"}
    assert served.ask("GET", "/metrics", headers=forwarded).status_code == 403
    assert served.stop() == 0
    log = served.log.read_text()
    assert '"route": "/api/v1/me"' in log
    assert "Traceback" not in log
    for secret in (password, pair["access_token"], pair["refresh_token"]):
        assert secret not in log
        for file in (file for file in data.rglob("*") if file.is_file()):
            assert secret.encode() not in file.read_bytes(), file

    again = Served(data, on_terminal=True)
    assert again.ask("GET", "/api/v1/me", headers=bearer).status_code == 200, "its key is kept"
    assert again.stop() == 0
    assert "password" not in again.said


def test_no_password_is_shown_where_it_would_stay(tmp_path: Path) -> None:
    served = Served(tmp_path / "data", on_terminal=False)
    served.read("users add NAME --role admin")
    assert served.ask("GET", "/health").status_code == 200
    assert served.stop() == 0
    assert "password" not in served.said
