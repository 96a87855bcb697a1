"""The map of derived tables: what is made where, in which order, how often."""

import datetime as dt
from collections.abc import Iterator

import pyarrow as pa
import pytest

from audit_pipeline.books import HEAVY, SUSPECT_SCHEMA, TABLES, Books
from audit_pipeline.model.query import Query
from audit_pipeline_tests.books_of import books_of

ON = dt.date(2025, 3, 14)


@pytest.fixture
def books() -> Iterator[Books]:
    """Over gold without a row."""
    with books_of({}, ON, ON, as_of=ON) as opened:
        yield opened


def test_heavy_tables_are_made_elsewhere_after_what_they_are_made_of(books: Books):
    """Each once; all others are made here."""
    asked: list[str] = []

    def elsewhere(tables: tuple[str, ...]) -> None:
        (table,) = tables
        assert set(TABLES[table]) <= books.made
        asked.append(table)
        # As the other process does: in the same warehouse, with books that know what is there.
        there = Books(books.warehouse, books.rules, ON, ON, books.made)
        there.need(table)

    books.elsewhere = elsewhere
    books.need(*TABLES)
    books.need(*TABLES)
    assert sorted(asked) == sorted(HEAVY)
    assert books.made == set(TABLES)


def test_what_is_there_is_not_made_again(books: Books, monkeypatch: pytest.MonkeyPatch):
    """Books that go on with the tables of others make what was asked for, and nothing before."""
    books.need(*TABLES["statements"])
    there = Books(books.warehouse, books.rules, ON, ON, books.made)
    created: list[str] = []
    create = books.warehouse.create

    def noted(table: str, content: Query | pa.Table) -> None:
        created.append(table)
        create(table, content)

    monkeypatch.setattr(books.warehouse, "create", noted)
    there.need("statements")
    assert created == ["statements"]


def test_other_suspects_have_their_documents_looked_up_anew(books: Books):
    """Also where somebody has asked for all tables before there was a suspect."""
    looked_up: list[int] = []

    def elsewhere(tables: tuple[str, ...]) -> None:
        if tables == ("found_documents",):
            count = books.warehouse.value(Query("SELECT count(*) FROM audit.suspects"))
            looked_up.append(int(str(count)))
        Books(books.warehouse, books.rules, ON, ON, books.made).need(*tables)

    books.elsewhere = elsewhere
    books.need("found_documents")
    row = {"audit_on": ON, "transaction_id": "t1", "points": 30}
    books.enrich(pa.Table.from_pylist([row], SUSPECT_SCHEMA))
    books.enrich(SUSPECT_SCHEMA.empty_table())
    assert looked_up == [0, 1, 0]
