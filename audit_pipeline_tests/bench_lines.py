"""One line of a benchmark's result: what was measured beside its target and its anchor."""

import os
import platform
from collections.abc import Iterable
from importlib.metadata import version
from typing import NamedTuple

from audit_pipeline_tests.bench import table


class Line(NamedTuple):
    """One line of the result; `met` is None where there is no target."""

    work: str
    what: str
    target: str
    ours: str
    anchor: str
    met: bool | None


class Skipped(Exception):
    """A work that cannot be done here, and why."""


def least(
    work: str, what: str, ours: float, target: float, anchor: str = "", digits: int = 4
) -> Line:
    """It should be the target or more."""
    return Line(work, what, f"≥ {target:,}", f"{ours:,.{digits}f}", anchor, ours >= target)


def most(
    work: str, what: str, ours: float, target: float, anchor: str = "", digits: int = 2
) -> Line:
    """It should be the target or less."""
    return Line(work, what, f"≤ {target:,}", f"{ours:,.{digits}f}", anchor, ours <= target)


def told(work: str, what: str, ours: str, anchor: str = "") -> Line:
    """It has no target."""
    return Line(work, what, "", ours, anchor, None)


def skipped(work: str, why: Skipped) -> Line:
    """It was not measured."""
    return Line(work, f"skipped: {why}", "", "", "", None)


def machine(seed: int) -> str:
    """Where this was measured, and with what."""
    return (
        f"{os.cpu_count()} processors, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}, DuckDB {version('duckdb')}, seed {seed}"
    )


def table_of(lines: Iterable[Line]) -> str:
    """Markdown."""
    verdicts = {True: "yes", False: "no", None: ""}
    head = ("work", "target", "measured", "anchor", "met")
    return table(head, [(f"{one.work}: {one.what}", *one[2:5], verdicts[one.met]) for one in lines])
