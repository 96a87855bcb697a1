"""Flags over the API: the queue, one flag, and what a program does to it for a person."""

import base64
import datetime as dt
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi import Request
from starlette.testclient import TestClient

from audit_pipeline.adapters.store import Store, reviewing
from audit_pipeline.model.flag import flag_id
from audit_pipeline.model.person import Role
from audit_pipeline.review import access
from audit_pipeline.review.access import Person
from audit_pipeline_tests.review.programs import HOSTILE, SignedIn, app_of, client_of, fill, flag

pytestmark = pytest.mark.slow

pytest_plugins = ("audit_pipeline_tests.postgres",)

FLAGS = 30
API = "/api/v1/flags"
DECISION = {"verdict": "rejected", "reason": "corrected", "notes": "seen"}


def identity(number: int) -> str:
    return flag_id(f"t{number}", "demo")


@pytest.fixture(
    params=["sqlite", pytest.param("postgres", marks=[pytest.mark.postgres, pytest.mark.slow])]
)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Thirty flags: 0, 3, 6, … are critical, 0, 5, 10, … are John Smith's."""
    url = f"sqlite:///{tmp_path / 'desk.db'}"
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_url")
    with Store.open(url) as opened:
        fill(opened, FLAGS)
        yield opened


@pytest.fixture
def who() -> SignedIn:
    """Ann, a reviewer, until a test says otherwise."""
    return SignedIn()


@pytest.fixture
def desk(store: Store, who: SignedIn, tmp_path: Path) -> Iterator[TestClient]:
    with client_of(app_of(store, tmp_path, who)) as client:
        yield client


def got(answer: Any, code: int = 200) -> Any:
    assert answer.status_code == code, answer.text
    return answer.json()


def listed(desk: TestClient, **asked: Any) -> list[dict[str, Any]]:
    """Every page of it, each flag once."""
    rows: list[dict[str, Any]] = []
    cursor = None
    while True:
        given = asked | ({"cursor": cursor} if cursor else {})
        page = got(desk.get(API, params=given))
        rows += page["flags"]
        cursor = page["next"]
        if cursor is None:
            assert len({row["flag_id"] for row in rows}) == len(rows)
            return rows


def names(rows: list[dict[str, Any]]) -> set[str]:
    return {row["transaction_id"] for row in rows}


def numbers(condition: Any) -> set[str]:
    """What the flags of this condition are called."""
    return {f"t{number}" for number in range(FLAGS) if condition(number)}


# ---- reading


@pytest.mark.parametrize("limit", [1, 7, 30, 200])
def test_the_pages_are_the_queue(desk: TestClient, limit: int) -> None:
    """In its order, without a gap, whatever the size of a page."""
    rows = listed(desk, limit=limit)
    assert names(rows) == numbers(lambda _: True)
    severities = [row["severity"] for row in rows]
    assert severities == sorted(severities, key=["CRITICAL", "WARNING", "INFO"].index)
    critical = [row["score"] for row in rows if row["severity"] == "CRITICAL"]
    assert critical == sorted(critical, reverse=True)


@pytest.mark.parametrize(
    ("asked", "condition"),
    [
        ({"severity": "CRITICAL"}, lambda n: n % 3 == 0),
        ({"rule": "RC-01"}, lambda n: n % 2 == 1),
        ({"vendor": "vendor 2"}, lambda n: n % 4 == 2),
        ({"vendor": HOSTILE[:20]}, lambda n: n == 1),
        ({"vendor": "%"}, lambda _: False),
        ({"cardholder": "smith"}, lambda n: n % 5 == 0),
        ({"amount_min": "20.05"}, lambda n: n >= 20),
        ({"amount_min": "20.06"}, lambda n: n >= 21),
        ({"amount_max": "3.05"}, lambda n: n <= 3),
        ({"amount_min": "7", "amount_max": "8"}, lambda n: n == 7),
        ({"from": "2025-02-07"}, lambda n: n % 7 == 6),
        ({"to": "2025-02-01"}, lambda n: n % 7 == 0),
        ({"state": "decided"}, lambda _: False),
        ({"state": "any"}, lambda _: True),
        ({"assignee": "nobody"}, lambda _: True),
        ({"assignee": "ann"}, lambda _: False),
        ({"q": "pays t1."}, lambda n: n == 1),
        ({"population": "another"}, lambda _: False),
        ({"snoozed": "true"}, lambda _: False),
    ],
)
def test_what_is_asked_for_is_listed(
    desk: TestClient, asked: dict[str, str], condition: Any
) -> None:
    assert names(listed(desk, **asked)) == numbers(condition)


@pytest.mark.parametrize(
    "asked",
    [
        {"severity": "worst"},
        {"state": "closed"},
        {"limit": "201"},
        {"limit": "0"},
        {"cursor": "x"},
        {"cursor": "W10="},
        {"cursor": "x" * 401},
        {"amount_min": "1.001"},
        {"amount_min": "NaN"},
        {"from": "yesterday"},
        {"sort": "vendor"},
    ],
)
def test_what_cannot_be_asked_is_refused(desk: TestClient, asked: dict[str, str]) -> None:
    """Also a filter that there is none of: it would be ignored in silence."""
    got(desk.get(API, params=asked), 422)


def test_one_flag_has_everything(desk: TestClient, who: SignedIn, store: Store) -> None:
    raised = flag(3)
    got(desk.post(f"{API}/{identity(3)}/decision", json=DECISION))
    got(desk.post(f"{API}/{identity(3)}/comments", json={"body": HOSTILE}), 201)
    row = got(desk.get(f"{API}/{identity(3)}"))
    assert row["amount"] == "3.05"
    assert (row["severity"], row["state"]) == ("CRITICAL", "open")
    assert row["awaits_second_person"] is True
    assert row["points"] == [{"rule_id": "RC-01", "points": 40, "reason": "no bank line"}]
    (finding,) = row["findings"]
    assert (finding["rule_id"], finding["measured"]) == ("RC-01", "12.5000")
    assert finding["evidence"][0]["row_id"] == raised.transaction_id
    (decision,) = row["decisions"]
    assert (decision["reviewer_id"], decision["verdict"]) == ("ann", "rejected")
    assert decision["second"] is None
    (comment,) = row["comments"]
    assert (comment["author_id"], comment["body"]) == ("ann", HOSTILE)
    at = dt.datetime.fromisoformat(row["updated_at"])
    assert at == store.flag(identity(3)).updated_at
    assert row["updated_at"].endswith("Z")


def test_a_negative_amount_keeps_its_sign(desk: TestClient) -> None:
    assert got(desk.get(f"{API}/{identity(7)}"))["amount"] == "-7.05"
    assert got(desk.get(f"{API}/{identity(0)}"))["amount"] == "-0.05"


@pytest.mark.parametrize("unknown", ["none", "%", identity(3)[:8], "next", "bulk"])
def test_an_unknown_flag_is_not_found(desk: TestClient, who: SignedIn, unknown: str) -> None:
    """Nor the beginning of one, for any action."""
    who.as_("bob", Role.APPROVER)
    second = {"decision_id": "0" * 64, "agrees": True}
    got(desk.get(f"{API}/{unknown}"), 404)
    got(desk.post(f"{API}/{unknown}/decision", json=DECISION), 404)
    got(desk.post(f"{API}/{unknown}/second", json=second), 404)
    got(desk.post(f"{API}/{unknown}/withdraw"), 404)
    got(desk.post(f"{API}/{unknown}/comments", json={"body": "hm"}), 404)


@pytest.mark.parametrize(
    "place",
    [
        ["CRITICAL", "2025-03-01T12:00:00+00:00", 10**30, "x"],
        ["CRITICAL", "2025-03-01T12:00:00+00:00", 1, "\x00"],
        ["CRITICAL", "2025-03-01T12:00:00", 1, "x"],
        ["CRITICAL", "0001-01-01T00:00:00+23:59", 1, "x"],
        ["CRITICAL", "2025-03-01T12:00:00+00:00", True, {}],
        [[[[[[[[]]]]]]]],
    ],
)
def test_a_place_that_nobody_gave_is_no_fault_of_the_servers(
    desk: TestClient, place: list[Any]
) -> None:
    cursor = base64.urlsafe_b64encode(json.dumps(place).encode()).decode()
    assert desk.get(API, params={"cursor": cursor}).status_code in (200, 422)


def test_half_a_letter_is_no_fault_of_the_servers(desk: TestClient) -> None:
    """JSON can say it, UTF-8 cannot: neither is it stored, nor does telling so fail."""
    path, kind = f"{API}/{identity(1)}/comments", {"content-type": "application/json"}
    answer = desk.post(path, content=rb'{"body": "a \ud800"}', headers=kind)
    assert answer.status_code in (201, 422)
    assert "\ud800" not in answer.text
    for other in (rb'"other": "\ud800"', rb'"\ud800": "other"'):
        answer = desk.post(path, content=rb'{"body": "", ' + other + rb"}", headers=kind)
        assert answer.status_code == 422


# ---- who may


@pytest.mark.parametrize(
    ("path", "body", "needs"),
    [
        (f"{API}/{identity(1)}/decision", DECISION, Role.REVIEWER),
        (f"{API}/{identity(1)}/second", {"decision_id": "0" * 64, "agrees": True}, Role.APPROVER),
        (f"{API}/{identity(1)}/withdraw", None, Role.REVIEWER),
        (f"{API}/{identity(1)}/comments", {"body": "hm"}, Role.REVIEWER),
        (f"{API}/bulk", {"action": "snooze", "flag_ids": ["x"], "until_at": None}, Role.REVIEWER),
        (f"{API}/next", {}, Role.REVIEWER),
    ],
)
def test_a_lower_role_may_not(
    desk: TestClient, who: SignedIn, store: Store, path: str, body: Any, needs: Role
) -> None:
    """And nothing is written; the needed one may ask."""
    before = list(store.trail())
    for role in Role:
        who.as_("vic", role)
        code = desk.post(path, json=body).status_code
        assert (code == 403) == (not role.may(needs)), role
        if not role.may(needs):
            assert list(store.trail()) == before


def test_a_viewer_reads(desk: TestClient, who: SignedIn) -> None:
    who.as_("vic", Role.VIEWER)
    assert len(listed(desk)) == FLAGS
    got(desk.get(f"{API}/{identity(1)}"))


# ---- one flag


def test_two_people_close_a_critical_flag(desk: TestClient, who: SignedIn) -> None:
    path = f"{API}/{identity(3)}"
    row = got(desk.post(f"{path}/decision", json=DECISION))
    said = {"decision_id": row["decisions"][0]["decision_id"], "agrees": True, "notes": "yes"}
    who.as_("ann", Role.APPROVER)
    assert "second person" in got(desk.post(f"{path}/second", json=said), 409)["message"]
    who.as_("bob", Role.APPROVER)
    row = got(desk.post(f"{path}/second", json=said))
    assert (row["state"], row["reviewer_id"], row["approver_id"]) == ("decided", "ann", "bob")
    assert row["decisions"][0]["second"]["notes"] == "yes"
    got(desk.post(f"{path}/second", json=said), 409)
    who.as_("ann", Role.REVIEWER)
    row = got(desk.post(f"{path}/withdraw"))
    assert (row["state"], row["verdict"]) == ("open", None)
    assert row["decisions"][0]["withdrawn_at"] is not None


def test_a_decision_is_of_the_flag_that_is_named(desk: TestClient, who: SignedIn) -> None:
    """A second person does not agree on one flag to what was said on another."""
    row = got(desk.post(f"{API}/{identity(3)}/decision", json=DECISION))
    said = {"decision_id": row["decisions"][0]["decision_id"], "agrees": True}
    who.as_("bob", Role.APPROVER)
    got(desk.post(f"{API}/{identity(6)}/second", json=said), 409)
    assert got(desk.get(f"{API}/{identity(3)}"))["state"] == "open"


def test_a_flag_that_has_changed_is_refused(desk: TestClient, who: SignedIn) -> None:
    path = f"{API}/{identity(1)}"
    seen = got(desk.get(path))["updated_at"]
    given = DECISION | {"seen_at": seen}
    assert got(desk.post(f"{path}/decision", json=given))["state"] == "decided"
    who.as_("cat", Role.REVIEWER)
    got(desk.post(f"{path}/decision", json=given), 409)
    assert len(got(desk.get(path))["decisions"]) == 1


def test_ones_own_charge_is_refused(desk: TestClient, who: SignedIn) -> None:
    who.as_("john", Role.APPROVER)
    assert "JOHN" in got(desk.post(f"{API}/{identity(5)}/decision", json=DECISION), 409)["message"]


@pytest.mark.parametrize(
    "given",
    [
        {},
        DECISION | {"verdict": "fine"},
        DECISION | {"reason": ""},
        DECISION | {"reviewer_id": "bob"},
        DECISION | {"notes": "x" * 10_001},
        DECISION | {"seen_at": "2025-03-01T12:00:00"},
        DECISION | {"seen_at": "0001-01-01T00:00:00+14:00"},
    ],
)
def test_what_is_no_decision_is_refused(desk: TestClient, given: dict[str, str]) -> None:
    """Nobody decides under another's name, an instant without a zone is none."""
    got(desk.post(f"{API}/{identity(1)}/decision", json=given), 422)


# ---- many flags


def bulk(desk: TestClient, action: str, ids: list[str], **given: object) -> Any:
    return got(desk.post(f"{API}/bulk", json={"action": action, "flag_ids": ids, **given}))


def test_each_flag_of_many_is_done_or_not(desk: TestClient, who: SignedIn, store: Store) -> None:
    """An unknown one, one's own and a superseded one do not keep the others from being done."""
    with store.writing() as writer:
        writer.publish_flags("demo", [], ["t2"], "run-2")
    who.as_("john", Role.REVIEWER)
    ids = [identity(n) for n in (1, 5, 2, 4, 1)] + ["none"]
    before = len(list(store.trail()))
    said = bulk(desk, "decide", ids, **DECISION)
    kinds = [(r["flag_id"], r["error"] and r["error"]["kind"]) for r in said["results"]]
    assert kinds == [
        (identity(1), None),
        (identity(5), "OwnCharge"),
        (identity(2), "TransitionRefused"),
        (identity(4), None),
        ("none", "FlagUnknown"),
    ]
    assert (said["done"], said["refused"]) == (2, 3)
    decided = {row.transaction_id for row in store.flags(state="decided")}
    assert decided == {"t1", "t4"}
    entries = list(store.trail(after=before))
    assert [e.event.tool_called for e in entries] == ["decide", "decide"]
    assert [e.log_sequence_number for e in entries] == [before + 1, before + 2]


def test_a_fault_of_ours_leaves_all_as_they_were(
    desk: TestClient, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What nobody has thought of takes everything back, also the flags before it."""
    real = reviewing.snooze

    def snooze(writer: Any, ids: list[str], *given: Any) -> None:
        real(writer, ids, *given)
        if ids == [identity(4)]:
            raise ZeroDivisionError

    monkeypatch.setattr(reviewing, "snooze", snooze)
    before = list(store.trail())
    wish = {"action": "snooze", "flag_ids": [identity(1), identity(4)]}
    got(desk.post(f"{API}/bulk", json=wish | {"until_at": "2999-01-01T00:00:00Z"}), 500)
    assert list(store.trail()) == before
    assert len(listed(desk)) == FLAGS


def test_work_is_given_and_put_off(desk: TestClient) -> None:
    ids = [identity(1), identity(4)]
    assert bulk(desk, "assign", ids, assignee_id="bob")["done"] == 2
    assert names(listed(desk, assignee="bob")) == {"t1", "t4"}
    said = bulk(desk, "assign", ids, assignee_id="nobody-here")
    assert {r["error"]["kind"] for r in said["results"]} == {"BadUsage"}
    assert bulk(desk, "snooze", ids, until_at="2999-01-01T00:00:00+02:00")["done"] == 2
    assert names(listed(desk, snoozed=True)) == {"t1", "t4"}
    assert len(listed(desk)) == FLAGS - 2
    bulk(desk, "snooze", ids, until_at=None)
    bulk(desk, "assign", ids, assignee_id=None)
    assert len(listed(desk, assignee="nobody")) == FLAGS


@pytest.mark.parametrize(
    "given",
    [
        {"action": "delete", "flag_ids": ["x"]},
        {"action": "decide", "flag_ids": []} | DECISION,
        {"action": "decide", "flag_ids": ["x"] * 501} | DECISION,
        {"action": "decide", "flag_ids": ["x"]},
        {"action": "assign", "flag_ids": ["x"]},
        {"action": "snooze", "flag_ids": ["x"], "until_at": "tomorrow"},
    ],
)
def test_what_cannot_be_done_in_bulk_is_refused(desk: TestClient, given: Any) -> None:
    got(desk.post(f"{API}/bulk", json=given), 422)


# ---- the next one


def test_the_next_flag_is_the_first_of_the_queue(desk: TestClient) -> None:
    """Asked again, one gets what one has; decided, the one after it."""
    first = listed(desk)[0]
    taken = got(desk.post(f"{API}/next", json={}))
    assert (taken["flag_id"], taken["work"]["locked_by"]) == (first["flag_id"], "ann")
    assert got(desk.post(f"{API}/next", json={}))["flag_id"] == first["flag_id"]
    got(desk.post(f"{API}/{first['flag_id']}/decision", json=DECISION))
    following = got(desk.post(f"{API}/next", json={}))
    assert following["flag_id"] not in (first["flag_id"], None)


def test_everybody_gets_another_flag(desk: TestClient, who: SignedIn) -> None:
    """Nobody's own, none that somebody else has open, is to do, or has put off."""
    bulk(desk, "assign", [identity(3)], assignee_id="bob")
    bulk(desk, "snooze", [identity(6)], until_at="2999-01-01T00:00:00Z")
    critical = {"severity": "CRITICAL"}
    who.as_("john", Role.REVIEWER)
    mine = got(desk.post(f"{API}/next", json=critical))
    assert mine["cardholder"] == "Eve Jones"
    who.as_("ann", Role.REVIEWER)
    other = got(desk.post(f"{API}/next", json=critical))
    assert len({mine["transaction_id"], other["transaction_id"], "t3", "t6"}) == 4
    got(desk.post(f"{API}/{mine['flag_id']}/decision", json=DECISION), 409)


def test_only_who_may_agree_is_given_what_awaits_it(desk: TestClient, who: SignedIn) -> None:
    for number in range(0, FLAGS, 3):
        got(desk.post(f"{API}/{identity(number)}/decision", json=DECISION))
    critical = {"severity": "CRITICAL"}
    for name, role in (("cat", Role.REVIEWER), ("ann", Role.APPROVER)):
        who.as_(name, role)
        assert desk.post(f"{API}/next", json=critical).status_code == 204
    who.as_("bob", Role.APPROVER)
    assert got(desk.post(f"{API}/next", json=critical))["awaits_second_person"]


def test_nobody_gets_what_another_one_gets(store: Store, tmp_path: Path) -> None:
    """Twelve people ask at once."""

    def by_header(request: Request) -> Person:
        return replace(SignedIn().person, user_id=request.headers["x-person"])

    app = app_of(store, tmp_path, SignedIn())
    app.dependency_overrides[access.signed_in] = by_header

    def ask(number: int) -> str:
        who = {"x-person": f"person-{number}"}
        return got(client_of(app).post(f"{API}/next", json={}, headers=who))["flag_id"]

    with ThreadPoolExecutor(6) as pool:
        taken = list(pool.map(ask, range(12)))
    assert len(set(taken)) == 12
