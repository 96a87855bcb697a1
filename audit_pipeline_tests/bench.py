"""How long an audit takes, how much memory, and how both grow with the rows.

    make bench
    make bench ARGS='--rows 100000 --runs 3'

Every measured thing is a process of its own, as a user would start it: the demo, companies of a
quarter, a half and all of the rows, and beside the largest the least that anybody could do with the
same rows, one scan and one aggregate in bare DuckDB. Times depend on the machine and on what else
it does; the ratios hardly do. Nothing is asserted. Progress goes to stderr, the result to stdout.
"""

import argparse
import json
import os
import platform
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parent.parent
DEMO = ROOT / "fixtures" / "demo"
DEMO_TARGET = "≤ 15 s"
ROWS, ROWS_TARGET = 1_000_000, "≤ 90 s, ≤ 3,000 MB"
TOOLS_SHOWN = 12

ANCHOR = """
import sys
import duckdb
connection = duckdb.connect(config={"threads": int(sys.argv[2])})
connection.execute("SET TimeZone = 'UTC'")
print(connection.execute(
    "SELECT count(*), sum(charges), sum(total), max(middle) FROM ("
    " SELECT CAST(date AS DATE) AS day, vendor, count(*) AS charges, sum(amount) AS total,"
    " median(amount) AS middle FROM read_parquet(?) GROUP BY day, vendor)", [sys.argv[1]]
).fetchall())
"""


@dataclass(frozen=True)
class Usage:
    """What one process took: seconds, and megabytes at its peak."""

    wall: float
    user: float
    system: float
    peak: float


@dataclass
class Measured:
    """One line of the result: every run of one thing, and what the last one left behind.

    Attributes:
        steps: Dagster step → seconds.
        tools: (agent, tool) → seconds.
    """

    what: str
    runs: list[Usage] = field(default_factory=list[Usage])
    rows: int = 0
    flags: int | None = None
    target: str = ""
    steps: dict[str, float] = field(default_factory=dict[str, float])
    tools: dict[str, float] = field(default_factory=dict[str, float])

    def median(self, of: Callable[[Usage], float]) -> float:
        """Of all runs."""
        return statistics.median(of(run) for run in self.runs)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, then print."""
    asked = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="audit-pipeline-bench-") as place:
        bench = Bench(Path(place), asked.days, asked.runs, asked.threads)
        measured = bench.demo()
        sizes = [asked.rows // 4, asked.rows // 2, asked.rows] if asked.rows else []
        companies = [bench.company(rows) for rows in sizes]
        if companies:
            measured += [audit for audit, _ in companies] + [companies[-1][1]]
    print(_report(measured, [audit for audit, _ in companies], asked))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m audit_pipeline_tests.bench",
        description="Measures the demo audit and audits of invented companies. Asserts nothing.",
    )
    parser.add_argument(
        "--rows",
        type=int,
        default=ROWS,
        metavar="N",
        help="transactions of the largest company (default %(default)s; 0: the demo only)",
    )
    parser.add_argument(
        "--days", type=int, default=365, metavar="N", help="that they span (default %(default)s)"
    )
    parser.add_argument(
        "--runs",
        type=int,
        default=1,
        metavar="N",
        help="measurements of everything; the median is shown (default %(default)s)",
    )
    parser.add_argument(
        "--threads", type=int, default=2, metavar="N", help="of DuckDB (default %(default)s)"
    )
    return parser


# ── measuring ───────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Bench:
    """What is measured, in a temporary folder that holds one company at a time."""

    place: Path
    days: int
    runs: int
    threads: int

    def demo(self) -> list[Measured]:
        """The demo audit as a stranger first sees it, and once its files have been read."""
        first = Measured("demo, 90 days, its files read", target=DEMO_TARGET)
        second = Measured("demo, 90 days, read before", target=DEMO_TARGET)
        for _ in range(self.runs):
            with self._folder("data") as data:
                self._audit(first, DEMO, data)
                with self._folder("again") as again:
                    shutil.copytree(data / "gold", again / "gold")
                    self._audit(second, DEMO, again)
        return [first, second]

    def company(self, rows: int) -> tuple[Measured, Measured]:
        """The audit of a company with so many ledger entries, and the anchor on the same."""
        audit = Measured(f"{rows:,} rows, {self.days} days")
        anchor = Measured("anchor: DuckDB alone, one scan and aggregate", rows=rows)
        audit.target = ROWS_TARGET if rows == ROWS else ""
        with self._folder("company") as folder:
            _say(f"making a company of {rows:,} rows")
            # In a process of its own: a large parent would count in its children's peak memory.
            module = "audit_pipeline_tests.bench_company"
            size = ["--rows", str(rows), "--days", str(self.days)]
            self._measure([sys.executable, "-m", module, str(folder), *size])
            for _ in range(self.runs):
                ledger = folder / "recent_transactions.parquet"
                scan = [sys.executable, "-c", ANCHOR, str(ledger), str(self.threads)]
                anchor.runs.append(self._measure(scan))
                _say_used(anchor)
                with self._folder("data") as data:
                    self._audit(audit, folder, data)
        return audit, anchor

    def _audit(self, into: Measured, fixtures: Path, data: Path) -> None:
        """One `audit-pipeline audit` over all days of the fixtures."""
        _say(f"{into.what}: auditing")
        command = ["-m", "audit_pipeline.cli", "audit", "--fixtures", fixtures, "--data", data]
        into.runs.append(self._measure([sys.executable, *map(str, command)]))
        with closing(sqlite3.connect(data / "audit.sqlite")) as store:
            ((into.flags,),) = store.execute("SELECT count(*) FROM flags WHERE state = 'open'")
            ((into.rows,),) = store.execute("SELECT sum(transactions) FROM audit_partitions")
            into.tools = {
                f"{agent}: {tool}": ms / 1_000
                for agent, tool, ms in store.execute(
                    "SELECT agent_name, tool_called, sum(execution_time_ms) AS ms FROM audit_trail"
                    " WHERE execution_time_ms IS NOT NULL GROUP BY 1, 2 ORDER BY ms DESC, 1, 2"
                )
            }
        into.steps = _steps(data / "dagster_home")
        _say_used(into)

    def _measure(self, command: list[str]) -> Usage:
        return measure(command, self.place / "said", self.threads)

    def _folder(self, name: str) -> "_Folder":
        return _Folder(self.place / name)


@dataclass(frozen=True)
class _Folder:
    """A folder that is gone when it is no longer needed."""

    path: Path

    def __enter__(self) -> Path:
        self.path.mkdir()
        return self.path

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.path)


def measure(command: Sequence[str], said: Path, threads: int) -> Usage:
    """Run a process to its end; what it and its children took.

    Args:
        command: the program and its arguments.
        said: file for what it prints and complains.
        threads: of DuckDB.

    Raises:
        SystemExit: it failed; with the end of what it said.
    """
    ours = ("AUDIT_", "DAGSTER_", "ENVIRONMENT")
    env = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    env |= {"AUDIT_THREADS": str(threads)}
    began = time.monotonic()
    with said.open("wb") as output:
        process = subprocess.Popen(command, env=env, cwd=ROOT, stdout=output, stderr=output)
        try:
            _, status, used = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            process.wait()
            raise
        process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.monotonic() - began
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{said.read_text(errors='replace')[-2_000:]}")
    peak = used.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e6 / 1_024)
    return Usage(wall, used.ru_utime, used.ru_stime, peak)


def _steps(home: Path) -> dict[str, float]:
    """Seconds of each step of the run that this DAGSTER_HOME recorded, in the order they ended."""
    steps: dict[str, float] = {}
    for log in (home / "history" / "runs").glob("*-*.db"):
        with closing(sqlite3.connect(log)) as events:
            for name, text in events.execute(
                "SELECT step_key, event FROM event_logs"
                " WHERE dagster_event_type = 'STEP_SUCCESS' ORDER BY id"
            ):
                took = json.loads(text)["dagster_event"]["event_specific_data"]["duration_ms"]
                steps[name] = took / 1_000
    return steps


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def _say_used(measured: Measured) -> None:
    used = measured.runs[-1]
    _say(
        f"  {measured.what}: {used.wall:.1f} s, of the processors {used.user:.1f} s, "
        f"{used.peak:,.0f} MB"
    )


# ── the result ──────────────────────────────────────────────────────────────────────────────────


def _report(measured: list[Measured], audits: list[Measured], asked: argparse.Namespace) -> str:
    """Everything as Markdown."""
    machine = (
        f"{os.cpu_count()} processors, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}, DuckDB {version('duckdb')} with "
        f"{asked.threads} threads, {asked.runs} run(s)"
    )
    parts = [
        machine,
        table(
            ("audit", "rows", "flags", "wall s", "user s", "system s", "peak MB", "target"),
            [
                (
                    one.what,
                    f"{one.rows:,}",
                    "" if one.flags is None else f"{one.flags:,}",
                    f"{one.median(lambda run: run.wall):.1f}",
                    f"{one.median(lambda run: run.user):.1f}",
                    f"{one.median(lambda run: run.system):.1f}",
                    f"{one.median(lambda run: run.peak):,.0f}",
                    one.target,
                )
                for one in measured
            ],
        ),
    ]
    if audits:
        anchor, largest = measured[-1], audits[-1]
        ratios = [("audit / anchor", largest, anchor, "")]
        ratios += [
            (f"{more.rows:,} / {less.rows:,} rows", more, less, f"{more.rows / less.rows:.1f}")
            for less, more in pairwise(audits)
        ]
        parts.append(
            table(
                ("ratio", "wall", "user", "peak", "linear would be"),
                [
                    (
                        name,
                        *(
                            f"{over.median(of) / under.median(of):.1f}"
                            for of in (
                                lambda run: run.wall,
                                lambda run: run.user,
                                lambda run: run.peak,
                            )
                        ),
                        linear,
                    )
                    for name, over, under, linear in ratios
                ],
            )
        )
    shown = (audits or measured)[-1]
    tools = dict(list(shown.tools.items())[:TOOLS_SHOWN])
    for title, times in (("step", shown.steps), ("longest tool calls", tools)):
        rows = [(name, f"{seconds:.2f}") for name, seconds in times.items()]
        parts.append(table((f"{shown.what}: {title}", "s"), rows))
    return "\n\n".join(parts)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns line up; all but the first are aligned to the right."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        first, *others = zip(cells, widths, strict=True)
        padded = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
        return "| " + " | ".join(padded) + " |"

    rule = "|" + "|".join(
        "-" * (width + 2) if at == 0 else "-" * (width + 1) + ":" for at, width in enumerate(widths)
    )
    return "\n".join([line(head), rule + "|", *map(line, rows)])


if __name__ == "__main__":
    sys.exit(main())
