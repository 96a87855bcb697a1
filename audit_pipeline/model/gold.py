"""What an audit knows of the gold it reads, wherever that is."""

import datetime as dt
from dataclasses import dataclass, field


@dataclass(frozen=True)
class About:
    """What is said of the data besides its rows: a folder's `about.json`, or settings.

    Attributes:
        name: how the data is called; part of every flag's id.
        as_of: the day on which this data was received: no later row counts as known.
        audit_from: the first day that is worth auditing.
        audit_to: the last one.
        freshness_days: the age in days at which a domain's data is stale, by domain.
    """

    name: str
    as_of: dt.date | None = None
    audit_from: dt.date | None = None
    audit_to: dt.date | None = None
    freshness_days: dict[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True)
class FileRead:
    """What became of one table: a fixture file, or a table of the warehouse.

    Attributes:
        file: its name, or the table's full one; empty when the table is absent.
        rows_in: rows_kept + rows_quarantined; 0 when the whole of it is quarantined.
        problem: why the whole of it is quarantined, in one sentence that names the remedy.
        notes: what a reader should know though nothing is wrong.
    """

    table: str
    file: str
    rows_in: int
    rows_kept: int
    rows_quarantined: int
    problem: str | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class GoldState:
    """One state of all gold tables, named by its content.

    Attributes:
        id: 16 hex digits: of the files' bytes, or of the tables' versions.
        about: how the population is called, and what is known about its days.
        horizon: the last day that the data knows. Without `as_of` it is settled by the first
            reading of this content, so that every later one agrees.
        files: one for each gold table, in the order of `GOLD`.
        missing_columns: the required columns that a present table lacks, by table; these close
            the gate.
        versions: of each table, where the warehouse counts them; with the horizon they let
            exactly this state be read again.
    """

    id: str
    about: About
    horizon: dt.date
    files: tuple[FileRead, ...]
    missing_columns: dict[str, tuple[str, ...]]
    versions: dict[str, int]


@dataclass(frozen=True)
class Health:
    """One thing that was tried; `said` names the remedy where it is not well."""

    name: str
    is_well: bool
    said: str
