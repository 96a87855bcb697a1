"""One audit run: which days, executed as a Dagster run in this process, and how it ended."""

import datetime as dt
import os
import shutil
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from audit_pipeline.model.errors import BadUsage, GoldUnreadable

if TYPE_CHECKING:
    from rich.console import Console

    from audit_pipeline.model.gold import GoldState
    from audit_pipeline.settings import Settings

DAYS_MAX = 20_000


def look(
    settings: "Settings",
    from_on: dt.date | None,
    to_on: dt.date | None,
    progress: "Progress",
) -> "tuple[GoldState, dt.date, dt.date]":
    """What is known of gold, and the days to audit.

    Raises:
        GoldUnreadable: there is no gold, or nothing in it.
        BadUsage: these days cannot be audited.
        WarehouseError: Databricks does not answer.
    """
    if settings.workspace is not None:
        from audit_pipeline.adapters.databricks.warehouse import DatabricksWarehouse

        progress.say(f"looking at {settings.workspace.name}")
        with closing(DatabricksWarehouse(settings.workspace)) as gold:
            return gold.state, *audited_days(gold.state, gold.days, from_on, to_on)
    from audit_pipeline.adapters.fixtures import read_fixtures
    from audit_pipeline.adapters.warehouse import DuckDBWarehouse

    snapshot = read_fixtures(settings.fixtures, settings.data_dir, progress.say)
    with closing(DuckDBWarehouse(snapshot, settings.data_dir / "derived", 1)) as files:
        return snapshot, *audited_days(snapshot, files.days, from_on, to_on)


@dataclass(frozen=True)
class Run:
    """How a run ended."""

    run_id: str
    status: str
    reasons: tuple[str, ...] = ()


def audited_days(
    state: "GoldState",
    days: "Callable[[], tuple[dt.date | None, dt.date | None]]",
    from_on: dt.date | None,
    to_on: dt.date | None,
) -> tuple[dt.date, dt.date]:
    """The days to audit: as asked, else as about.json says, else all there are.

    Args:
        state: what is known of gold.
        days: the first and last day that gold has; asked only where it matters.
        from_on: the first day, as asked.
        to_on: the last one, as asked.
    """
    about = state.about
    if from_on is None or to_on is None:
        first, last = days()
        problem = next((f.problem for f in state.files if f.problem), None)
        if first is None and problem is None and not any(f.rows_quarantined for f in state.files):
            message = (
                "gold.recent_transactions holds no rows, so there is nothing to audit; "
                "name days with --from and --to to audit them all the same"
            )
            raise GoldUnreadable(message)
        from_on = from_on or about.audit_from or first or to_on or state.horizon
        to_on = to_on or about.audit_to or last or state.horizon
    if from_on > to_on:
        message = f"--from {from_on} is after --to {to_on}"
        raise BadUsage(message)
    if (to_on - from_on).days >= DAYS_MAX:
        message = f"{from_on} to {to_on} is more than {DAYS_MAX:,} days; name a shorter range"
        raise BadUsage(message)
    return from_on, to_on


def execute(
    settings: "Settings",
    state: "GoldState",
    from_on: dt.date,
    to_on: dt.date,
    progress: "Progress",
) -> Run:
    """One Dagster run over the range, in this process, recorded in DAGSTER_HOME."""
    _dagster_home(settings)
    if from_on < settings.start_on:
        os.environ["AUDIT_START_ON"] = from_on.isoformat()
    if settings.end_on is None or to_on > settings.end_on:
        os.environ["AUDIT_END_ON"] = to_on.isoformat()
    progress.say("starting Dagster")
    import dagster as dg

    from audit_pipeline.adapters.store import Store
    from audit_pipeline.definitions import defs
    from audit_pipeline.reaper import executed_here, reap
    from audit_pipeline.resources import close_books

    run_id = str(uuid.uuid4())
    job = defs.resolve_job_def("daily_audit")
    with dg.DagsterInstance.get() as instance:
        with Store.open(settings.store_url) as store:
            reap(instance, store)
        instance.add_event_listener(run_id, progress.event)
        result = job.execute_in_process(
            instance=instance,
            run_id=run_id,
            raise_on_error=False,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            tags={
                "dagster/asset_partition_range_start": from_on.isoformat(),
                "dagster/asset_partition_range_end": to_on.isoformat(),
                **executed_here(run_id),
                "audit/population": state.about.name[:60],
                "audit/from": from_on.isoformat(),
                "audit/to": to_on.isoformat(),
            },
        )
    close_books()
    if result.success:
        return Run(run_id, "completed")
    closed = [
        check.description or ""
        for check in result.get_asset_check_evaluations()
        if check.check_name == "quality_gate" and not check.passed
    ]
    if closed:
        return Run(run_id, "gate_closed", tuple(closed[0].removeprefix("closed: ").split("; ")))
    failures = [
        (event.step_failure_data.user_failure_data, event.step_failure_data.error, event.step_key)
        for event in result.all_node_events
        if event.event_type_value == "STEP_FAILURE"
    ]
    said = [
        f"{step}: {user.description}"
        if user is not None and user.description
        else f"{step}: {_cause(error)}"
        for user, error, step in failures
    ]
    return Run(run_id, "failed", tuple(said))


def _cause(error: object) -> str:
    while getattr(error, "cause", None) is not None:
        error = getattr(error, "cause")  # noqa: B009 — the type is Dagster's own
    return str(getattr(error, "message", error)).strip().splitlines()[0][:400]


def _dagster_home(settings: "Settings") -> None:
    """Use DAGSTER_HOME, or a home in the data directory with the project's dagster.yaml."""
    home = Path(os.environ.setdefault("DAGSTER_HOME", str(settings.data_dir / "dagster_home")))
    home.mkdir(parents=True, exist_ok=True)
    packaged = Path(__file__).parent.parent / "dagster.yaml"
    if not (home / "dagster.yaml").exists() and packaged.exists():
        shutil.copyfile(packaged, home / "dagster.yaml")


class Progress:
    """One line on a terminal that says what is being done; nothing elsewhere."""

    def __init__(self, console: "Console") -> None:
        self._status = console.status("") if console.is_terminal else None
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        if self._status:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._status:
            self._status.stop()

    def say(self, what: str) -> None:
        """What is being done now."""
        if self._status:
            self._status.update(f"{time.monotonic() - self._began:5.1f} s  {what}")

    def event(self, entry: object) -> None:
        """A Dagster event of the run."""
        event = getattr(entry, "dagster_event", None)
        if event is None:
            return
        step = str(event.step_key).replace("_", " ")
        if event.event_type_value == "STEP_START":
            self.say(step)
        elif event.event_type_value == "STEP_UP_FOR_RETRY":
            error = getattr(event.event_specific_data, "error", None)
            self.say(f"{step}: waiting to try again: {_cause(error)}")
