"""Audits over the API: against a stand-in for Dagster's web server, once against the real one."""

import datetime as dt
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from audit_pipeline.adapters.store import Store
from audit_pipeline.model.person import Role
from audit_pipeline.review import jobs
from audit_pipeline.review.jobs import Dagster, JobStatus
from audit_pipeline_tests import small_company
from audit_pipeline_tests.environment import DAYS, Workplace, new_dagster_home
from audit_pipeline_tests.postgres import free_port
from audit_pipeline_tests.processes import child
from audit_pipeline_tests.review.programs import SignedIn, app_of, client_of
from audit_pipeline_tests.review.stand_in_dagster import StandIn, run, serving

pytestmark = pytest.mark.slow

API = "/api/v1/jobs"
DAYS_ASKED = {"kind": "backfill", "from": "2025-02-01", "to": "2025-02-03"}
QUERIES = {
    name: value
    for name, value in vars(jobs).items()
    if isinstance(value, str) and value.startswith(("query ", "mutation "))
}


@pytest.fixture
def dagster() -> Iterator[tuple[StandIn, str]]:
    """The stand-in, and its address."""
    with serving() as stands_in:
        yield stands_in


@pytest.fixture
def who() -> SignedIn:
    """Bob, an approver, until a test says otherwise."""
    asks = SignedIn()
    asks.as_("bob", Role.APPROVER)
    return asks


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path / 'desk.db'}") as opened:
        yield opened


def desk_of(store: Store, folder: Path, who: SignedIn, url: str) -> TestClient:
    app = app_of(store, folder, who)
    desk = app.state.desk
    app.state.desk = replace(desk, settings=replace(desk.settings, dagster_url=url))
    return client_of(app)


@pytest.fixture
def desk(
    store: Store, tmp_path: Path, who: SignedIn, dagster: tuple[StandIn, str]
) -> Iterator[TestClient]:
    with desk_of(store, tmp_path, who, dagster[1]) as client:
        yield client


def got(answer: Any, code: int = 200) -> Any:
    assert answer.status_code == code, answer.text
    return answer.json()


# ---- the questions


@pytest.mark.parametrize("name", QUERIES)
def test_dagster_understands_the_questions(name: str) -> None:
    """By its own schema: a field that a new version has renamed is noticed here."""
    from dagster_graphql.schema import create_schema
    from graphql import parse, validate

    assert validate(create_schema().graphql_schema, parse(QUERIES[name])) == []


def test_every_status_of_dagsters_has_one_of_ours() -> None:
    from dagster import DagsterRunStatus

    assert set(jobs.STATUSES) == {status.value for status in DagsterRunStatus}


# ---- starting


def test_an_audit_is_started(desk: TestClient, store: Store, dagster: tuple[StandIn, str]) -> None:
    """With its days, and who started it in the run's tags and in the trail."""
    job = got(desk.post(API, json=DAYS_ASKED), 202)
    assert (job["job_id"], job["status"], job["percentage"]) == ("new-run", "pending", 0)
    assert (job["from"], job["to"], job["started_by"]) == ("2025-02-01", "2025-02-03", "bob")
    ((_, given),) = [one for one in dagster[0].asked if one[0] == "Launch"]
    selector = given["params"]["selector"]
    assert selector == {
        "repositoryName": "__repository__",
        "repositoryLocationName": "here",
        "jobName": "daily_audit",
    }
    tags = {tag["key"]: tag["value"] for tag in given["params"]["executionMetadata"]["tags"]}
    request_id = tags.pop("audit/request")
    assert tags == {
        "dagster/asset_partition_range_start": "2025-02-01",
        "dagster/asset_partition_range_end": "2025-02-03",
        "audit/started_by": "bob",
        "audit/kind": "backfill",
    }
    asked, started = [entry.event for entry in store.trail()]
    assert (asked.agent_name, asked.tool_called) == ("reviewer:bob", "request_audit")
    assert (started.audit_run_id, started.tool_called) == ("new-run", "start_audit")
    assert asked.input_data["request_id"] == started.input_data["request_id"] == request_id


@pytest.mark.parametrize(
    "given",
    [
        {"kind": "audit", "from": "2025-02-02", "to": "2025-02-01"},
        {"kind": "audit", "from": "0001-01-01", "to": "9999-12-31"},
        {"kind": "delete", "from": "2025-02-01", "to": "2025-02-01"},
        {"kind": "audit", "from": "yesterday", "to": "2025-02-01"},
        DAYS_ASKED | {"tags": {}},
    ],
)
def test_what_cannot_be_audited_is_refused(
    desk: TestClient, dagster: tuple[StandIn, str], given: dict[str, str]
) -> None:
    got(desk.post(API, json=given), 422)
    assert "Launch" not in [name for name, _ in dagster[0].asked]


def test_only_an_approver_starts_and_cancels(
    desk: TestClient, who: SignedIn, store: Store, dagster: tuple[StandIn, str]
) -> None:
    """Others look."""
    dagster[0].runs["one"] = run("one", "STARTED")
    who.as_("ann", Role.REVIEWER)
    got(desk.post(API, json=DAYS_ASKED), 403)
    got(desk.delete(f"{API}/one"), 403)
    assert (dagster[0].asked, list(store.trail())) == ([], [])
    who.as_("vic", Role.VIEWER)
    got(desk.get(API))
    got(desk.get(f"{API}/one"))


# ---- looking


@pytest.mark.parametrize(
    ("status", "done", "busy", "expected"),
    [
        ("QUEUED", 0, None, ("pending", 0, None)),
        ("STARTING", 0, None, ("pending", 0, None)),
        ("STARTED", 1, "s1", ("processing", 25, "s1")),
        ("STARTED", 4, None, ("processing", 99, None)),
        ("CANCELING", 1, "s1", ("processing", 25, "s1")),
        ("SUCCESS", 4, None, ("completed", 100, None)),
        ("CANCELED", 2, None, ("cancelled", 50, None)),
    ],
)
def test_how_far_a_job_is(
    desk: TestClient,
    dagster: tuple[StandIn, str],
    status: str,
    done: int,
    busy: str | None,
    expected: tuple[str, int, str | None],
) -> None:
    """It is complete when Dagster says so, not when the last step is done."""
    dagster[0].runs["one"] = run("one", status, done, busy)
    job = got(desk.get(f"{API}/one"))
    assert (job["status"], job["percentage"], job["stage"]) == expected
    assert job["created_at"] == "2025-02-19T21:20:00.500000Z"
    assert (job["from"], job["to"], job["error"]) == ("2025-02-01", "2025-02-01", None)


def test_the_stage_is_the_agent_that_the_audit_names(
    desk: TestClient, store: Store, dagster: tuple[StandIn, str]
) -> None:
    dagster[0].runs["one"] = run("one", "STARTED", 1, "s1")
    store.save_workflow_state("one", {"current_agent": "reconciliation"})
    assert got(desk.get(f"{API}/one"))["stage"] == "reconciliation"


def test_a_failed_job_says_why_in_one_line(desk: TestClient, dagster: tuple[StandIn, str]) -> None:
    dagster[0].runs["one"] = run("one", "FAILURE", 1)
    error = got(desk.get(f"{API}/one"))["error"]
    assert error.startswith("statements: the books xxx")
    assert len(error) <= jobs.MESSAGE_CHARACTERS_MAX + 1
    assert "\n" not in error


def test_jobs_are_listed_page_by_page(desk: TestClient, dagster: tuple[StandIn, str]) -> None:
    dagster[0].runs |= {f"r{n}": run(f"r{n}", "SUCCESS", 4) for n in range(5)}
    seen: list[str] = []
    cursor = None
    for _ in range(3):
        page = got(desk.get(API, params={"limit": 2} | ({"cursor": cursor} if cursor else {})))
        seen += [job["job_id"] for job in page["jobs"]]
        cursor = page["next"]
    assert (seen, cursor) == ([f"r{n}" for n in range(5)], None)


def test_another_run_of_dagsters_is_no_job(desk: TestClient, dagster: tuple[StandIn, str]) -> None:
    dagster[0].runs["one"] = run("one", "STARTED") | {"pipelineName": "another"}
    got(desk.get(f"{API}/one"), 404)
    got(desk.delete(f"{API}/one"), 404)
    got(desk.get(f"{API}/none"), 404)
    assert "Cancel" not in [name for name, _ in dagster[0].asked]


# ---- cancelling


def test_a_job_is_cancelled_once(
    desk: TestClient, store: Store, dagster: tuple[StandIn, str]
) -> None:
    dagster[0].runs["one"] = run("one", "STARTED")
    assert got(desk.delete(f"{API}/one"))["status"] == "processing"
    (entry,) = store.trail()
    assert (entry.audit_run_id, entry.event.tool_called) == ("one", "cancel_audit")
    dagster[0].runs["one"]["status"] = "CANCELED"
    assert "already" in got(desk.delete(f"{API}/one"), 409)["message"]
    assert len(list(store.trail())) == 1


# ---- nobody there, or somebody else


def test_without_dagster_it_says_how_to_start_it(
    store: Store, tmp_path: Path, who: SignedIn
) -> None:
    """And the trail says that nothing came of it."""
    nowhere = f"http://127.0.0.1:{free_port()}"
    with desk_of(store, tmp_path, who, nowhere) as desk:
        for answer in (
            desk.post(API, json=DAYS_ASKED),
            desk.get(API),
            desk.get(f"{API}/one"),
            desk.delete(f"{API}/one"),
        ):
            said = got(answer, 503)["message"]
            assert "make ui" in said
            assert nowhere in said
    asked, failed = [entry.event for entry in store.trail()]
    assert (asked.tool_called, asked.error_message) == ("request_audit", None)
    assert failed.tool_called == "start_audit"
    assert "make ui" in str(failed.error_message)


@pytest.mark.parametrize(
    "spoilt",
    [
        (200, b"<html>hello</html>"),
        (200, b"[]"),
        (200, b'{"errors": [{"message": "no such field"}]}'),
        (500, b'{"data": {}}'),
        (302, b"{}"),
        (200, b'{"data": {"runsOrError": {"__typename": "PythonError", "message": "boom"}}}'),
    ],
)
def test_what_is_not_dagster_is_said_to_be_so(
    desk: TestClient, dagster: tuple[StandIn, str], spoilt: tuple[int, bytes]
) -> None:
    dagster[0].spoils["Jobs"] = spoilt
    got(desk.get(API), 503)


def test_a_dagster_without_the_audit_starts_nothing(
    desk: TestClient, store: Store, dagster: tuple[StandIn, str]
) -> None:
    dagster[0].has_audit = False
    assert "daily_audit" in got(desk.post(API, json=DAYS_ASKED), 503)["message"]


# ---- the real one


@pytest.mark.slow
def test_a_real_dagster_audits_and_cancels(
    tmp_path: Path, small_books: Path, who: SignedIn
) -> None:
    """Over the small company: three days are audited, then thirty are begun and cancelled."""
    place = Workplace(tmp_path, small_books)
    home = tmp_path / "dagster_home"
    home.mkdir()
    (home / "dagster.yaml").write_bytes((new_dagster_home() / "dagster.yaml").read_bytes())
    port = free_port()
    environment = DAYS | {
        "ENVIRONMENT": "test",
        "AUDIT_FIXTURES": str(small_books),
        "AUDIT_DATA_DIR": str(place.data_dir),
        "DAGSTER_HOME": str(home),
    }
    command = [sys.executable, "-m", "dagster", "dev", "-w", "workspace.yaml"]
    command += ["-h", "127.0.0.1", "-p", str(port)]
    log = tmp_path / "dagster.log"
    with child(command, log, environment):
        url = f"http://127.0.0.1:{port}"
        until(lambda: is_there(url), log)
        with place.store() as store, desk_of(store, tmp_path, who, url) as desk:
            first = small_company.AUDIT_FROM
            asked = {"kind": "audit", "from": str(first), "to": str(first + dt.timedelta(days=2))}
            job = got(desk.post(API, json=asked), 202)
            path = f"{API}/{job['job_id']}"
            seen = [job]

            def has_ended() -> bool:
                seen.append(got(desk.get(path)))
                return JobStatus(seen[-1]["status"]).has_ended

            until(has_ended, log)
            assert (seen[-1]["status"], seen[-1]["percentage"]) == ("completed", 100), seen[-1]
            percentages = [one["percentage"] for one in seen]
            assert percentages == sorted(percentages)
            assert any(0 < one["percentage"] < 100 and one["stage"] for one in seen), seen
            assert {run.audit_run_id for run in store.runs()} == {job["job_id"]}
            assert len(store.partitions(audit_run_id=job["job_id"])) == 3

            asked |= {"kind": "backfill", "to": str(small_company.AUDIT_TO)}
            job = got(desk.post(API, json=asked), 202)
            path = f"{API}/{job['job_id']}"
            until(lambda: got(desk.get(path))["status"] == "processing", log)
            got(desk.delete(path))
            until(lambda: got(desk.get(path))["status"] == "cancelled", log)
            assert got(desk.get(API))["jobs"][0]["job_id"] == job["job_id"]
            got(desk.delete(path), 409)


def is_there(url: str) -> bool:
    """It answers, and has loaded the audit."""
    try:
        Dagster(url)._place()
    except jobs.DagsterUnavailable:
        return False
    return True


def until(condition: Any, log: Path, seconds_max: float = 150) -> None:
    deadline = time.monotonic() + seconds_max
    while not condition():
        assert time.monotonic() < deadline, log.read_text(errors="replace")[-3000:]
        time.sleep(0.3)
