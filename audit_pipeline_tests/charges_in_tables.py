"""Charges in the tables that the scores are made of, in a DuckDB of the tests."""

import datetime as dt
import math
import random
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import duckdb

from audit_pipeline.agents.anomaly_detection import scoring
from audit_pipeline_tests.scores_by_hand import Books, Charge

Row = dict[str, Any]

LIMIT = 250_000
START = dt.datetime(2025, 3, 28)  # noqa: DTZ001  # the charges' times are UTC and say no zone
ENTITIES = ("card 1", "Zoë", "カード", "o'neil", "lone")
VENDORS = ("ACME", "Müller GmbH", "شركة", 'q"uote', "ÜBER", "rare")
CATEGORIES = ("", "travel", "food", "only once")
COLUMNS = (
    "id INTEGER, entity VARCHAR, vendor VARCHAR, category VARCHAR, cents BIGINT,"
    " made_at TIMESTAMP, known INTEGER, novel INTEGER, vendor_first_on DATE"
)


@cache
def one_connection() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(config={"threads": 1})
    connection.execute("SET disabled_optimizers = 'join_order,build_side_probe_side'")
    connection.execute("CREATE SCHEMA audit")
    return connection


def make(name: str, sql: str) -> None:
    one_connection().execute(f"CREATE OR REPLACE TABLE audit.{name} AS {sql}")


def rows(table: str) -> list[Row]:
    return one_connection().sql(f"SELECT * FROM audit.{table}").to_arrow_table().to_pylist()


def by_id(table: str) -> dict[int, Row]:
    found = rows(table)
    keyed = {row.pop("id"): row for row in found}
    assert len(keyed) == len(found)
    return keyed


def fill(books: Books, only: set[int] | None = None) -> None:
    """The timeline, with history known; all of it is scored, or only some."""
    connection = one_connection()
    connection.execute(f"CREATE OR REPLACE TABLE audit.told ({COLUMNS})")
    if books.timeline:
        connection.executemany(
            "INSERT INTO audit.told VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (c.id, c.entity, c.vendor, c.category, c.cents, c.made_at, int(c.known),
                 int(books.novel(c)), books.vendor_first_on(c))
                for c in books.timeline
            ],
        )  # fmt: skip
    make("everything", f"SELECT *, {scoring.timeline_columns('cents', 'made_at')} FROM audit.told")
    make("timeline", "SELECT * EXCLUDE (known) FROM audit.everything")
    make("known_charges", "SELECT * FROM audit.everything")
    make("scored_charges", "SELECT * EXCLUDE (known), known AS own FROM audit.everything")
    if only is not None:
        ids = ", ".join(map(str, sorted(only)))
        connection.execute(f"DELETE FROM audit.scored_charges WHERE id NOT IN ({ids})")


def steps(sight: scoring.Sight, limit: int) -> tuple[tuple[str, str], ...]:
    """Table → SQL from the timeline to the scores."""
    return (
        *scoring.of_timeline(sight, limit, scoring.ASPECTS),
        *scoring.of_history(sight, scoring.ASPECTS),
        *scoring.scores(sight, scoring.ASPECTS),
    )


def run(books: Books, only: set[int] | None = None, *, calibrated: bool = False) -> None:
    """`audit.scored` and all before it; `calibrated` keeps the history's signals of last time."""
    fill(books, only)
    for name, sql in steps(scoring.Sight(books.ahead), books.limit):
        make(name, sql)
        if name == "signals" and not calibrated:
            make(
                "known_signals",
                "SELECT signals.* FROM audit.signals AS signals"
                " SEMI JOIN audit.scored_charges AS charge"
                " ON charge.id = signals.id AND charge.own = 1",
            )


def town(seed: int, count: int = 160, *, timed: bool = True) -> list[Charge]:
    """Cards with habits, and some charges that break them; ids say nothing of the time."""
    chance = random.Random(seed)
    charges: list[Charge] = []
    for n in range(count):
        entity, vendor = chance.choice(ENTITIES[:4]), chance.choice(VENDORS[:5])
        cents = round(100 * math.exp(chance.gauss(3 + len(vendor) / 4, 0.6)))
        cents = chance.choice([cents] * 12 + [1_000 * (cents // 1_000 + 1), -cents, 100_000, 0])
        at = START + dt.timedelta(
            days=chance.randrange(60), hours=chance.choice([1, 2, 9, 10, 14]) if timed else 0
        )
        charges.append(Charge(n, entity, vendor, chance.choice(CATEGORIES[:3]), cents, at))
    for n in range(0, count, 24):
        twin = charges[chance.randrange(count)]
        swapped = int("".join(chance.sample(str(abs(twin.cents)), len(str(abs(twin.cents))))))
        charges[n] = replace(
            twin, id=n, cents=chance.choice([twin.cents, 10 * twin.cents, swapped]),
            made_at=twin.made_at + dt.timedelta(days=chance.choice([0, 1, 7])),
        )  # fmt: skip
    parts = [replace(charges[5], id=count + i, cents=90_000 + 700 * i) for i in range(3)]
    lone = [
        Charge(count + 3 + i, "lone", f"rare {i}", "only once", 240_000, charges[i].made_at)
        for i in range(count // 8)
    ]
    found = [*charges, *parts, *lone]
    places = list(range(len(found)))
    chance.shuffle(places)
    return [replace(charge, id=place) for charge, place in zip(found, places, strict=True)]


def busy(seed: int, count: int = 90) -> list[Charge]:
    """Two cards at two vendors that charge the same again, and much of the limit, all the time."""
    chance = random.Random(seed)
    prices = [12_300, 45_600, 125_000, 180_000, 235_000]
    return [
        Charge(
            n, chance.choice(ENTITIES[:2]), chance.choice(VENDORS[:2]), "food",
            chance.choice([*prices, chance.randrange(20_000, 250_000)]),
            START + dt.timedelta(hours=12 * chance.randrange(80)),
        )
        for n in range(count)
    ]  # fmt: skip


def splits(charges: Sequence[Charge], day: int) -> list[Charge]:
    """What is made from that day on is not history."""
    return [replace(c, known=c.made_at < START + dt.timedelta(days=day)) for c in charges]
