"""What is around every answer: headers, ids, the log, the numbers, errors in one form."""

import datetime as dt
import io
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi import APIRouter
from pydantic import BaseModel
from starlette.testclient import TestClient

from audit_pipeline.adapters.store import Store
from audit_pipeline.model import errors as faults
from audit_pipeline.model.errors import AuditError, StoreUnavailable
from audit_pipeline.model.gold import Health
from audit_pipeline.model.person import Role
from audit_pipeline.review import logs, middleware, pages_root, static_files
from audit_pipeline.review.middleware import BODY_BYTES_MAX, HEADERS
from audit_pipeline.review.pages_root import Probe
from audit_pipeline_tests.review import doors
from audit_pipeline_tests.review.doors import Door

pytestmark = pytest.mark.slow

door = doors.door

CARD = "4111 1111 1111 1111"
BEARER = "Authorization: Bearer abcdefghijklmnop"
RAISED: dict[str, AuditError] = {
    kind.__name__: kind(f"{kind.__name__} of {CARD}")
    for kind in (
        faults.FlagUnknown,
        faults.BadUsage,
        faults.OwnCharge,
        faults.SamePerson,
        faults.FlagTaken,
        faults.DecisionRefused,
        faults.TransitionRefused,
        faults.PartitionBusy,
        faults.StoreUnavailable,
        faults.LedgerUnbalanced,
    )
}


class Body(BaseModel):
    amount: int


@pytest.fixture
def broken(door: Door) -> Door:
    """With routes, by page and by API, that fail in every way."""
    router = APIRouter()

    @router.get("/raise/{name}")
    @router.get("/api/v1/raise/{name}")
    def failing(name: str) -> None:
        if name in RAISED:
            raise RAISED[name]
        raise ZeroDivisionError(f"password=hunter22 {BEARER} {CARD}")

    @router.post("/api/v1/body")
    def sized(body: Body) -> int:
        return body.amount

    door.app.include_router(router)
    return door


@pytest.fixture
def lines() -> Iterator[Callable[[], list[dict[str, object]]]]:
    """What was logged, as it was written."""
    stream = io.StringIO()
    before = {name: logging.getLogger(name) for name in logs.LOGGERS}
    kept = {name: (one.handlers, one.level, one.propagate) for name, one in before.items()}
    logs.configure(stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    for name, logger in before.items():
        logger.handlers, logger.level, logger.propagate = kept[name]


def assert_shell(answer: object) -> None:
    headers = getattr(answer, "headers", {})
    for name, value in HEADERS.items():
        assert headers[name] == value, name
    assert headers["cache-control"] == "no-store"
    assert headers["x-request-id"]


def test_every_answer_has_the_headers(broken: Door) -> None:
    """Of pages and of the API, of what is right and of every error."""
    client = broken.client()
    browser = broken.browser(broken.session("ann"))
    answers = [
        client.get("/"),
        client.get("/login"),
        client.get("/account"),
        client.get("/nowhere"),
        client.get("/api/v1/nowhere"),
        client.get("/api/v1/me"),
        client.delete("/login"),
        client.post("/api/v1/auth/login", json={}),
        client.post("/api/v1/auth/login", content=b"{", headers={"Content-Type": "x/json"}),
        client.get("/health", headers={"Host": "evil.example"}),
        client.post("/login", content=b"x" * (BODY_BYTES_MAX + 1)),
        client.get("/static/nowhere.css"),
        client.get("/api/v1/openapi.json"),
        browser.get("/account"),
        broken.browser(broken.session("ann"), with_csrf=False).post("/logout"),
        *(client.get(f"/api/v1/raise/{name}") for name in (*RAISED, "defect")),
        *(client.get(f"/raise/{name}") for name in (*RAISED, "defect")),
    ]
    for answer in answers:
        assert_shell(answer)
    statuses = {answer.status_code for answer in answers}
    assert {200, 303, 400, 401, 403, 404, 405, 409, 413, 422, 500, 503} <= statuses


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("FlagUnknown", 404, "flag_unknown"),
        ("BadUsage", 422, "bad_usage"),
        ("OwnCharge", 409, "own_charge"),
        ("SamePerson", 409, "same_person"),
        ("FlagTaken", 409, "flag_taken"),
        ("DecisionRefused", 409, "decision_refused"),
        ("TransitionRefused", 409, "transition_refused"),
        ("PartitionBusy", 409, "partition_busy"),
        ("StoreUnavailable", 503, "store_unavailable"),
        ("LedgerUnbalanced", 500, "internal_error"),
        ("defect", 500, "internal_error"),
    ],
)
def test_errors_have_one_form(broken: Door, name: str, status: int, code: str) -> None:
    answer = broken.client().get(f"/api/v1/raise/{name}", headers={"X-Request-ID": "mine-1"})
    document = answer.json()
    assert (answer.status_code, document["code"]) == (status, code)
    assert set(document) == {"code", "message", "details", "request_id"}
    assert document["request_id"] == "mine-1"
    page = broken.client().get(f"/raise/{name}", headers={"X-Request-ID": "mine-1"})
    assert page.status_code == status
    assert "mine-1" in page.text
    for text in (answer.text, page.text):
        assert not any(word in text for word in ("Traceback", "ZeroDivision", CARD, "hunter22"))
    if status in (404, 409, 422):
        assert document["message"].startswith(name)


def test_a_body_that_is_not_valid_names_its_fields(broken: Door) -> None:
    answer = broken.client().post("/api/v1/body", json={"amount": CARD})
    document = answer.json()
    assert (answer.status_code, document["code"]) == (422, "not_valid")
    assert [one["field"] for one in document["details"]] == ["amount"]
    assert CARD not in answer.text
    assert broken.client().post("/api/v1/body", content=b"{").json()["code"] == "not_valid"


def test_the_reason_of_a_defect_is_in_the_log_only(
    broken: Door, lines: Callable[[], list[dict[str, object]]]
) -> None:
    broken.client().get("/api/v1/raise/defect", headers={"X-Request-ID": "mine-2"})
    defect, access = lines()
    assert defect["request_id"] == access["request_id"] == "mine-2"
    traceback = str(defect["traceback"])
    assert "ZeroDivisionError" in traceback
    for secret in ("hunter22", "abcdefghijklmnop", CARD):
        assert secret not in traceback
    assert "****1111" in traceback


def test_a_line_for_each_request(door: Door, lines: Callable[[], list[dict[str, object]]]) -> None:
    session = door.session("ann")
    token = door.token(session)
    door.program(session).get(f"/api/v1/me?token={token}&password=hunter22")
    door.client().get(
        "/flags/4111111111111111/nowhere", headers={"X-Request-ID": "4111111111111111"}
    )
    me, nowhere = lines()
    assert list(me) == [
        "time",
        "level",
        "logger",
        "message",
        "request_id",
        "method",
        "route",
        "status",
        "ms",
        "user_id",
    ]
    assert (me["method"], me["route"], me["status"]) == ("GET", "/api/v1/me", 200)
    assert (me["user_id"], me["level"]) == ("ann", "INFO")
    assert dt.datetime.fromisoformat(str(me["time"])).tzinfo is not None
    assert (nowhere["route"], nowhere["request_id"], nowhere["user_id"]) == (
        "none",
        "****1111",
        None,
    )
    text = json.dumps([me, nowhere])
    assert not any(secret in text for secret in (token, "hunter22", "4111111111111111"))


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", "a\tb", "é", "<script>", "a;b"])
def test_a_request_id_that_is_none_is_replaced(door: Door, given: str) -> None:
    headers = [(b"X-Request-ID", given.encode())]
    said = door.client().get("/login", headers=headers).headers["x-request-id"]
    assert said != given
    assert len(said) == 32


def test_a_request_id_that_is_given_is_returned(door: Door) -> None:
    said = door.client().get("/login", headers={"X-Request-ID": "A.b_c-9" + "x" * 57})
    assert said.headers["x-request-id"] == "A.b_c-9" + "x" * 57


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:8100", 200),
        ("127.0.0.1:8100", 200),
        ("[::1]:8100", 200),
        ("desk.example", 200),
        ("desk.example:443", 200),
        ("evil.example", 400),
        ("localhost.evil.example", 400),
        ("localhost:8100.evil.example", 400),
        ("evil.example:localhost", 400),
        ("", 400),
    ],
)
def test_it_answers_to_its_own_names_only(door: Door, host: str, status: int) -> None:
    client = door.with_options(hosts=("desk.example",)).client()
    assert client.get("/login", headers={"Host": host}).status_code == status


def test_a_body_that_does_not_say_how_long_it_is(door: Door) -> None:
    def parts() -> Iterator[bytes]:
        for _ in range(BODY_BYTES_MAX // 65_536 + 1):
            yield b"x" * 65_536

    headers = {"Content-Type": "application/json"}
    answer = door.client().post("/api/v1/auth/login", content=parts(), headers=headers)
    assert (answer.status_code, answer.json()["message"]) == (413, middleware.TOO_LARGE)
    assert door.client().post("/login", headers={"Content-Length": "x"}).status_code == 413


def test_an_answer_that_breaks_off_is_not_begun_again(door: Door) -> None:
    """Its beginning is sent: what remains is to end the connection."""
    from starlette.responses import StreamingResponse

    def torn() -> Iterator[bytes]:
        yield b"x"
        raise ZeroDivisionError

    door.app.add_api_route("/torn", lambda: StreamingResponse(torn()))
    with pytest.raises(ZeroDivisionError):
        door.client().get("/torn")


def test_static_files_are_kept_when_their_address_has_their_digest(
    door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(static_files, "FOLDER", tmp_path)
    static_files.digest.cache_clear()
    (tmp_path / "test.css").write_text("a {}")
    (tmp_path.parent / "secret.css").write_text("b {}")
    client = Door.to(door.desk).client()
    address = static_files.address("test.css")
    exact = client.get(address)
    assert exact.text == "a {}"
    assert exact.headers["cache-control"] == "public, max-age=31536000, immutable"
    for other in ("/static/test.css", "/static/test.css?v=0", f"{address}0"):
        assert client.get(other).headers["cache-control"] == "no-cache"
    for outside in ("../secret.css", "..%2fsecret.css", f"/{tmp_path}/test.css"):
        assert client.get(f"/static/{outside}").status_code == 404
    assert static_files.digest("../secret.css") is None
    assert static_files.digest(str(tmp_path / "test.css")) is None
    static_files.digest.cache_clear()


# ── for machines ────────────────────────────────────────────────────────────────────────────────


def test_the_first_page(door: Door) -> None:
    person = door.client().get("/", headers={"Accept": "text/html,*/*"})
    assert person.headers["location"] == "/flags"
    assert door.client().get("/").json()["api"] == "/api/v1"


def test_health(door: Door) -> None:
    answer = door.client().get("/health")
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ok",
        "store": {"is_well": True, "schema_version": "0004"},
        "redis": {"is_well": True},
        "degraded": [],
    }


def test_health_without_redis_is_degraded(door: Door) -> None:
    away = Probe("Redis", lambda: Health("Redis", False, "redis://:secret@away"), 1)
    door.app.state.probes.redis = away
    answer = door.client().get("/health")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    assert answer.json()["degraded"] == ["Redis"]
    assert "secret" not in answer.text


def test_health_without_the_store_is_down(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(self: Store) -> None:
        raise StoreUnavailable("postgresql://somebody@away")

    monkeypatch.setattr(Store, "reading", away)
    answer = door.client().get("/health")
    assert (answer.status_code, answer.json()["status"]) == (503, "down")
    assert "somebody" not in answer.text
    numbers = door.client("127.0.0.1").get("/metrics")
    assert (numbers.status_code, "audit_desk_decisions_total" in numbers.text) == (200, False)


def test_health_is_asked_for_once_in_two_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    now = [100.0]

    def ask() -> Health:
        asked.append(1)
        return Health("x", True, "")

    monkeypatch.setattr(pages_root.time, "monotonic", lambda: now[0])
    probe = Probe("x", ask, 10)
    for now[0] in (100.0, 101.0, 102.0, 102.1, 104.0, 104.2):
        assert probe.health().is_well
    assert len(asked) == 3


def test_what_does_not_answer_keeps_nobody_waiting() -> None:
    import threading

    answered = threading.Event()

    def ask() -> Health:
        answered.wait(60)
        return Health("x", True, "")

    probe = Probe("x", ask, 0.01)
    assert [probe.health().is_well for _ in range(3)] == [False] * 3
    answered.set()


def test_numbers_by_route(door: Door) -> None:
    local = door.client("127.0.0.1")
    for path in ("/login", "/flags/1/x", "/flags/2/x"):
        local.get(path)
    local.request("BREW", "/login")
    text = local.get("/metrics").text
    assert 'audit_desk_requests_total{method="GET",route="/login",status="200"} 1.0' in text
    assert 'audit_desk_requests_total{method="GET",route="none",status="404"} 2.0' in text
    assert 'method="other"' in text
    assert "/flags/1" not in text
    assert 'audit_desk_request_seconds_count{method="GET",route="/login"} 1.0' in text


def test_errors_of_the_database_are_counted(broken: Door) -> None:
    broken.client().get("/api/v1/raise/StoreUnavailable")
    broken.client().get("/api/v1/raise/FlagUnknown")
    text = broken.client("127.0.0.1").get("/metrics").text
    assert "audit_desk_database_errors_total 1.0" in text


@pytest.mark.parametrize(
    ("peer", "headers", "status"),
    [
        ("127.0.0.1", {}, 200),
        ("::1", {}, 200),
        ("192.0.2.7", {}, 403),
        ("127.0.0.1", {"X-Forwarded-For": "127.0.0.1"}, 403),
        ("127.0.0.1", {"Forwarded": "for=127.0.0.1"}, 403),
    ],
)
def test_numbers_are_for_this_machine(
    door: Door, peer: str, headers: dict[str, str], status: int
) -> None:
    assert door.client(peer).get("/metrics", headers=headers).status_code == status


def test_numbers_are_for_administrators(door: Door) -> None:
    for role, status in ((Role.ADMIN, 200), (Role.APPROVER, 403)):
        client: TestClient = door.program(door.session(role.value, role))
        assert client.get("/metrics").status_code == status
