"""The trail, the runs and the decisions over the API: all of it, in order, page by page."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from starlette.testclient import TestClient

from audit_pipeline.adapters.store import Store, reviewing
from audit_pipeline.adapters.store.rows import decision_id
from audit_pipeline.model.decision import Decision, Reason, Verdict
from audit_pipeline.model.flag import flag_id
from audit_pipeline.model.person import Role
from audit_pipeline.model.trail import leaf_hash
from audit_pipeline_tests.review.programs import NOON, SignedIn, app_of, client_of, fill

pytestmark = pytest.mark.slow

pytest_plugins = ("audit_pipeline_tests.postgres",)

FLAGS = 7


@pytest.fixture(
    params=["sqlite", pytest.param("postgres", marks=[pytest.mark.postgres, pytest.mark.slow])]
)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Seven flags, each with a decision: one refused, one agreed to, one taken back."""
    url = f"sqlite:///{tmp_path / 'desk.db'}"
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_url")
    with Store.open(url) as opened:
        fill(opened, FLAGS)
        with opened.writing() as writer:
            for number in range(FLAGS):
                reviewing.decide(writer, said(number))
            reviewing.review_second(writer, decision_id(said(0)), "bob", agrees=True, notes="ok")
            reviewing.review_second(writer, decision_id(said(3)), "bob", agrees=False)
            reviewing.withdraw(writer, flag_id("t1", "demo"), "cat")
        yield opened


def said(number: int) -> Decision:
    """One a day at noon, the 4th and the 5th at the same instant; the odd ones are Cat's."""
    return Decision(
        flag_id(f"t{number}", "demo"),
        Verdict.REJECTED if number < 5 else Verdict.APPROVED,
        Reason.CORRECTED,
        "cat" if number % 2 else "ann",
        NOON + dt.timedelta(days=min(number, 4)),
        f"said {number}",
    )


@pytest.fixture
def desk(store: Store, tmp_path: Path) -> Iterator[TestClient]:
    """A viewer asks."""
    who = SignedIn()
    who.as_("vic", Role.VIEWER)
    with client_of(app_of(store, tmp_path, who)) as client:
        yield client


def got(answer: Any, code: int = 200) -> Any:
    assert answer.status_code == code, answer.text
    return answer.json()


def listed(desk: TestClient, what: str, **asked: Any) -> list[dict[str, Any]]:
    """Every page of it."""
    rows: list[dict[str, Any]] = []
    cursor = None
    while True:
        given = asked | ({"cursor": cursor} if cursor else {})
        page = got(desk.get(f"/api/v1/{what}", params=given))
        rows += page["entries" if what == "trail" else what]
        cursor = page["next"]
        if cursor is None:
            return rows


# ---- the trail


@pytest.mark.parametrize("limit", [1, 4, 200])
def test_the_trail_is_whole(desk: TestClient, store: Store, limit: int) -> None:
    """And whoever reads it can hash it."""
    entries = listed(desk, "trail", limit=limit)
    assert [e["log_sequence_number"] for e in entries] == list(range(1, len(entries) + 1))
    assert len(entries) == len(list(store.trail())) == FLAGS + FLAGS + 3
    assert all(e["intact"] and leaf_hash(e["document"]) == e["leaf_hash"] for e in entries)


def test_the_trail_of_somebody(desk: TestClient) -> None:
    tools = [e["document"]["tool_called"] for e in listed(desk, "trail", agent="reviewer:bob")]
    assert tools == ["approve_decision", "refuse_decision"]
    assert listed(desk, "trail", agent="reviewer:%") == []
    assert len(listed(desk, "trail", run="run-1")) == FLAGS + FLAGS + 3
    assert listed(desk, "trail", run="run-2") == []


def test_the_trail_of_a_flag(desk: TestClient) -> None:
    """What raised it, and what people did to it; of that flag alone."""
    entries = listed(desk, "trail", flag=flag_id("t1", "demo"), limit=2)
    tools = [e["document"]["tool_called"] for e in entries]
    assert tools == ["flag_created", "decide", "withdraw_decision"]
    for other in ("%", flag_id("t1", "demo")[:-1], '"'):
        assert listed(desk, "trail", flag=other) == []


def test_an_entry_that_somebody_changed_is_shown_as_it_is(desk: TestClient, store: Store) -> None:
    with store.writing() as writer:
        changed = "UPDATE audit_trail SET input_data = 'gone' WHERE log_sequence_number = 8"
        writer.connection.execute(text(changed))
    entries = listed(desk, "trail")
    assert [e["log_sequence_number"] for e in entries if not e["intact"]] == [8]
    assert entries[7]["document"]["input_data"] == "gone"


# ---- decisions


@pytest.mark.parametrize("limit", [1, 3, 200])
def test_every_decision_is_listed(desk: TestClient, limit: int) -> None:
    """Also what was refused and what was taken back, the earliest first."""
    rows = listed(desk, "decisions", limit=limit)
    assert {row["notes"] for row in rows} == {f"said {n}" for n in range(FLAGS)}
    assert len(rows) == FLAGS
    at = [row["decided_at"] for row in rows]
    assert at == sorted(at)
    of = {row["notes"]: row for row in rows}
    assert of["said 0"]["second"]["agrees"] is True
    assert of["said 0"]["second"]["notes"] == "ok"
    assert of["said 3"]["second"]["agrees"] is False
    assert [row["notes"] for row in rows if row["withdrawn_at"]] == ["said 1"]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"from": "2025-03-02", "to": "2025-03-03"}, {1, 2}),
        ({"from": "2025-03-05"}, {4, 5, 6}),
        ({"to": "2025-03-01"}, {0}),
        ({"to": "9999-12-31"}, set(range(FLAGS))),
        ({"reviewer": "cat"}, {1, 3, 5}),
        ({"verdict": "approved"}, {5, 6}),
        ({"verdict": "approved", "reviewer": "cat"}, {5}),
        ({"reviewer": "nobody"}, set()),
    ],
)
def test_decisions_of_a_period_or_a_person(
    desk: TestClient, asked: dict[str, str], expected: set[int]
) -> None:
    assert {row["notes"] for row in listed(desk, "decisions", limit=2, **asked)} == {
        f"said {n}" for n in expected
    }


# ---- runs


def test_runs_are_listed_the_newest_first(desk: TestClient, store: Store) -> None:
    for name in ("run-2", "run-3"):
        store.save_workflow_state(name, {"status": "failed", "population": "demo"})
    rows = listed(desk, "runs", limit=1)
    assert [row["audit_run_id"] for row in rows] == ["run-3", "run-2", "run-1"]
    completed = listed(desk, "runs", status="completed", population="demo")
    assert [row["audit_run_id"] for row in completed] == ["run-1"]
    assert listed(desk, "runs", population="another") == []


def test_a_run_has_its_days(desk: TestClient) -> None:
    run = got(desk.get("/api/v1/runs/run-1"))
    assert (run["status"], run["population"], len(run["days"])) == ("completed", "demo", FLAGS)
    assert run["days"][0]["amount"] == "0.00"
    got(desk.get("/api/v1/runs/none"), 404)


# ---- what cannot be asked


@pytest.mark.parametrize(
    "path",
    [
        "trail?cursor=-1",
        "trail?cursor=x",
        "trail?cursor=99999999999999999999",
        "trail?limit=201",
        "decisions?cursor=x",
        "decisions?cursor=W1tdLFtdXQ==",
        "decisions?from=2025-02-02&to=2025-02-01",
        "decisions?verdict=fine",
        "runs?cursor=W10=",
        "runs?cursor=WyIwMDAxLTAxLTAxVDAwOjAwOjAwKzIzOjU5IiwgIngiXQ==",
        "runs?status=unknown",
    ],
)
def test_what_cannot_be_asked_is_refused(desk: TestClient, path: str) -> None:
    got(desk.get(f"/api/v1/{path}"), 422)


# ---- the description


def test_every_route_is_described(desk: TestClient) -> None:
    """With what it takes and gives: a program's author reads nothing else."""
    document = got(desk.get("/api/v1/openapi.json"))
    ours = ("flags", "trail", "runs", "decisions", "jobs")
    paths = {p: o for p, o in document["paths"].items() if p.startswith("/api/v1/")}
    assert {path.split("/")[3] for path in paths} >= set(ours)
    for path, operations in paths.items():
        if path.split("/")[3] not in ours:
            continue
        for method, operation in operations.items():
            assert operation["summary"], path
            assert operation["description"], path
            good = next(a for code, a in operation["responses"].items() if code.startswith("2"))
            assert good["content"]["application/json"]["schema"], (method, path)
    for name, schema in document["components"]["schemas"].items():
        is_a_pages = name.startswith("Body_")
        assert is_a_pages or schema.get("description") or "ValidationError" in name, name
