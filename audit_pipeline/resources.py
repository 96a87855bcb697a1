"""Dagster skins: the books of a date range, the IO manager of stored partitions, the store.

One set of books is open in a process at a time. A run's steps share it, because they run in one
process; a re-execution in a new process opens its own and derives the same tables.
"""

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import dagster as dg
import pyarrow as pa

from audit_pipeline.adapters.fixtures import Snapshot, read_fixtures
from audit_pipeline.adapters.llm import ReplayedLLM, language_model
from audit_pipeline.adapters.store import Store
from audit_pipeline.adapters.warehouse import DuckDBWarehouse
from audit_pipeline.books import Books
from audit_pipeline.model.errors import BadUsage
from audit_pipeline.model.query import Query
from audit_pipeline.model.question import LanguageModel
from audit_pipeline.model.rule import Rules
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
    books: Books


_open: list[_Open] = []


def close_books() -> None:
    """Give the memory of the open books back."""
    while _open:
        _open.pop().books.warehouse.close()


class Gold(dg.ConfigurableResource):
    """Gold and what is derived from it: fixture files through DuckDB."""

    fixtures: str
    data_dir: str
    rules_path: str = ""
    threads: int = 0

    @cached_property
    def rules_text(self) -> str:
        """The rules file, as it was when this process first looked."""
        return rules_text(Path(self.rules_path) if self.rules_path else None)

    @cached_property
    def rules(self) -> Rules:
        """Every rule with its thresholds."""
        return load_rules(self.rules_text, self.rules_path or "rules.yaml")

    @cached_property
    def snapshot(self) -> Snapshot:
        """Typed gold; read once for a content, then found again by its digest."""
        return read_fixtures(Path(self.fixtures), Path(self.data_dir))

    @property
    def population(self) -> str:
        """The name of what is audited; part of every flag's id."""
        return self.snapshot.about.name

    @property
    def derived(self) -> Path:
        """Where this population's derived tables are stored."""
        return Path(self.data_dir) / "derived" / folder_name(self.population)

    def books(self, from_on: dt.date, to_on: dt.date) -> Books:
        """The books of a range of audit dates; the same ones until another range is asked for."""
        key = (
            self.snapshot.id,
            str(self.derived),
            digest(self.rules_text),
            str(from_on),
            str(to_on),
        )
        if not _open or _open[0].key != key:
            close_books()
            warehouse = DuckDBWarehouse(self.snapshot, self.derived, self.threads)
            _open.append(_Open(key, Books(warehouse, self.rules, from_on, to_on)))
        return _open[0].books


class AuditStore(dg.ConfigurableResource):
    """Flags, findings, decisions, the trail and workflow state."""

    url: str

    @contextmanager
    def opened(self) -> Iterator[Store]:
        """The store, open for the time of a step."""
        with Store.open(self.url) as store:
            yield store


class AskedModel(dg.ConfigurableResource):
    """The language model that escalation asks.

    Its settings are those of the environment (`LLM_*`, `OPENROUTER_API_KEY`), read when a step
    begins: a key is no configuration that Dagster could show.
    """

    recording: str = ""

    @contextmanager
    def of_run(
        self, store: Store, audit_run_id: str, from_on: dt.date, to_on: dt.date
    ) -> Iterator[LanguageModel]:
        """The model for one run: recorded answers, a live one, or none without a key."""
        endpoint = Settings.from_env().llm
        if self.recording:
            yield ReplayedLLM(Path(self.recording), endpoint)
            return
        with language_model(endpoint, store, audit_run_id, from_on, to_on) as model:
            yield model


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


class PartitionStore(dg.ConfigurableIOManager):
    """Stores an asset's rows by audit date and hands them on as Arrow."""

    gold: dg.ResourceDependency[Gold]

    def handle_output(self, context: dg.OutputContext, obj: Content) -> None:
        """Replace the partitions of the run's range by `obj`."""
        from_on, to_on = _range(context)
        books = self.gold.books(from_on, to_on)
        rows = books.warehouse.replace(_table(context), from_on, to_on, obj)
        context.add_output_metadata({"dagster/row_count": rows})

    def load_input(self, context: dg.InputContext) -> pa.Table | None:
        """The stored rows of the range; None when there are none."""
        from_on, to_on = _range(context)
        return self.gold.books(from_on, to_on).warehouse.stored(_table(context), from_on, to_on)


def _table(context: dg.OutputContext | dg.InputContext) -> str:
    return context.asset_key.path[-1]


def _range(context: dg.OutputContext | dg.InputContext) -> tuple[dt.date, dt.date]:
    keys = context.asset_partition_key_range
    return dt.date.fromisoformat(keys.start), dt.date.fromisoformat(keys.end)
