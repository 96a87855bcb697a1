"""What a test of the Dagster layer runs in: its own data, its own DAGSTER_HOME, no network.

The days that exist as partitions are read from the environment when `audit_pipeline.resources` is
first imported, so this module, a plugin of the whole suite, fixes them before anything is.
"""

import atexit
import contextlib
import datetime as dt
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from audit_pipeline_tests import small_company

if TYPE_CHECKING:
    import dagster as dg

    from audit_pipeline.adapters.store import Store
    from audit_pipeline.settings import Settings

ROOT = Path(__file__).parents[1]
SAMPLES = ROOT / "fixtures" / "samples"
TODAY = dt.datetime.now(dt.UTC).date()
DAYS = {
    "AUDIT_START_ON": "2025-01-01",
    # a folder that does not say how far it knows is audited up to today
    "AUDIT_END_ON": str(TODAY + dt.timedelta(days=1)),
    "AUDIT_THREADS": "1",
}

OURS = ("AUDIT_", "DAGSTER_", "DATABRICKS_", "ENVIRONMENT", "LLM_", "OPENROUTER_")

GIVEN = {name: value for name, value in os.environ.items() if name.startswith(OURS)}
"""What this process was given: for the one test that asks a real service."""

for _name in GIVEN:
    del os.environ[_name]
os.environ.update(DAYS)
os.environ["AUDIT_DESK_HOSTS"] = "testserver"  # what starlette's TestClient asks for

Row = dict[str, Any]
SUBPROCESS_SECONDS_MAX = 150
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
VOLATILE = ("audit_run_id", "first_run_id", "created_at", "updated_at")
"""The columns of `flags` that say who wrote a row and when, not what it says."""


THIRD_PARTY_WARNINGS = (
    # dagster: replace_config of its own InitResourceContext calls it
    "ignore:InitResourceContext.dagster_run is deprecated:DeprecationWarning",
    # dagster: the schedule that it builds itself calls it
    "ignore:Function .JobDefinition.run_request_for_partition. is deprecated:DeprecationWarning",
    # dagster: backfill_policy and partitioned checks are announced, once for each definition
    "ignore:.* is currently in (beta|preview), and may have breaking changes",
    # dagster-databricks: Pipes names the run that it submits for
    "ignore:AssetExecutionContext.(dagster_run|run_id) is deprecated:DeprecationWarning",
    # pyspark: on import, which pandera does wherever it is installed
    "ignore:PySpark does not yet fully support pandas:FutureWarning",
)


def pytest_configure(config: pytest.Config) -> None:
    """Warnings are errors, but for these."""
    for line in THIRD_PARTY_WARNINGS:
        config.addinivalue_line("filterwarnings", line)


def skip_or_fail(reason: str) -> NoReturn:
    """A test lacks a program of this machine: skipped, but not where CI says that all must run."""
    if os.environ.get("CI"):
        pytest.fail(f"CI is set, so nothing is skipped: {reason}", pytrace=False)
    pytest.skip(reason)


# ── no network ──────────────────────────────────────────────────────────────────────────────────


def _is_near(address: object) -> bool:
    host = address[0] if isinstance(address, tuple) else "localhost"  # a Unix socket's is a text
    return host in ("", "localhost", "::1") or str(host).startswith("127.")


@pytest.fixture(scope="session", autouse=True)
def _loopback_only() -> Iterator[None]:
    """A test that reaches for the network fails instead of depending on it."""
    with pytest.MonkeyPatch.context() as patched:
        for name in ("connect", "connect_ex"):
            real = getattr(socket.socket, name)

            def guarded(self: socket.socket, address: Any, real: Any = real) -> Any:
                if not _is_near(address):
                    raise PermissionError(f"a test reached for the network: {address}")
                return real(self, address)

            patched.setattr(socket.socket, name, guarded)
        yield


# ── audits ──────────────────────────────────────────────────────────────────────────────────────


def day(text: str) -> dt.date:
    """A day as it is written."""
    return dt.date.fromisoformat(text)


@dataclass(frozen=True)
class Workplace:
    """A data directory with its DAGSTER_HOME, over one fixture folder."""

    home: Path
    fixtures: Path
    environment: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def data_dir(self) -> Path:
        """Snapshots, derived tables, the store."""
        return self.home / "data"

    @cached_property
    def definitions(self) -> "dg.Definitions":
        """The project's, over this folder."""
        from audit_pipeline.definitions import build

        return build(self.settings)

    @property
    def settings(self) -> "Settings":
        """Where this audit's gold and data are."""
        from audit_pipeline.settings import Settings

        return Settings.from_env(
            DAYS
            | {
                "ENVIRONMENT": "test",
                "AUDIT_FIXTURES": str(self.fixtures),
                "AUDIT_DATA_DIR": str(self.data_dir),
                **self.environment,
            }
        )

    @contextlib.contextmanager
    def instance(self) -> Iterator["dg.DagsterInstance"]:
        """A persistent instance with the repository's dagster.yaml."""
        import dagster as dg

        dagster_home = self.home / "dagster_home"
        if not dagster_home.exists():
            shutil.copytree(new_dagster_home(), dagster_home)
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv("DAGSTER_HOME", str(dagster_home))
            with dg.DagsterInstance.get() as instance:
                yield instance

    def audit(
        self,
        instance: "dg.DagsterInstance",
        from_on: dt.date,
        to_on: dt.date,
        selection: "Sequence[dg.AssetKey] | None" = None,
    ) -> "dg.ExecuteInProcessResult":
        """One run over the range, as the command line and a backfill launch it."""
        from audit_pipeline.resources import close_books

        try:
            return self.definitions.resolve_job_def("daily_audit").execute_in_process(
                instance=instance,
                raise_on_error=False,
                run_config=QUIET,
                tags=tags_of(from_on, to_on),
                asset_selection=selection,
            )
        finally:
            close_books()

    @contextlib.contextmanager
    def store(self) -> "Iterator[Store]":
        """The store of this data directory."""
        from audit_pipeline.adapters.store import Store

        with Store.open(f"sqlite:///{self.data_dir / 'audit.sqlite'}") as store:
            yield store

    def rows(self, table: str, without: Sequence[str] = ()) -> list[Row]:
        """A table of the store as its bytes are, ordered by all columns."""
        with contextlib.closing(sqlite3.connect(self.data_dir / "audit.sqlite")) as connection:
            connection.row_factory = sqlite3.Row
            found = [dict(row) for row in connection.execute(f"SELECT * FROM {table}")]
        kept = [{k: v for k, v in row.items() if k not in without} for row in found]
        return sorted(kept, key=repr)

    def flags(self) -> list[Row]:
        """What the flags say; not who wrote them and when."""
        return self.rows("flags", without=VOLATILE)

    def findings(self) -> list[Row]:
        """What was found; not by which range's query."""
        return self.rows("findings", without=("query_id",))


def why_not(result: "dg.ExecuteInProcessResult | dg.JobExecutionResult") -> str:
    """What the failed steps of a run say; empty when it succeeded."""
    said: list[str] = []
    for event in result.all_events:
        if event.event_type_value == "STEP_FAILURE":
            data = event.step_failure_data
            user, error = data.user_failure_data, data.error
            told = user.description if user and user.description else str(error)
            said.append(f"{event.step_key}: {told}")
        elif event.event_type_value == "PIPELINE_FAILURE":
            said.append(f"{event.message} {event.event_specific_data}")
    return "" if result.success else "\n".join(said)


@cache
def new_dagster_home() -> Path:
    """A home without runs, to copy: making its databases takes longer than a small audit."""
    import dagster as dg

    home = Path(tempfile.mkdtemp(prefix="audit-pipeline-dagster-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    shutil.copyfile(ROOT / "dagster.yaml", home / "dagster.yaml")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("DAGSTER_HOME", str(home))
        with dg.DagsterInstance.get() as instance:
            assert instance.get_runs() == []
    return home


def tags_of(from_on: dt.date, to_on: dt.date) -> dict[str, str]:
    """How a run is told its range."""
    return {
        "dagster/asset_partition_range_start": from_on.isoformat(),
        "dagster/asset_partition_range_end": to_on.isoformat(),
    }


def command_line(
    *arguments: object, program: Sequence[str] = ("-m", "audit_pipeline.cli"), **env: str
) -> "subprocess.CompletedProcess[str]":
    """`audit-pipeline` as a process of its own, with nothing in its environment but this."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(OURS)}
    return subprocess.run(
        [sys.executable, *program, *map(str, arguments)],
        env=clean | {"AUDIT_THREADS": "1", "COLUMNS": "200"} | env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=SUBPROCESS_SECONDS_MAX,
        check=False,
    )


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def one_line(self) -> str:
        """The only line on stderr: what went wrong, without a traceback."""
        lines = self.err.strip().splitlines()
        assert len(lines) == 1, self.err
        return lines[0]


Command = Callable[..., Ended]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Iterator[Command]:
    """`audit-pipeline` inside this process, which then forgets the settings that it was given.

    The definitions are made anew for each command, the partitions are those of this module.
    """
    from audit_pipeline.cli import main

    before = dict(os.environ)
    dagster_home = tmp_path / "dagster_home"

    def run(*arguments: object) -> Ended:
        sys.modules.pop("audit_pipeline.definitions", None)
        os.environ.clear()
        os.environ.update(before | {"COLUMNS": "200"})
        os.environ.setdefault("AUDIT_DATA_DIR", str(tmp_path / "data"))
        if arguments[:1] == ("audit",) and not dagster_home.exists():
            shutil.copytree(new_dagster_home(), dagster_home)
        os.environ["DAGSTER_HOME"] = str(dagster_home)
        capsys.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as ended:  # argparse's own
            code = ended.code if isinstance(ended.code, int) else 1
        said = capsys.readouterr()
        return Ended(code, said.out, said.err)

    try:
        yield run
    finally:
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(scope="session")
def small_books(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small company's folder."""
    return small_company.make().write(tmp_path_factory.mktemp("small") / "gold")


@pytest.fixture
def workplace(tmp_path: Path, small_books: Path) -> Workplace:
    """An untouched data directory over the small company."""
    return Workplace(tmp_path, small_books)


@pytest.fixture(scope="session")
def audited(tmp_path_factory: pytest.TempPathFactory, small_books: Path) -> Workplace:
    """The small company, its thirty days audited in one run; not to be written to."""
    place = Workplace(tmp_path_factory.mktemp("audited"), small_books)
    with place.instance() as instance:
        result = place.audit(instance, small_company.AUDIT_FROM, small_company.AUDIT_TO)
        assert result.success, why_not(result)
    return place
