"""A day's audit whose warehouse fails: it waits, says so, and ends as if nothing had been."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from audit_pipeline import publishing
from audit_pipeline.adapters.fixtures import read_fixtures
from audit_pipeline.adapters.store.writer import Writer
from audit_pipeline.agents.data_quality import gate
from audit_pipeline.assets import ASSETS, OUTSIDE
from audit_pipeline.automation import failed_audits
from audit_pipeline.books import Books
from audit_pipeline.checks import CHECKS
from audit_pipeline.resources import AuditStore
from audit_pipeline.settings import Settings
from audit_pipeline_tests.databricks.process import LocalWarehouse
from audit_pipeline_tests.databricks.staging import gold_files, set_up, staged
from audit_pipeline_tests.databricks.tiny_gold import MONDAY, asked, left_in_scratch
from audit_pipeline_tests.databricks.warehouses import missing_for
from audit_pipeline_tests.environment import Workplace, why_not

pytestmark = [
    pytest.mark.usefixtures("broken_sockets", "connector_waits"),
    pytest.mark.filterwarnings(
        "ignore:Exception ignored in.*ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning"
    ),
]
FIRST_STEP = [dg.AssetKey("quality_report")]


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalWarehouse]:
    """One of its own, which may be killed."""
    missing = missing_for("duckdb")
    if missing is not None:
        pytest.skip(missing)
    with LocalWarehouse("duckdb", home=tmp_path_factory.mktemp("identity")) as started:
        yield started


@pytest.fixture(scope="module")
def staging(
    tmp_path_factory: pytest.TempPathFactory, small_books: Path, warehouse: LocalWarehouse
) -> Iterator[Workplace]:
    with staged(tmp_path_factory.mktemp("staging"), small_books, warehouse) as place:
        yield place


@pytest.fixture(scope="module")
def of_fixtures(tmp_path_factory: pytest.TempPathFactory, small_books: Path) -> Workplace:
    """The same day, audited from files."""
    place = Workplace(tmp_path_factory.mktemp("of_fixtures"), small_books)
    with place.instance() as instance:
        result = place.audit(instance, MONDAY, MONDAY)
        assert result.success, why_not(result)
    return place


@pytest.fixture
def place(staging: Workplace, warehouse: LocalWarehouse, tmp_path: Path) -> Iterator[Workplace]:
    """An empty store over the staged gold, and a warehouse without faults."""
    warehouse.clear()
    yield replace(staging, home=tmp_path)
    warehouse.clear()


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dagster does not wait between attempts."""
    policy = dg.RetryPolicy(max_retries=OUTSIDE.max_retries, delay=0)
    for made in (*ASSETS, *CHECKS):
        if isinstance(made, dg.AssetsDefinition) and made.op.retry_policy is not None:
            monkeypatch.setattr(made.op, "_retry_policy", policy)


class Statuses(list[str]):
    """What the workflow said it was, in order; `then` is called at the next pause."""

    then: Callable[[], None] | None = None


@pytest.fixture
def statuses(monkeypatch: pytest.MonkeyPatch) -> Statuses:
    said = Statuses()
    save = Writer.save_workflow_state

    def noted(writer: Writer, run_id: str, state: Any) -> None:
        save(writer, run_id, state)
        said.append(state["workflow_status"])
        if said[-1] == "paused" and said.then is not None:
            then, said.then = said.then, None
            then()

    monkeypatch.setattr(Writer, "save_workflow_state", noted)
    return said


def _retries(result: dg.ExecuteInProcessResult) -> list[str]:
    return [
        e.step_key or "" for e in result.all_events if e.event_type_value == "STEP_UP_FOR_RETRY"
    ]


def _before(
    monkeypatch: pytest.MonkeyPatch, owner: object, name: str, act: Callable[[], object]
) -> None:
    """Act before the first call of that function, and never again."""
    real, first = getattr(owner, name), [True]

    def acting(*given: Any, **named: Any) -> Any:
        if first and first.pop():
            act()
        return real(*given, **named)

    monkeypatch.setattr(owner, name, acting)


def _whole(place: Workplace, of_fixtures: Workplace, warehouse: LocalWarehouse) -> None:
    """No row lost, none twice, nothing left behind: in the store and in the catalog."""
    assert place.flags() == of_fixtures.flags()
    assert place.findings() == of_fixtures.findings()
    without = ("audit_run_id",)
    assert place.rows("audit_partitions", without) == of_fixtures.rows("audit_partitions", without)
    workspace = Settings.workspace_of(place.environment)
    published = asked(workspace, f"SELECT flag_id FROM {workspace.stored_table('flags')}")
    ids = [row["flag_id"] for row in published]
    assert sorted(map(str, ids)) == sorted(row["flag_id"] for row in place.flags())
    kept = asked(
        workspace,
        f"SELECT transaction_id, rule_id FROM {workspace.stored_table('anomaly_findings')}"
        f" WHERE audit_on = DATE'{MONDAY}'",
    )
    pairs = [(row["transaction_id"], row["rule_id"]) for row in kept]
    assert len(set(pairs)) == len(pairs)
    assert left_in_scratch(workspace) == []


def test_a_run_in_bad_weather(
    place: Workplace,
    of_fixtures: Workplace,
    warehouse: LocalWarehouse,
    statuses: Statuses,
    monkeypatch: pytest.MonkeyPatch,
):
    """One fault of each kind that passes; the same run goes on after each."""
    # while a step's rows are stored: half a reply; while a check asks, and within a step: no
    # session any more; published flags arrive twice; and now and then it is busy
    warehouse.fault("ExecuteStatement", "truncate", saying="REPLACE WHERE")
    warehouse.fault("ExecuteStatement", status=503, nth=40, times=2)
    warehouse.fault("ExecuteStatement", "reset_after", saying="MERGE INTO")
    warehouse.fault("ExecuteStatement", "reset_after", saying="REPLACE WHERE", nth=4, times=1)
    _before(monkeypatch, gate, "check_freshness", warehouse.drop_sessions)
    _before(monkeypatch, Books, "_make_scores", warehouse.drop_sessions)
    with place.instance() as instance:
        result = place.audit(instance, MONDAY, MONDAY)
    assert result.success, why_not(result)
    retries = _retries(result)
    assert len(retries) == 3
    assert {"quality_report", "quality_report_freshness", "anomaly_scores"} == set(retries)
    assert statuses.count("paused") == 3
    assert statuses[-1] == "completed"
    merges = [sql for sql in warehouse.statements() if sql.startswith("MERGE INTO")]
    assert len(merges) == 2
    assert len(set(merges)) == 1
    warehouse.clear()
    _whole(place, of_fixtures, warehouse)


def test_a_warehouse_that_is_killed_and_started_again(
    place: Workplace,
    small_books: Path,
    tmp_path: Path,
    warehouse: LocalWarehouse,
    statuses: Statuses,
    monkeypatch: pytest.MonkeyPatch,
):
    """Dagster finds it again under its address, with gold; nothing else is known to it."""

    def start_again() -> None:
        warehouse.start_again()
        snapshot = read_fixtures(small_books, tmp_path / "read")
        warehouse.load(gold_files(snapshot, tmp_path / "loaded"))
        set_up(Settings.workspace_of(place.environment))

    statuses.then = start_again
    _before(monkeypatch, gate, "gate_reasons", warehouse.kill)
    with place.instance() as instance:
        result = place.audit(instance, MONDAY, MONDAY, FIRST_STEP)
    assert result.success, why_not(result)
    assert _retries(result) == ["quality_report"]
    assert statuses.count("paused") == 1
    assert statuses[-1] == "in_progress"
    workspace = Settings.workspace_of(place.environment)
    assert left_in_scratch(workspace) == []
    stored = asked(workspace, f"SELECT * FROM {workspace.stored_table('quality_report')}")
    assert stored
    assert len({row["table_name"] for row in stored}) == len(stored)


STOPS = {
    "unauthorised at connect": ("OpenSession", "status", {"status": 403}, "DATABRICKS_TOKEN"),
    "unauthorised in the middle": (
        "ExecuteStatement",
        "status",
        {"status": 401, "saying": "REPLACE WHERE"},
        "DATABRICKS_TOKEN",
    ),
    "not granted": (
        "ExecuteStatement",
        "refused",
        {"saying": "REPLACE WHERE", "message": "[INSUFFICIENT_PERMISSIONS] SQLSTATE: 42501"},
        "databricks grants",
    ),
    "rejected": (
        "ExecuteStatement",
        "refused",
        {"saying": "REPLACE WHERE", "message": "[PARSE_SYNTAX_ERROR] SQLSTATE: 42601"},
        "databricks check",
    ),
}


@pytest.mark.parametrize("case", STOPS)
def test_what_waiting_does_not_help_stops_at_once(
    place: Workplace, warehouse: LocalWarehouse, statuses: Statuses, case: str
):
    """One attempt in Dagster and one request; a line that says what to do, and no traceback."""
    on, kind, how, says = STOPS[case]
    warehouse.fault(on, kind, times=99, **how)
    with place.instance() as instance:
        result = place.audit(instance, MONDAY, MONDAY, FIRST_STEP)
    assert not result.success
    assert _retries(result) == []
    said = [line for line in why_not(result).splitlines() if line.startswith("quality_report")]
    assert says in said[0]
    assert "token's owner" in said[0]
    assert "paused" not in statuses
    log = warehouse.log()
    met = [sql for sql in log["statements"] if "REPLACE WHERE" in sql]
    assert len(met) <= 1
    if on == "OpenSession":
        assert [entry["request"] for entry in log["requests"]] == ["OpenSession"]
    assert place.rows("flags") == []


def test_a_warehouse_that_stays_away(
    place: Workplace, warehouse: LocalWarehouse, statuses: Statuses
):
    """The retries are counted; the workflow says paused until the sensor says failed."""
    warehouse.fault("ExecuteStatement", status=500, times=10**6)
    with place.instance() as instance:
        result = place.audit(instance, MONDAY, MONDAY, FIRST_STEP)
        assert not result.success
        assert len(_retries(result)) == OUTSIDE.max_retries
        assert statuses.count("paused") == OUTSIDE.max_retries + 1
        assert set(statuses) <= {"in_progress", "paused"}
        (event,) = [e for e in result.all_events if e.event_type_value == "PIPELINE_FAILURE"]
        context = dg.build_run_status_sensor_context(
            sensor_name="failed_audits",
            dagster_instance=instance,
            dagster_run=result.dagster_run,
            dagster_event=event,
        ).for_run_failure()
        store = AuditStore(url=place.settings.store_url)
        failed_audits(context, store=store)  # pyright: ignore[reportCallIssue]
    with place.store() as store:
        (state,) = store.runs()
    assert state.workflow_status == "failed"


PASSING: dict[str, dict[str, Any]] = {
    "500": {"status": 500},
    "503": {"status": 503, "times": 3},
    "429": {"status": 429, "headers": {"Retry-After": "2"}},
    "reset before": {"kind": "reset_before"},
    "reset after": {"kind": "reset_after"},
    "truncated": {"kind": "truncate"},
    "another writer": {"kind": "refused", "message": "[DELTA_CONCURRENT_APPEND] SQLSTATE: 2D521"},
}


@pytest.mark.slow
@pytest.mark.parametrize("saying", ["CREATE OR REPLACE TABLE", "REPLACE WHERE", "MERGE INTO"])
@pytest.mark.parametrize("fault", PASSING)
def test_each_fault_at_each_kind_of_write(
    place: Workplace,
    of_fixtures: Workplace,
    warehouse: LocalWarehouse,
    statuses: Statuses,
    fault: str,
    saying: str,
):
    how = {"kind": "status", "nth": 1 if saying == "MERGE INTO" else 3} | PASSING[fault]
    warehouse.fault("ExecuteStatement", saying=saying, **how)
    with place.instance() as instance:
        result = place.audit(instance, MONDAY, MONDAY)
    assert result.success, why_not(result)
    assert statuses[-1] == "completed"
    warehouse.clear()
    _whole(place, of_fixtures, warehouse)


@pytest.mark.slow
def test_a_session_that_is_lost_late(
    place: Workplace,
    of_fixtures: Workplace,
    warehouse: LocalWarehouse,
    statuses: Statuses,
    monkeypatch: pytest.MonkeyPatch,
):
    """What all steps before have derived is derived again."""
    _before(monkeypatch, publishing, "escalate", warehouse.drop_sessions)
    with place.instance() as instance:
        result = place.audit(instance, MONDAY, MONDAY)
    assert result.success, why_not(result)
    assert _retries(result) == ["escalated_flags"]
    assert statuses[-1] == "completed"
    _whole(place, of_fixtures, warehouse)
