"""Runs of the real job on a real instance: what they leave, what stops them, how they go on."""

import datetime as dt
import json
import os
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from audit_pipeline import books, publishing
from audit_pipeline.model.errors import StoreUnavailable
from audit_pipeline.model.query import Query
from audit_pipeline.resources import AuditStore, close_books
from audit_pipeline.steps import AGENTS
from audit_pipeline_tests import small_company
from audit_pipeline_tests.environment import (
    QUIET,
    Row,
    Workplace,
    command_line,
    day,
    tags_of,
    why_not,
)
from audit_pipeline_tests.small_company import AUDIT_FROM, AUDIT_TO

MONDAY = day("2025-03-31")
PRODUCED = (
    "quality_report quarantine quality_findings matches statements reconciliation_findings "
    "anomaly_scores anomaly_findings context_findings escalated_flags flags audit_log"
).split()
IMAGE = "data:image/svg+xml;base64,"


def _metadata(instance: dg.DagsterInstance, asset: str) -> dict[str, Any]:
    event = instance.get_latest_materialization_event(dg.AssetKey(asset))
    assert event is not None
    assert event.asset_materialization is not None
    return {name: value.value for name, value in event.asset_materialization.metadata.items()}


def _materialised(result: dg.ExecuteInProcessResult) -> set[str]:
    events = result.get_asset_materialization_events()
    return {event.asset_key.path[-1] for event in events if event.asset_key}


def _copy(place: Workplace, to: Path) -> Workplace:
    shutil.copytree(place.home, to, dirs_exist_ok=True)
    return Workplace(to, place.fixtures)


# ── what a run leaves ───────────────────────────────────────────────────────────────────────────


def test_a_range_is_one_run_that_materialises_every_day(audited: Workplace):
    with audited.instance() as instance:
        assert len(instance.get_runs()) == 1
        days = {str(AUDIT_FROM), str(AUDIT_TO)}
        for asset in PRODUCED:
            found = instance.get_materialized_partitions(dg.AssetKey(asset))
            assert days <= found, asset
            assert len(found) == 30, asset


def test_metadata_counts_and_pictures(audited: Workplace):
    flags, findings = audited.flags(), audited.findings()
    with audited.instance() as instance:
        report = _metadata(instance, "quality_report")
        assert report["gate"] == "open"
        assert "recent\\_transactions.jsonl" in report["sources"]
        raised = _metadata(instance, "escalated_flags")
        assert raised["flags"] == len(flags)
        assert IMAGE in raised["by_severity"]
        assert IMAGE in raised["by_day"]
        published = _metadata(instance, "flags")
        assert published["created"] == len(flags)
        assert published["dagster/row_count"] == len(flags)
        assert IMAGE in published["changes"]
        counted = sum(
            _metadata(instance, asset)["findings"]
            for asset in PRODUCED
            if asset.endswith("_findings")
        )
        assert counted == len(findings)
        scores = _metadata(instance, "anomaly_scores")
        assert IMAGE in scores["scores"]
        assert "Benford, first digit of" in scores["benford"]
        assert IMAGE in scores["benford"]
        closed = _metadata(instance, "audit_log")
        assert "flagged" in closed["disposition"]
        assert IMAGE in closed["disposition"]
        assert closed["audit_run_id"] == instance.get_runs()[0].run_id


def test_every_check_is_evaluated(audited: Workplace):
    checks = {
        "quality_gate": ("quality_report", True),
        "freshness": ("quality_report", True),
        "source_notes": ("quality_report", True),
        # one repeated id, one entry without a vendor, one that cannot be read
        "nothing_quarantined": ("quarantine", False),
        "disposition_ledger": ("escalated_flags", True),
    }
    with audited.instance() as instance:
        for name, (asset, passes) in checks.items():
            key = dg.AssetCheckKey(dg.AssetKey(asset), name)
            record = instance.event_log_storage.get_latest_asset_check_execution_by_key([key])[key]
            assert record.event is not None
            evaluation = record.event.asset_check_evaluation
            assert evaluation is not None
            assert evaluation.passed is passes, (name, evaluation.description)


def test_the_same_again_writes_nothing(audited: Workplace, tmp_path: Path):
    """Not a byte of a flag, a finding or a query: `updated_at` stays, too."""
    place = _copy(audited, tmp_path)
    with place.instance() as instance:
        result = place.audit(instance, AUDIT_FROM, AUDIT_TO)
        assert result.success, why_not(result)
        published = _metadata(instance, "flags")
    for table in ("flags", "findings", "queries"):
        assert place.rows(table) == audited.rows(table), table
    changes = {name: published[name] for name in ("created", "updated", "superseded", "reopened")}
    assert not any(changes.values()), changes
    assert published["unchanged"] == len(place.flags())


def test_a_day_alone(workplace: Workplace, audited: Workplace):
    with workplace.instance() as instance:
        result = workplace.audit(instance, MONDAY, MONDAY)
        assert result.success, why_not(result)
        found = instance.get_materialized_partitions(dg.AssetKey("flags"))
        assert found == {str(MONDAY)}
    assert workplace.findings() == [r for r in audited.findings() if r["audit_on"] == str(MONDAY)]


def test_the_trail_has_every_agent_and_no_gap(audited: Workplace):
    with audited.store() as store:
        entries = list(store.trail())
    assert [e.document["log_sequence_number"] for e in entries] == list(range(1, len(entries) + 1))
    assert all(entry.intact for entry in entries)
    assert {e.document["agent_name"] for e in entries} == set(AGENTS)
    assert len({e.document["audit_run_id"] for e in entries}) == 1
    calls = Counter(e.document["tool_called"] for e in entries)
    assert calls["mark_audit_complete"] == 1
    assert calls["flag_created"] == len(audited.flags())


def test_a_completed_run_has_no_agent_left(audited: Workplace):
    with audited.store() as store:
        (run,) = store.runs()
    assert (run.workflow_status, run.current_agent) == ("completed", None)
    assert (run.completed_agents, run.pending_agents) == (AGENTS, ())


# ── what stops it ───────────────────────────────────────────────────────────────────────────────


def _rewrite(folder: Path, table: str, change: Callable[[Row], Row]) -> None:
    path = folder / f"{table}.jsonl"
    rows = [change(json.loads(line)) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _crowd(folder: Path, rows: int) -> None:
    """A day of `rows` ledger entries, of whose required values a fifth is missing."""
    path = folder / "recent_transactions.jsonl"
    lines = [
        json.dumps(
            {
                "txn_id": f"x_{number}",
                "source": "credit_card",
                "amount": 10 + number,
                "vendor": None,
                "date": f"{small_company.AUDIT_TO}T12:00:00Z",
            }
        )
        for number in range(rows)
    ]
    kept = [x for x in path.read_text().splitlines() if str(small_company.AUDIT_TO) not in x]
    path.write_text("\n".join([*kept, *lines]) + "\n")


def _truncated(folder: Path, table: str) -> None:
    rows = [json.loads(line) for line in (folder / f"{table}.jsonl").read_text().splitlines()]
    (folder / f"{table}.jsonl").unlink()
    text = json.dumps(rows)
    (folder / f"{table}.json").write_text(text[: len(text) // 2])


def _columnless(folder: Path) -> None:
    _rewrite(
        folder, "credit_cards", lambda row: {k: v for k, v in row.items() if k != "card_number"}
    )


FAULTY_SOURCES: dict[str, tuple[Callable[[Path], None], str]] = {
    "a fifth of the day's values is missing": (lambda f: _crowd(f, 20), "80.0% of the required"),
    "the ledger is cut off": (
        lambda f: _truncated(f, "recent_transactions"),
        "recent_transactions",
    ),
    "the receipts are cut off": (lambda f: _truncated(f, "receipts"), "receipts"),
    "a column is missing": (_columnless, "card_number"),
}


@pytest.fixture
def own_books(tmp_path: Path) -> Workplace:
    """The small company in a folder that a test may spoil."""
    return Workplace(tmp_path, small_company.make().write(tmp_path / "gold"))


def _nothing_was_published(place: Workplace) -> None:
    for table in ("flags", "findings", "audit_partitions"):
        assert place.rows(table) == [], table
    derived = {path.parent.name for path in place.data_dir.glob("derived/*/*/audit_on=*")}
    assert derived <= {"quality_report"}


@pytest.mark.parametrize("fault", FAULTY_SOURCES)
def test_a_closed_gate_stops_the_audit(own_books: Workplace, fault: str):
    spoil, said = FAULTY_SOURCES[fault]
    spoil(own_books.fixtures)
    with own_books.instance() as instance:
        result = own_books.audit(instance, AUDIT_TO, AUDIT_TO)
        assert not result.success
        assert _materialised(result) == {"quality_report"}
        (gate,) = [
            e for e in result.get_asset_check_evaluations() if e.check_name == "quality_gate"
        ]
        assert not gate.passed
        assert gate.blocking
        assert said in (gate.description or "")
        _nothing_was_published(own_books)


@pytest.mark.parametrize(
    "selected",
    [
        [name for name in PRODUCED if name != "quality_report"],
        ["flags"],
        ["matches"],
    ],
    ids=["all but the gate", "flags only", "matches only"],
)
def test_a_selection_that_leaves_the_gate_out_does_not_open_it(
    own_books: Workplace, selected: Sequence[str]
):
    """What a backfill from the UI launches, when only the agents' assets are ticked."""
    _crowd(own_books.fixtures, 20)
    with own_books.instance() as instance:
        keys = [dg.AssetKey(name) for name in selected]
        result = own_books.audit(instance, AUDIT_TO, AUDIT_TO, keys)
        assert not result.success
        assert "the quality gate is closed" in why_not(result)
        assert _materialised(result) == set()
        _nothing_was_published(own_books)


def test_a_few_bad_rows_do_not_close_the_gate(own_books: Workplace):
    """Nineteen rows are too few to judge a day by: they are quarantined, and the audit goes on."""
    _crowd(own_books.fixtures, 19)
    with own_books.instance() as instance:
        result = own_books.audit(instance, AUDIT_TO, AUDIT_TO)
        assert result.success, why_not(result)
    (ledger,) = own_books.rows("audit_partitions")
    assert (ledger["transactions"], ledger["quarantined"]) == (19, 19)


def test_a_closed_day_does_not_close_the_others(own_books: Workplace):
    _crowd(own_books.fixtures, 20)
    with own_books.instance() as instance:
        result = own_books.audit(instance, MONDAY, MONDAY)
        assert result.success, why_not(result)


def _lose_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """The population misses one entry of Monday, as if a join had dropped it."""
    make = books.Books._make_transactions

    def losing(made: books.Books) -> None:
        make(made)
        kept = Query(
            "SELECT * FROM audit.transactions WHERE transaction_id <>"
            " (SELECT min(transaction_id) FROM audit.transactions WHERE audit_on = $monday)",
            {"monday": MONDAY},
        )
        made.warehouse.create("transactions", made.warehouse.query(kept))

    monkeypatch.setattr(books.Books, "_make_transactions", losing)


def test_a_lost_row_blocks_publishing(workplace: Workplace, monkeypatch: pytest.MonkeyPatch):
    _lose_a_row(monkeypatch)
    with workplace.instance() as instance:
        result = workplace.audit(instance, MONDAY, MONDAY)
    assert not result.success
    (ledger,) = [
        e for e in result.get_asset_check_evaluations() if e.check_name == "disposition_ledger"
    ]
    assert not ledger.passed
    assert "2025-03-31: received 12" in (ledger.description or "")
    assert "flags" not in _materialised(result)
    assert workplace.rows("flags") == []
    assert workplace.rows("findings") == []


def test_a_selection_that_leaves_the_ledger_check_out_does_not_balance_it(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
):
    """The check sits on escalated_flags; `flags` alone must not be published without it."""
    with workplace.instance() as instance:
        upstream = [dg.AssetKey(name) for name in PRODUCED if name not in ("flags", "audit_log")]
        assert workplace.audit(instance, MONDAY, MONDAY, upstream).success
        _lose_a_row(monkeypatch)
        result = workplace.audit(instance, MONDAY, MONDAY, [dg.AssetKey("flags")])
    assert not result.success
    assert workplace.rows("flags") == []


# ── how it goes on ──────────────────────────────────────────────────────────────────────────────

PLACE = ("TEST_PLACE_HOME", "TEST_PLACE_FIXTURES")


def daily_audit_again() -> dg.JobDefinition:
    """The job of the workplace that the environment names; for `dg.reconstructable`."""
    home, fixtures = (Path(os.environ[name]) for name in PLACE)
    return Workplace(home, fixtures).definitions.resolve_job_def("daily_audit")


def test_a_failed_step_is_resumed(
    workplace: Workplace, audited: Workplace, monkeypatch: pytest.MonkeyPatch
):
    """Re-execution from failure resumes, leaves the same flags, and is one audit in the trail."""
    escalate = publishing.escalate
    with monkeypatch.context() as broken, workplace.instance() as instance:
        broken.setattr(publishing, "escalate", _raise)
        failed = workplace.audit(instance, AUDIT_FROM, AUDIT_TO)
    assert not failed.success
    assert "escalated_flags" in why_not(failed)
    assert workplace.rows("flags") == []
    assert publishing.escalate is escalate

    for name, value in zip(PLACE, (workplace.home, workplace.fixtures), strict=True):
        monkeypatch.setenv(name, str(value))
    with workplace.instance() as instance:
        options = dg.ReexecutionOptions.from_failure(failed.run_id, instance)
        with dg.execute_job(
            dg.reconstructable(daily_audit_again),
            instance=instance,
            reexecution_options=options,
            tags=tags_of(AUDIT_FROM, AUDIT_TO),
        ) as resumed:
            assert resumed.success, why_not(resumed)
            steps = {e.step_key for e in resumed.all_events if e.event_type_value == "STEP_START"}
        run = instance.get_run_by_id(resumed.run_id)
        assert run is not None
        assert run.root_run_id == failed.run_id
    close_books()
    assert "escalated_flags" in steps
    assert not steps & {"quality_report", "matches", "context_findings"}
    assert workplace.flags() == audited.flags()
    assert workplace.findings() == audited.findings()
    with workplace.store() as store:
        assert {e.document["audit_run_id"] for e in store.trail()} == {failed.run_id}
        (state,) = store.runs()
    assert (state.audit_run_id, state.workflow_status) == (failed.run_id, "completed")
    assert {row["audit_run_id"] for row in workplace.rows("flags")} == {failed.run_id}


def _raise(*_: object) -> None:
    raise RuntimeError("the machine is on fire")


def _tried_again_at_once(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The retries of `flags` without their half-minutes of waiting."""
    step = place.definitions.get_assets_def(dg.AssetKey("flags")).op
    assert step.retry_policy is not None
    at_once = dg.RetryPolicy(max_retries=step.retry_policy.max_retries, delay=0)
    monkeypatch.setattr(step, "_retry_policy", at_once)


def _count(result: dg.ExecuteInProcessResult, kind: str) -> int:
    return sum(event.event_type_value == kind for event in result.all_events)


def test_a_store_that_is_away_is_asked_again(workplace: Workplace, monkeypatch: pytest.MonkeyPatch):
    """What touches the outside is retried: for a moment the database refuses connections."""
    publish, away = publishing.publish, iter([True, True, False])

    def refusing(*given: Any) -> Any:
        if next(away):
            raise StoreUnavailable("the database system is starting up")
        return publish(*given)

    _tried_again_at_once(workplace, monkeypatch)
    monkeypatch.setattr(publishing, "publish", refusing)
    with workplace.instance() as instance:
        result = workplace.audit(instance, MONDAY, MONDAY)
    assert result.success, why_not(result)
    assert _count(result, "STEP_UP_FOR_RETRY") == 2


def test_what_another_audit_published_meanwhile_is_not_lost(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
):
    """Flags stand on the findings of other days too: where those change, they are made again."""
    ledger, meanwhile = publishing.ledger, iter([True, False])
    of_another_day: list[str] = []

    def slow(step: Any, store: Any, raised: publishing.Raised) -> Any:
        if next(meanwhile):
            finding = replace(raised.findings[0], audit_on=AUDIT_TO)
            of_another_day.append(finding.transaction_id)
            with store.writing() as writer:
                writer.replace_findings(step.gold.population, AUDIT_TO, AUDIT_TO, [finding], {})
        return ledger(step, store, raised)

    _tried_again_at_once(workplace, monkeypatch)
    monkeypatch.setattr(publishing, "ledger", slow)
    with workplace.instance() as instance:
        result = workplace.audit(instance, MONDAY, MONDAY)
    assert result.success, why_not(result)
    assert _count(result, "STEP_UP_FOR_RETRY") == 1
    [flag] = [row for row in workplace.flags() if row["transaction_id"] in of_another_day]
    assert flag["audit_on"] == str(AUDIT_TO), "both findings are behind it"


def test_a_defect_is_not_tried_again(workplace: Workplace, monkeypatch: pytest.MonkeyPatch):
    """It would fail as well in a quarter of an hour, in which nobody is told."""
    _tried_again_at_once(workplace, monkeypatch)
    monkeypatch.setattr(publishing, "publish", _raise)
    with workplace.instance() as instance:
        result = workplace.audit(instance, MONDAY, MONDAY)
    assert not result.success
    assert _count(result, "STEP_UP_FOR_RETRY") == 0


def test_a_run_without_a_day_is_refused(workplace: Workplace):
    """`Materialize` with no partition chosen: one line that says so, and no retry of it."""
    with workplace.instance() as instance:
        result = workplace.definitions.resolve_job_def("daily_audit").execute_in_process(
            instance=instance,
            raise_on_error=False,
            run_config=QUIET,
            asset_selection=[dg.AssetKey("matches")],
        )
    assert not result.success
    assert "this run names no audit date" in why_not(result)
    (failure,) = [e for e in result.all_events if e.event_type_value == "STEP_FAILURE"]
    assert failure.step_failure_data.user_failure_data is not None


def test_a_failed_tool_call_is_in_the_trail(workplace: Workplace, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(publishing, "escalate", _raise)
    with workplace.instance() as instance:
        assert not workplace.audit(instance, MONDAY, MONDAY).success
    with workplace.store() as store:
        last = list(store.trail())[-1].document
    assert last["tool_called"] == "create_flags"
    assert last["error_message"] == "RuntimeError: the machine is on fire"


def test_the_sensor_marks_the_workflow_failed(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
):
    """Also for a killed process, which cannot say so itself: the state is still in progress."""
    monkeypatch.setattr(publishing, "escalate", _raise)
    with workplace.instance() as instance:
        failed = workplace.audit(instance, MONDAY, MONDAY)
        with workplace.store() as store:
            assert [run.workflow_status for run in store.runs()] == ["in_progress"]
        sensor = workplace.definitions.resolve_sensor_def("failed_audits")
        (event,) = [e for e in failed.all_events if e.event_type_value == "PIPELINE_FAILURE"]
        context = dg.build_run_status_sensor_context(
            sensor_name="failed_audits",
            dagster_instance=instance,
            dagster_run=failed.dagster_run,
            dagster_event=event,
        ).for_run_failure()
        store_url = f"sqlite:///{workplace.data_dir / 'audit.sqlite'}"
        sensor(context, store=AuditStore(url=store_url))  # pyright: ignore[reportCallIssue]
    with workplace.store() as store:
        (state,) = store.runs()
    assert (state.workflow_status, state.current_agent) == ("failed", "escalation")


KILLED = {
    "before the first finding is stored": "audit_pipeline.resources PartitionStore.handle_output",
    "between escalation and publishing": "audit_pipeline.publishing publish",
    "in the middle of the transaction": (
        "audit_pipeline.adapters.store.writer Writer.put_partitions"
    ),
}
KILLER = """
import importlib, os, signal, sys
from audit_pipeline import cli
module, _, name = {place!r}.partition(" ")
owner = importlib.import_module(module)
*path, last = name.split(".")
for part in path:
    owner = getattr(owner, part)
setattr(owner, last, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
sys.exit(cli.main({arguments!r}))
"""


# The others are slow: `make torture` kills at many more places.
@pytest.mark.parametrize(
    "moment",
    [pytest.param(m, marks=() if "middle" in m else pytest.mark.slow) for m in KILLED],
)
def test_a_killed_process_is_started_again(tmp_path: Path, audited: Workplace, moment: str):
    place = Workplace(tmp_path, audited.fixtures)
    arguments = ["audit", "--fixtures", str(place.fixtures), "--data", str(place.data_dir)]
    killer = KILLER.format(place=KILLED[moment], arguments=arguments)
    killed = command_line(program=("-c", killer), AUDIT_FIXTURES=str(place.fixtures))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert place.rows("flags") == []
    assert place.rows("findings") == []
    with place.instance() as instance:
        result = place.audit(instance, AUDIT_FROM, AUDIT_TO)
        assert result.success, why_not(result)
    assert place.flags() == audited.flags()
    assert place.findings() == audited.findings()


def test_the_schedule_asks_for_yesterday(audited: Workplace):
    schedule = audited.definitions.resolve_schedule_def("daily_audit_schedule")
    at = dt.datetime(2025, 4, 11, 5, tzinfo=dt.UTC)
    with audited.instance() as instance:
        context = dg.build_schedule_context(
            instance=instance,
            scheduled_execution_time=at,
            repository_def=audited.definitions.get_repository_def(),
        )
        requests = schedule.evaluate_tick(context).run_requests or ()
    (request,) = list(requests)
    assert request.partition_key == "2025-04-10"
