"""Signing in by page and by program, its throttle, renewal, and changing one's password."""

import datetime as dt
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest
from httpx2 import Response
from sqlalchemy import func, select, update

from audit_pipeline.adapters.store import accounts, login_failures
from audit_pipeline.adapters.store.schema import (
    LOGIN_FAILURES,
    REFRESH_TOKENS,
    SESSIONS,
    USERS,
)
from audit_pipeline.model.person import Role
from audit_pipeline.review import passwords, sign_in
from audit_pipeline.review.access import COOKIE
from audit_pipeline_tests.review import doors
from audit_pipeline_tests.review.doors import PASSWORD, Door

pytestmark = pytest.mark.slow

door = doors.door

LOGIN = "/api/v1/auth/login"
REFRESH = "/api/v1/auth/refresh"
WRONG = {"user_id": "ann", "password": "wrong"}
RIGHT = {"user_id": "ann", "password": PASSWORD}


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The passwords that were looked at; each is wrong."""
    seen: list[str] = []

    def wrong(password: str, known: str | None) -> tuple[bool, None]:
        seen.append(password)
        return False, None

    monkeypatch.setattr(passwords, "verified", wrong)
    return seen


def age(door: Door, by: dt.timedelta) -> None:
    with door.desk.store.writing() as writer:
        for row in writer.connection.execute(select(LOGIN_FAILURES)).all():
            writer.connection.execute(
                update(LOGIN_FAILURES)
                .where(LOGIN_FAILURES.c.failure_id == row.failure_id)
                .values(failed_at=row.failed_at - by)
            )


# ── by program ──────────────────────────────────────────────────────────────────────────────────


def test_a_program_signs_in_and_renews_and_signs_out(door: Door) -> None:
    door.add("ann")
    pair = door.client().post(LOGIN, json=RIGHT | {"user_id": "ANN"}).json()
    assert (pair["token_type"], pair["expires_in"]) == ("bearer", 24 * 3_600)

    next_pair = door.client().post(REFRESH, json={"refresh_token": pair["refresh_token"]}).json()
    assert next_pair["refresh_token"] != pair["refresh_token"]
    client = door.client(Authorization=f"Bearer {next_pair['access_token']}")
    assert client.get("/api/v1/me").json()["user_id"] == "ann"

    assert client.post("/api/v1/auth/logout").status_code == 204
    assert client.get("/api/v1/me").status_code == 401
    again = door.client().post(REFRESH, json={"refresh_token": next_pair["refresh_token"]})
    assert again.status_code == 401


def test_a_refresh_token_that_comes_twice_ends_the_sign_in(door: Door) -> None:
    """Whoever has stolen it, first or second, has nothing of it; the trail says so."""
    door.add("ann")
    pair = door.client().post(LOGIN, json=RIGHT).json()
    first = {"refresh_token": pair["refresh_token"]}
    second = door.client().post(REFRESH, json=first).json()
    assert door.client().post(REFRESH, json=first).status_code == 401
    for token in (pair["access_token"], second["access_token"]):
        assert door.client(Authorization=f"Bearer {token}").get("/api/v1/me").status_code == 401
    renewal = {"refresh_token": second["refresh_token"]}
    assert door.client().post(REFRESH, json=renewal).status_code == 401
    assert [entry.event.tool_called for entry in door.desk.store.trail()][-1] == (
        "refuse_reused_token"
    )


@pytest.mark.parametrize("token", ["", "unknown", "\x00", "x" * 256])
def test_an_unknown_refresh_token_renews_nothing(door: Door, token: str) -> None:
    assert door.client().post(REFRESH, json={"refresh_token": token}).status_code == 401


def test_neither_password_nor_token_is_in_the_store(door: Door) -> None:
    door.add("ann")
    pair = door.client().post(LOGIN, json=RIGHT).json()
    with door.desk.store.reading() as connection:
        kept = [
            str(tuple(row))
            for table in (USERS, SESSIONS, REFRESH_TOKENS, LOGIN_FAILURES)
            for row in connection.execute(select(table))
        ]
        assert connection.scalar(select(func.count()).select_from(LOGIN_FAILURES)) == 0
    assert kept
    for secret in (PASSWORD, pair["refresh_token"], pair["access_token"]):
        assert not any(secret in row for row in kept)


def test_a_wrong_name_and_a_wrong_password_look_alike(door: Door) -> None:
    door.add("ann")
    door.add("locked")
    with door.desk.store.writing() as writer:
        accounts.set_disabled(writer, "locked", disabled=True)
        accounts.add_user(writer, "without", Role.ADMIN, None)
    answers = [
        door.client().post(LOGIN, json={"user_id": name, "password": password})
        for name, password in (
            ("ann", "wrong"),
            ("nobody", PASSWORD),
            ("locked", PASSWORD),
            ("without", PASSWORD),
            ("'; DROP TABLE users;--", PASSWORD),
        )
    ]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.json()["message"] for answer in answers}) == 1


@pytest.mark.parametrize(
    "body",
    [
        {},
        RIGHT | {"extra": 1},
        {"user_id": 1, "password": PASSWORD},
        {"user_id": "ann", "password": "secret" * 200},
        [],
    ],
)
def test_what_is_not_valid_is_not_sent_back(door: Door, body: object) -> None:
    answer = door.client().post(LOGIN, json=body)
    document = answer.json()
    assert answer.status_code == 422
    assert document["code"] == "not_valid"
    assert all(set(one) == {"field", "message"} for one in document["details"])
    assert "secret" not in answer.text


# ── the throttle ────────────────────────────────────────────────────────────────────────────────


def test_a_thousand_tries_cost_ten_passwords(door: Door, looked_at: list[str]) -> None:
    """Whatever headers they come with; the rest is told when to come back."""
    client = door.client()
    answers: list[Response] = []
    for number in range(1_000):
        headers = {
            "X-Forwarded-For": f"198.51.{number % 256}.{number // 256}",
            "Forwarded": f"for=198.51.100.{number % 256}",
            "X-Real-IP": f"198.51.100.{number % 256}",
            "User-Agent": f"browser/{number}",
        }
        answers.append(client.post(LOGIN, json=WRONG | {"password": str(number)}, headers=headers))
    assert len(looked_at) == 10
    assert [answer.status_code for answer in answers] == [401] * 10 + [429] * 990
    assert 0 < int(answers[-1].headers["retry-after"]) <= 15 * 60


Try = Callable[[int], tuple[str, str]]


@pytest.mark.parametrize(
    "one",
    [
        lambda number: ("ann", f"192.0.2.{number}"),
        lambda number: (f"user{number}", "192.0.2.7"),
        lambda number: (" ann\udc80", f"192.0.2.{number}"),
        lambda number: ("x" * 256, f"192.0.2.{number}"),
    ],
    ids=["one account", "one address", "no name", "a long name"],
)
def test_account_and_address_are_counted(door: Door, looked_at: list[str], one: Try) -> None:
    for number in range(15):
        name, peer = one(number)
        door.client(peer).post("/login", data={"user_id": name.encode("utf-8", "replace")})
    assert len(looked_at) == 10


def test_tries_at_the_same_time_are_counted_too(door: Door, looked_at: list[str]) -> None:
    """Each is reserved before its password is looked at."""
    with ThreadPoolExecutor(30) as pool:
        answers = list(pool.map(lambda _: door.client().post(LOGIN, json=WRONG), range(30)))
    assert sorted(answer.status_code for answer in answers) == [401] * 10 + [429] * 20
    assert len(looked_at) == 10


def test_the_right_password_waits_as_well(door: Door) -> None:
    """Else the answer would tell it apart. After a quarter of an hour it is let in."""
    door.add("ann")
    with door.desk.store.writing() as writer:
        for _ in range(10):
            login_failures.reserve_try(writer, "ann", "203.0.113.5")
    assert door.client().post(LOGIN, json=RIGHT).status_code == 429
    age(door, dt.timedelta(minutes=14))
    late = door.client().post(LOGIN, json=RIGHT)
    assert late.status_code == 429
    assert int(late.headers["retry-after"]) <= 60
    age(door, dt.timedelta(minutes=1))
    assert door.client().post(LOGIN, json=RIGHT).status_code == 200


def test_the_right_password_is_no_failure(door: Door) -> None:
    door.add("ann")
    for _ in range(12):
        assert door.client().post(LOGIN, json=RIGHT).status_code == 200


def test_a_try_that_slips_in_between_is_refused(
    door: Door, looked_at: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first look, which is without a lock, is not the one that counts."""
    monkeypatch.setattr(login_failures, "wait_of", lambda *_: dt.timedelta())
    monkeypatch.setattr(login_failures, "reserve_try", lambda *_: None)
    assert door.client().post(LOGIN, json=WRONG).headers["retry-after"] == "900"
    assert looked_at == []


@pytest.mark.parametrize(
    ("proxies", "peer", "forwarded", "is_counted_as"),
    [
        ((), "192.0.2.7", "198.51.100.1", "192.0.2.7"),
        (("192.0.2.7",), "192.0.2.7", "198.51.100.1", "198.51.100.1"),
        (("192.0.2.7",), "192.0.2.7", "1.1.1.1, 198.51.100.1", "198.51.100.1"),
        (("192.0.2.0/24",), "192.0.2.7", "1.1.1.1, 198.51.100.1, 192.0.2.8", "198.51.100.1"),
        (("192.0.2.7",), "192.0.2.7", "", "192.0.2.7"),
        (("192.0.2.0/24",), "192.0.2.7", "192.0.2.8", "192.0.2.8"),
        (("192.0.2.7",), "testclient", "198.51.100.1", "testclient"),
        (("192.0.2.7",), "192.0.2.7", "unknown", "unknown"),
    ],
)
def test_whose_word_for_an_address_counts(
    door: Door,
    looked_at: list[str],
    proxies: tuple[str, ...],
    peer: str,
    forwarded: str,
    is_counted_as: str,
) -> None:
    from audit_pipeline.review.options import Options

    named = Options.from_env({"AUDIT_DESK_PROXIES": " ".join(proxies)}).proxies
    client = door.with_options(proxies=named).client(peer)
    client.post(LOGIN, json=WRONG, headers={"X-Forwarded-For": forwarded} if forwarded else {})
    with door.desk.store.reading() as connection:
        assert connection.scalars(select(LOGIN_FAILURES.c.peer)).all() == [is_counted_as]


# ── by page ─────────────────────────────────────────────────────────────────────────────────────


def test_a_person_signs_in_by_page(door: Door) -> None:
    door.add("ann")
    browser = door.client()
    shown = browser.get("/login", params={"next": "/account?x=1"})
    assert 'name="next" value="/account?x=1"' in shown.text
    answer = browser.post("/login", data=RIGHT | {"next": "/account?x=1"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/account?x=1")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE}=eyJ")
    for attribute in ("HttpOnly", "Secure", "SameSite=lax", "Path=/"):
        assert f"; {attribute}" in cookie
    assert "domain" not in cookie.lower()
    assert "reviewer" in browser.get("/account").text
    assert browser.get("/login?next=/account").headers["location"] == "/account"


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example", "/\\evil.example"])
def test_signing_in_leads_nowhere_else(door: Door, target: str) -> None:
    door.add("ann")
    answer = door.client().post("/login", data=RIGHT | {"next": target})
    assert answer.headers["location"] == "/"
    assert 'value="/"' in door.client().get("/login", params={"next": target}).text


def test_a_refused_sign_in_says_so_on_the_page(door: Door, looked_at: list[str]) -> None:
    name = "<script>alert(1)</script>"
    pages = [door.client().post("/login", data=WRONG | {"user_id": name}) for _ in range(11)]
    assert [page.status_code for page in pages] == [401] * 10 + [429]
    assert "the name or the password is wrong" in pages[0].text
    assert "try again in 15 min" in pages[-1].text
    assert "retry-after" in pages[-1].headers
    assert "<script>" not in pages[0].text
    assert COOKIE not in str([page.headers for page in pages])


def test_another_password_ends_every_other_sign_in(door: Door) -> None:
    mine, other = door.session("ann"), door.session("ann")
    browser = door.browser(mine)
    new = "a stapler, correct"

    def ask(old: str, first: str, second: str) -> str:
        answer = browser.post("/account/password", data={"old": old, "new": first, "again": second})
        assert answer.status_code == 422
        return answer.text

    assert "the two new passwords differ" in ask(PASSWORD, new, new + "!")
    assert "12 to 1,024 characters" in ask(PASSWORD, "short", "short")
    assert "the old password is wrong" in ask("wrong", new, new)
    assert door.program(other).get("/api/v1/me").status_code == 200

    changed = browser.post("/account/password", data={"old": PASSWORD, "new": new, "again": new})
    assert changed.status_code == 303
    for session in (mine, other):
        assert door.program(session).get("/api/v1/me").status_code == 401
    token = changed.headers["set-cookie"].partition("=")[2].partition(";")[0]
    assert door.client(Authorization=f"Bearer {token}").get("/api/v1/me").status_code == 200
    assert door.client().post(LOGIN, json=RIGHT).status_code == 401
    assert door.client().post(LOGIN, json=RIGHT | {"password": new}).status_code == 200


def test_guessing_the_old_password_is_throttled(door: Door, looked_at: list[str]) -> None:
    browser = door.browser(door.session("ann"))
    form = {"old": "wrong", "new": "x" * 12, "again": "x" * 12}
    pages = [browser.post("/account/password", data=form) for _ in range(12)]
    assert len(looked_at) == 10
    assert "too many wrong passwords" in pages[-1].text


def test_a_hash_of_older_parameters_is_replaced(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    door.add("ann")
    numbers = count()
    monkeypatch.setattr(passwords, "verified", lambda *_: (True, f"newer {next(numbers)}"))
    assert door.client().post(LOGIN, json=RIGHT).status_code == 200
    with door.desk.store.reading() as connection:
        assert connection.scalar(select(USERS.c.password_hash)) == "newer 0"


def test_sign_ins_are_counted(door: Door) -> None:
    door.add("ann")
    door.client().post(LOGIN, json=RIGHT)
    door.client().post(LOGIN, json=WRONG)
    text = door.client("127.0.0.1").get("/metrics").text
    assert 'audit_desk_sign_ins_total{outcome="right"} 1.0' in text
    assert 'audit_desk_sign_ins_total{outcome="wrong"} 1.0' in text


def test_a_wait_is_told_in_whole_seconds() -> None:
    refused = sign_in.TooManyTries(dt.timedelta(milliseconds=1))
    assert (refused.headers or {})["Retry-After"] == "1"
