"""Dagster skins: the books of a date range, the IO managers of stored partitions, the store.

One set of books is open in a process at a time. A run's steps share it, because they run in one
process; a re-execution in a new process opens its own and derives the same tables.
"""

import datetime as dt
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
from pydantic import Field

from audit_pipeline.adapters.fixtures import Snapshot, read_fixtures
from audit_pipeline.adapters.llm import ReplayedLLM, language_model
from audit_pipeline.adapters.protocol import Warehouse
from audit_pipeline.adapters.state import LiveState, MirroredStore, live_state
from audit_pipeline.adapters.store import attempts
from audit_pipeline.adapters.trail.archive import archive_to_immutable_log
from audit_pipeline.adapters.trail.sealing import Sealer
from audit_pipeline.adapters.warehouse import DuckDBWarehouse
from audit_pipeline.books import Books
from audit_pipeline.model.errors import (
    AuditError,
    BadUsage,
    PartitionBusy,
    StoreUnavailable,
    WarehouseUnavailable,
)
from audit_pipeline.model.gold import GoldState, Health
from audit_pipeline.model.query import Query
from audit_pipeline.model.question import LanguageModel
from audit_pipeline.model.rule import Rules
from audit_pipeline.model.trail import RETENTION_YEARS
from audit_pipeline.model.workspace import Job, Workspace
from audit_pipeline.settings import Settings, digest, folder_name, load_rules, rules_text


def daily_partitions(settings: Settings) -> dg.DailyPartitionsDefinition:
    """One partition per audit date, UTC, from the first to yesterday, or to where the data ends."""
    yesterday = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)
    ahead = (settings.end_on - yesterday).days if settings.end_on else 0
    return dg.DailyPartitionsDefinition(settings.start_on.isoformat(), end_offset=max(ahead, 0))


DAILY = daily_partitions(Settings.from_env())
"""Read once, when the code location loads: assets and schedules must share one definition."""

Content = Query | pa.Table
"""What an asset returns: a query that the warehouse executes, or rows."""


@dataclass
class _Open:
    key: tuple[str, ...]
    warehouse: Warehouse
    range: tuple[dt.date, dt.date] | None = None
    books: Books | None = None


_open: list[_Open] = []


def close_books() -> None:
    """Give the memory of the open books back, and what they hold in a warehouse."""
    while _open:
        _open.pop().warehouse.close()


class Gold(dg.ConfigurableResource, ABC):
    """Gold and what is derived from it, wherever it lies."""

    data_dir: str
    rules_path: str = ""

    @cached_property
    def rules_text(self) -> str:
        """The rules file, as it was when this process first looked."""
        return rules_text(Path(self.rules_path) if self.rules_path else None)

    @cached_property
    def rules(self) -> Rules:
        """Every rule with its thresholds."""
        return load_rules(self.rules_text, self.rules_path or "rules.yaml")

    @property
    def state(self) -> GoldState:
        """What is known of the gold that is read."""
        return self._opened().warehouse.state

    @property
    def population(self) -> str:
        """The name of what is audited; part of every flag's id."""
        return self.state.about.name

    @property
    def derived(self) -> Path:
        """Where this population's derived tables are stored on this machine."""
        return Path(self.data_dir) / "derived" / folder_name(self.population)

    @abstractmethod
    def place_of(self, table: str) -> str:
        """Where a stored table is, for a person who looks for it."""

    @abstractmethod
    def health(self) -> list[Health]:
        """Whether it can be used now, one for each thing that was tried."""

    def books(self, from_on: dt.date, to_on: dt.date) -> Books:
        """The books of a range of audit dates; the same ones until another range is asked for."""
        opened = self._opened()
        if opened.books is None or opened.range != (from_on, to_on):
            if opened.books is not None:
                close_books()
                opened = self._opened()
            opened.range = from_on, to_on
            opened.books = Books(opened.warehouse, self.rules, from_on, to_on)
        return opened.books

    def elsewhere(
        self, context: dg.AssetExecutionContext, books: Books
    ) -> Callable[[tuple[str, ...]], None] | None:
        """What makes heavy tables of the books in another process; None where nothing does."""
        return None

    def _opened(self) -> _Open:
        key = (*self._key(), digest(self.rules_text))
        if not _open or _open[0].key != key:
            close_books()
            _open.append(_Open(key, self._open_warehouse()))
        return _open[0]

    @abstractmethod
    def _key(self) -> tuple[str, ...]:
        """What tells this gold from another."""

    @abstractmethod
    def _open_warehouse(self) -> Warehouse:
        """A new warehouse over it."""


class FixtureGold(Gold):
    """Gold in fixture files, read through DuckDB."""

    fixtures: str
    threads: int = 0

    @cached_property
    def snapshot(self) -> Snapshot:
        """Typed gold; read once for a content, then found again by its digest."""
        return read_fixtures(Path(self.fixtures), Path(self.data_dir))

    @property
    def state(self) -> GoldState:
        """What is known of it; no database is opened for that."""
        return self.snapshot

    def health(self) -> list[Health]:
        """The needed files are there."""
        wrong = [f"{file.table}: {file.problem}" for file in self.snapshot.files if file.problem]
        return [Health(f"gold in {self.fixtures}", not wrong, "; ".join(wrong) or "can be read")]

    def place_of(self, table: str) -> str:
        """Its folder."""
        return str(self.derived / table)

    def _key(self) -> tuple[str, ...]:
        return self.snapshot.id, str(self.derived)

    def _open_warehouse(self) -> Warehouse:
        return DuckDBWarehouse(self.snapshot, self.derived, self.threads)


class DatabricksGold(Gold):
    """Gold in a Databricks catalog; every query runs there."""

    host: str
    http_path: str
    catalog: str
    token: str = ""
    client_id: str = ""
    client_secret: str = ""
    ca_file: str = ""
    gold_schema: str = "gold"
    audit_schema: str = "audit"
    scratch_schema: str = "audit_scratch"
    population_name: str = ""
    as_of: str = ""
    job: dict[str, Any] = Field(default={})

    @classmethod
    def of(cls, workspace: Workspace, **more: Any) -> "DatabricksGold":
        """For this workspace; what is secret is named, and read when a step begins."""
        return cls(
            host=workspace.host,
            http_path=workspace.http_path,
            catalog=workspace.catalog,
            token=dg.EnvVar("DATABRICKS_TOKEN") if workspace.token else "",
            client_id=workspace.client_id,
            client_secret=(
                dg.EnvVar("DATABRICKS_CLIENT_SECRET") if workspace.client_secret else ""
            ),
            ca_file=workspace.ca_file,
            gold_schema=workspace.gold,
            audit_schema=workspace.audit,
            scratch_schema=workspace.scratch,
            population_name=workspace.population,
            as_of=workspace.as_of.isoformat() if workspace.as_of else "",
            job=asdict(workspace.job) if workspace.job else {},
            **more,
        )

    @property
    def workspace(self) -> Workspace:
        """Where it is, with the secrets."""
        return Workspace(
            host=self.host,
            http_path=self.http_path,
            catalog=self.catalog,
            token=self.token,
            client_id=self.client_id,
            client_secret=self.client_secret,
            ca_file=self.ca_file,
            gold=self.gold_schema,
            audit=self.audit_schema,
            scratch=self.scratch_schema,
            population=self.population_name,
            as_of=dt.date.fromisoformat(self.as_of) if self.as_of else None,
            job=Job(**self.job) if self.job else None,
        )

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """Drop what the run has derived, also when it fails."""
        close_books()

    def health(self) -> list[Health]:
        """The warehouse answers, and may be read from and written to."""
        from audit_pipeline.adapters.databricks.health import check_databricks_health

        return check_databricks_health(self.workspace)

    def elsewhere(
        self, context: dg.AssetExecutionContext, books: Books
    ) -> Callable[[tuple[str, ...]], None] | None:
        """A Databricks job, where one is configured and there is enough to do."""
        job = self.workspace.job
        if job is None or sum(file.rows_kept for file in self.state.files) < job.from_rows:
            return None
        from audit_pipeline.heavy import run_as_job

        return partial(run_as_job, context, self.workspace, job, books, self.rules_text)

    def place_of(self, table: str) -> str:
        """Its name in the catalog."""
        return self.workspace.stored_table(table).replace("`", "")

    def _key(self) -> tuple[str, ...]:
        return self.host, self.http_path, self.catalog, self.gold_schema

    def _open_warehouse(self) -> Warehouse:
        from audit_pipeline.adapters.databricks.warehouse import DatabricksWarehouse

        return DatabricksWarehouse(self.workspace)


def gold_of(settings: Settings) -> Gold:
    """Where these settings say that gold is."""
    common = {"data_dir": str(settings.data_dir), "rules_path": str(settings.rules_path or "")}
    if settings.workspace is not None:
        return DatabricksGold.of(settings.workspace, **common)
    return FixtureGold(fixtures=str(settings.fixtures), threads=settings.threads, **common)


class AuditStore(dg.ConfigurableResource):
    """Flags, findings, decisions, the trail, and workflow state, which Redis shows too.

    Without `trail_dir` nobody signs the trail.
    """

    url: str
    redis_url: str = ""
    trail_dir: str = ""
    signing_key: str = ""
    retention_years: int = RETENTION_YEARS

    @property
    def live(self) -> LiveState:
        """What is shown of a run at work."""
        return live_state(self.redis_url)

    @property
    def sealer(self) -> Sealer | None:
        """What signs the trail."""
        if not self.trail_dir:
            return None
        folder = Path(self.trail_dir)
        return Sealer(folder, Path(self.signing_key or folder / "signing.key"))

    @contextmanager
    def opened(self) -> Iterator[MirroredStore]:
        """The store, open for the time of a step."""
        with MirroredStore.mirrored(self.url, self.live, self.sealer) as store:
            yield store

    def seal(self) -> str:
        """Sign the trail as it stands; says what was signed last. For a sensor.

        Raises:
            TrailBroken: the trail is not what was signed before; nothing is signed.
            StoreUnavailable: the database fails.
            OSError: the checkpoint cannot be written.
        """
        sealer = self.sealer
        if sealer is None:
            return "nobody signs this trail"
        with self.opened() as store:
            head = sealer.seal(store)
        return "the trail is empty" if head is None else f"{head.tree_size} entries are signed"

    def archive(self, audit_run_id: str) -> str:
        """Export a run that has ended, and sign the trail with it; says where the archive is.

        Raises:
            TrailBroken, StoreUnavailable, OSError: as `seal`.
        """
        sealer = self.sealer
        if sealer is None:
            return ""
        with self.opened() as store:
            place = archive_to_immutable_log(store, sealer, audit_run_id, self.retention_years)
            sealer.seal(store)
        return str(place)


class AskedModel(dg.ConfigurableResource):
    """The language model that escalation asks.

    Its settings are those of the environment (`LLM_*`, `OPENROUTER_API_KEY`), read when a step
    begins: a key is no configuration that Dagster could show.
    """

    recording: str = ""

    @contextmanager
    def of_run(
        self, store: MirroredStore, audit_run_id: str, from_on: dt.date, to_on: dt.date
    ) -> Iterator[LanguageModel]:
        """The model for one run: recorded answers, a live one, or none without a key."""
        endpoint = Settings.from_env().llm
        if self.recording:
            yield ReplayedLLM(Path(self.recording), endpoint)
            return
        with language_model(endpoint, store, audit_run_id, from_on, to_on, store.live) as model:
            yield model


@contextmanager
def step_errors() -> Iterator[None]:
    """Errors that a person or a retry can act on, in Dagster's terms; never a traceback.

    Raises:
        dagster.Failure: an expected error, as one line that names the remedy; not retried.
        WarehouseUnavailable, StoreUnavailable, PartitionBusy, OSError: the outside, as it is; the
            asset's retry policy waits for it.
    """
    try:
        yield
    except PartitionBusy:
        raise
    except (WarehouseUnavailable, StoreUnavailable, OSError):
        close_books()  # a later attempt begins with a session that is alive
        raise
    except AuditError as fault:
        raise dg.Failure(description=str(fault), allow_retries=False) from fault
    except dg.Failure:
        raise
    except Exception as fault:
        # A defect of ours: asking again gives the same answer, half an hour later.
        message = f"{type(fault).__name__}: {fault}"
        raise dg.Failure(description=message, allow_retries=False) from fault


@contextmanager
def paused(store: AuditStore, run: dg.DagsterRun) -> Iterator[None]:
    """Let the workflow say that it stands still while Dagster waits for the warehouse."""
    try:
        yield
    except WarehouseUnavailable:
        with suppress(StoreUnavailable), store.opened() as opened:
            run_id = run.root_run_id or run.run_id
            state = opened.restore_workflow_state(run_id)
            opened.save_workflow_state(run_id, {**state, "workflow_status": "paused"})
        raise


def dates_of(
    context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext,
) -> tuple[dt.date, dt.date]:
    """The first and last audit date of the run, as its tags name them.

    Checks are not partitioned themselves (that is not ready in this Dagster), their run is.
    """
    tags = context.run.tags
    one_day = tags.get("dagster/partition", "")
    first = tags.get("dagster/asset_partition_range_start", one_day)
    last = tags.get("dagster/asset_partition_range_end", one_day)
    if not (first and last):
        raise BadUsage("this run names no audit date; choose a partition or a range of them")
    return dt.date.fromisoformat(first), dt.date.fromisoformat(last)


MERGED = {"flags": ("flag_id", "vanished")}
"""Assets whose rows are no partition's: brought up to date by their key; what vanished goes."""


class PartitionStore(dg.ConfigurableIOManager):
    """Stores an asset's rows where gold is, and hands them on as Arrow."""

    gold: dg.ResourceDependency[Gold]
    store: dg.ResourceDependency[AuditStore]

    def handle_output(self, context: dg.OutputContext, obj: Content) -> None:
        """Replace the partitions of the run's range by `obj`, or merge it."""
        from_on, to_on = _range(context)
        table = _table(context)
        place = {"dagster/table_name": self.gold.place_of(table)}
        with step_errors(), paused(self.store, context.step_context.dagster_run):
            run_id = context.step_context.dagster_run.run_id
            warehouse = self.gold.books(from_on, to_on).warehouse
            with self.store.opened() as opened:
                commit = partial(attempts.holding, opened, run_id)
                if table in MERGED:
                    key, vanished = MERGED[table]
                    rows = warehouse.merge(table, key, obj, vanished, commit)
                else:
                    rows = warehouse.replace(table, from_on, to_on, obj, commit)
        context.add_output_metadata({"dagster/row_count": rows, **place})

    def load_input(self, context: dg.InputContext) -> pa.Table | None:
        """The stored rows of the range; None when there are none."""
        from_on, to_on = _range(context)
        with step_errors(), paused(self.store, context.step_context.dagster_run):
            warehouse = self.gold.books(from_on, to_on).warehouse
            return warehouse.stored(_table(context), from_on, to_on)


class FixtureIOManager(PartitionStore):
    """Parquet files, one for each table and audit date, in the data directory."""


class DatabricksIOManager(PartitionStore):
    """Delta tables, replaced by audit date in one statement; a query's rows never leave."""


def _table(context: dg.OutputContext | dg.InputContext) -> str:
    return context.asset_key.path[-1]


def _range(context: dg.OutputContext | dg.InputContext) -> tuple[dt.date, dt.date]:
    keys = context.asset_partition_key_range
    return dt.date.fromisoformat(keys.start), dt.date.fromisoformat(keys.end)
