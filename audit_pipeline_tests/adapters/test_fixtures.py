"""The fixture reader: what it takes, what it rejects and why, and that it never falls over."""

import csv
import datetime as dt
import json
import os
import string
import tempfile
import threading
from collections.abc import Callable, Iterator
from decimal import Context, Decimal, InvalidOperation
from pathlib import Path
from typing import Any, cast

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit_pipeline.adapters.fixtures import (
    FileRead,
    Snapshot,
    boundary,
    json_rows,
    load_mock_data_from_json,
    read_fixtures,
    rows,
    snapshot,
)
from audit_pipeline.adapters.store.columns import Words
from audit_pipeline.adapters.store.schema import FLAGS
from audit_pipeline.adapters.warehouse import DuckDBWarehouse
from audit_pipeline.model.errors import GoldUnreadable
from audit_pipeline.model.tables import GOLD, RECENT_TRANSACTIONS, Kind, gold_table

FORMATS = ("json", "jsonl", "csv", "parquet")
TEXTUAL = ("json", "jsonl", "csv")
NOBODY = 65534
posix = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="no users on this system")
SHARED = Path(__file__).parents[3] / "shared" / "data"

GOOD: dict[str, Any] = {
    "txn_id": "T-1",
    "source": "bank",
    "amount": "12.50",
    "vendor": "ACME",
    "date": "2024-03-05",
}

# A file is read in 0.1 s; Hypothesis's deadline and its complaint about it do not fit.
slowly = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def write(folder: Path, suffix: str, table_rows: list[Any], stem: str = "transactions") -> Path:
    """The rows as a file of that format; every scalar is text in CSV and Parquet."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem}.{suffix}"
    if suffix == "json":
        path.write_text(json.dumps(table_rows), encoding="utf-8")
    elif suffix == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in table_rows), encoding="utf-8")
    else:
        names = list(dict.fromkeys(name for row in table_rows for name in row))
        cells = [[_as_text(row.get(name)) for name in names] for row in table_rows]
        if suffix == "csv":
            with path.open("w", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows([names, *cells])
        else:
            columns = [pa.array([row[i] for row in cells], pa.string()) for i in range(len(names))]
            pq.write_table(pa.table(columns, names=names), path)
    return path


def _as_text(value: Any) -> str | None:
    return json.dumps(value) if isinstance(value, list) else None if value is None else str(value)


def read(folder: Path) -> Snapshot:
    """The folder's snapshot, kept beside it; the counts balance, the rows are in order."""
    found = read_fixtures(folder, folder.parent / f"{folder.name}-data")
    assert [file.table for file in found.files] == [table.name for table in GOLD]
    refused = [row["table_name"] for row in rejected(found)]
    for file in found.files:
        assert file.rows_in == file.rows_kept + file.rows_quarantined
        assert refused.count(file.table) == file.rows_quarantined
        numbers = [row["row_number"] for row in kept(found, file.table)] if file.file else []
        assert len(numbers) == file.rows_kept
        assert numbers == sorted(numbers)
    return found


def kept(found: Snapshot, table: str = "recent_transactions") -> list[dict[str, Any]]:
    return pq.read_table(found.path(table)).to_pylist()


def rejected(found: Snapshot) -> list[dict[str, Any]]:
    return pq.read_table(found.path("quarantine")).to_pylist()


def needed(found: Snapshot) -> FileRead:
    return found.files[0]


def column(tmp_path: Path, suffix: str, name: str, values: list[Any]) -> list[Any]:
    """What becomes of each value: the typed value, or the pair of field and reason."""
    many = [{**GOOD, "txn_id": f"T-{i}", name: value} for i, value in enumerate(values)]
    found = read(_folder(tmp_path, suffix, many))
    fates: dict[int, Any] = {row["row_number"]: row[name] for row in kept(found)}
    fates |= {row["row_number"]: (row["field"], row["reason"]) for row in rejected(found)}
    return [fates[i + 1] for i in range(len(values))]


def _folder(tmp_path: Path, suffix: str, table_rows: list[Any]) -> Path:
    folder = Path(tempfile.mkdtemp(dir=tmp_path)) / "gold"
    write(folder, suffix, table_rows)
    return folder


# --- the folder ------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize(
    "stem",
    [
        "transactions",
        "sample_transactions",
        "recent_transactions",
        "sample_recent_transactions",
        "Sample_Transactions",
    ],
)
def test_the_needed_table_goes_by_four_names_in_four_formats(
    tmp_path: Path, stem: str, suffix: str
) -> None:
    write(tmp_path / "in", suffix, [GOOD], stem)
    found = read(tmp_path / "in")
    assert needed(found) == FileRead("recent_transactions", f"{stem}.{suffix}", 1, 1, 0, None, ())
    assert kept(found) == [
        {
            "txn_id": "T-1",
            "source": "bank",
            "amount": Decimal("12.50"),
            "vendor": "ACME",
            "date": dt.datetime(2024, 3, 5),  # noqa: DTZ001  # stored without a zone
            "vendor_id": None,
            "domain": None,
            "currency": None,
            "row_number": 1,
            "audit_on": dt.date(2024, 3, 5),
        }
    ]


@pytest.mark.parametrize("table", GOLD, ids=lambda table: table.name)
def test_every_table_is_there_with_the_declared_types(tmp_path: Path, table: Any) -> None:
    write(tmp_path / "in", "json", [GOOD])
    found = read(tmp_path / "in")
    described = duckdb.connect().execute(
        "DESCRIBE SELECT * FROM read_parquet($1)", [str(found.path(table.name))]
    )
    declared = [(c.name, c.kind.value) for c in table.columns]
    assert [row[:2] for row in described.fetchall()] == [
        *declared,
        ("row_number", "BIGINT"),
        ("audit_on", "DATE"),
    ]


def test_two_files_of_one_table_are_refused_by_name(tmp_path: Path) -> None:
    write(tmp_path, "json", [GOOD])
    write(tmp_path, "csv", [GOOD], "sample_recent_transactions")
    with pytest.raises(GoldUnreadable, match=r"sample_recent_transactions\.csv and transactions"):
        read_fixtures(tmp_path, tmp_path / "data")


@pytest.mark.parametrize("make", [lambda _: None, Path.mkdir, Path.touch])
def test_no_folder_or_no_needed_file_names_what_was_looked_for(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "in")
    with pytest.raises(GoldUnreadable, match=r"sample_transactions as \.json, \.jsonl, \.csv"):
        read_fixtures(tmp_path / "in", tmp_path / "data")


def test_other_files_are_ignored_and_noted(tmp_path: Path) -> None:
    write(tmp_path / "in", "json", [GOOD])
    before = read(tmp_path / "in")
    for name in ("README.md", "planted.json", "letter.md", "notes\n.txt", ".hidden"):
        (tmp_path / "in" / name).touch()
    after = read(tmp_path / "in")
    assert after.id == before.id
    assert needed(after).notes == ("2 files ignored: letter.md, notes�.txt",)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_what_is_no_regular_file_is_not_opened(tmp_path: Path) -> None:
    """A link may point outside the folder, and a pipe would block for ever."""
    target = write(tmp_path / "elsewhere", "json", [{"email_id": "secret"}], "emails")
    write(tmp_path / "in", "json", [GOOD])
    (tmp_path / "in" / "emails.json").symlink_to(target)
    (tmp_path / "in" / "vendors.json").mkdir()
    os.mkfifo(tmp_path / "in" / "receipts.csv")
    problems = {f.table: f.problem or "" for f in read(tmp_path / "in").files}
    assert "symbolic link" in problems["emails"]
    assert "not a regular file" in problems["vendors"]
    assert "not a regular file" in problems["receipts"]


@pytest.fixture
def powerless() -> Iterator[Path]:
    """A folder, and a user who may not read everything: root would see no closed doors."""
    with tempfile.TemporaryDirectory() as name:
        folder, user = Path(name), os.geteuid()
        # Once beforehand, so that nothing is imported as somebody who may not read the libraries.
        write(folder / "before", "json", [GOOD])
        read(folder / "before")
        if user != 0:
            yield folder
            return
        os.chown(folder, NOBODY, NOBODY)
        os.seteuid(NOBODY)
        try:
            yield folder
        finally:
            os.seteuid(user)


@posix
def test_an_unreadable_file_is_a_problem(powerless: Path) -> None:
    write(powerless / "in", "json", [GOOD]).chmod(0)
    found = read_fixtures(powerless / "in", powerless / "data")
    assert "make it readable" in (needed(found).problem or "")


@posix
def test_an_unreadable_folder_is_refused(powerless: Path) -> None:
    """Whichever folder it is, and whether it may be listed, entered or neither."""
    write(powerless / "in", "json", [GOOD])
    for mode in (0o000, 0o100, 0o400):
        for folder in (powerless / "in", powerless / "data"):
            folder.mkdir(exist_ok=True)
            folder.chmod(mode)
            try:
                found = read_fixtures(powerless / "in", powerless / "data")
                assert needed(found).problem
            except GoldUnreadable:
                pass
            finally:
                folder.chmod(0o700)


# --- about.json and the horizon --------------------------------------------------------------


def test_about_says_what_the_folder_cannot(tmp_path: Path) -> None:
    write(tmp_path / "in", "json", [GOOD])
    assert read(tmp_path / "in").about == snapshot.About("in")
    (tmp_path / "in" / "about.json").write_text(
        '{"name": "Demo", "as_of": "2024-04-01", "audit_from": "2024-03-01",'
        ' "audit_to": "2024-03-31", "freshness_days": {"travel": 3}, "comment": "ignored"}',
        encoding="utf-8",
    )
    found = read(tmp_path / "in")
    assert found.about == snapshot.About(
        "Demo",
        dt.date(2024, 4, 1),
        dt.date(2024, 3, 1),
        dt.date(2024, 3, 31),
        {"travel": 3},
    )
    assert found.horizon == dt.date(2024, 4, 1)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "not one JSON object"),
        ('{"name": 5}', "name: "),
        ('{"name": "\\ud800"}', "name: "),
        ('{"as_of": "01/02/2024"}', "as_of: "),
        ('{"as_of": 20240101}', "as_of: "),
        ('{"audit_from": "2024-02-02", "audit_to": "2024-02-01"}', "after audit_to"),
        ('{"freshness_days": {"travel": -1}}', "freshness_days: "),
        ('{"freshness_days": {"travel": true}}', "freshness_days: "),
        ('{"freshness_days": 3, "as_of": "x"}', "as_of: .*; freshness_days: "),
    ],
)
def test_a_wrong_about_is_refused_with_every_mistake(
    tmp_path: Path, text: str, complaint: str
) -> None:
    write(tmp_path, "json", [GOOD])
    (tmp_path / "about.json").write_text(text, encoding="utf-8")
    with pytest.raises(GoldUnreadable, match=complaint):
        read_fixtures(tmp_path, tmp_path / "data")


@pytest.mark.parametrize("suffix", FORMATS)
def test_rows_without_a_known_day_belong_to_the_horizon(tmp_path: Path, suffix: str) -> None:
    dates = ["2024-03-05T23:59:59-01:00", "2024-03-04", None, "2199-01-01", "never"]
    many = [{**GOOD, "txn_id": f"T-{i}", "date": date} for i, date in enumerate(dates)]
    folder = _folder(tmp_path, suffix, many)
    found = read(folder)
    last = dt.date(2024, 3, 6)
    assert found.horizon == last
    assert [row["audit_on"] for row in kept(found)] == [last, dt.date(2024, 3, 4), last, last]
    assert [row["audit_on"] for row in rejected(found)] == [last]


def test_as_of_is_the_horizon(tmp_path: Path) -> None:
    wrong = {**GOOD, "date": "2024-03-01", "amount": "x"}
    folder = _folder(tmp_path, "json", [GOOD, wrong, {**GOOD, "date": "2024-02-20"}])
    (folder / "about.json").write_text('{"as_of": "2024-03-02"}', encoding="utf-8")
    found = read(folder)
    assert found.horizon == dt.date(2024, 3, 2)
    assert kept(found)[0]["audit_on"] == dt.date(2024, 3, 2)
    assert rejected(found)[0]["audit_on"] == dt.date(2024, 3, 1)


@pytest.mark.parametrize(
    ("dated", "belongs_to"),
    [
        ("1990-01-01", "2024-03-02"),
        ("0001-01-01", "2024-03-04"),
        ("2024-03-01", "2024-03-02"),
        ("2024-03-03", "2024-03-03"),
        ("9999-12-31", "2024-03-04"),
        ("someday", "2024-03-04"),
    ],
)
def test_a_rejected_row_belongs_to_a_day_that_is_audited(
    tmp_path: Path, dated: str, belongs_to: str
) -> None:
    rows = [{**GOOD, "date": "2024-03-02"}, {**GOOD, "date": "2024-03-04"}]
    found = read(_folder(tmp_path, "json", [*rows, {**GOOD, "date": dated, "amount": "x"}]))
    assert rejected(found)[0]["audit_on"] == dt.date.fromisoformat(belongs_to)
    with DuckDBWarehouse(found, tmp_path / "derived") as warehouse:
        assert warehouse.days() == (dt.date(2024, 3, 2), dt.date(2024, 3, 4))


def test_without_any_date_the_horizon_is_today(tmp_path: Path) -> None:
    before = dt.datetime.now(dt.UTC).date()
    found = read(_folder(tmp_path, "json", [{**GOOD, "date": None}]))
    assert before <= found.horizon <= dt.datetime.now(dt.UTC).date()


# --- values ----------------------------------------------------------------------------------

MONEY = {
    "12.5": "12.50",
    "-0.01": "-0.01",
    "+7": "7.00",
    ".5": "0.50",
    "12.": "12.00",
    "007.10000": "7.10",
    " 3 ": "3.00",
    "1e2": "100.00",
    "1.5E-1": "0.15",
    "-12345e-2": "-123.45",
    "0e-99": "0.00",
    "1000e-3": "1.00",
    "9999999999999999.99": "9999999999999999.99",
    "-9999999999999999.99": "-9999999999999999.99",
    "99999999999999999900e-4": "9999999999999999.99",
}
NO_MONEY = {
    "10000000000000000": "money of 10^16 or more",
    "-1e16": "money of 10^16 or more",
    "1e9999": "money of 10^16 or more",
    "1" + "0" * 5000: "money of 10^16 or more",
    "12.505": "not a whole number of cents",
    "1e-3": "not a whole number of cents",
    "0.1000000000000000055": "not a whole number of cents",
    "NaN": "NaN or infinite",
    "-Infinity": "NaN or infinite",
    "12,50": "not a number",
    "1_000": "not a number",
    "$5": "not a number",
    "0x10": "not a number",
    "1e": "not a number",
    "e2": "not a number",
    ".": "not a number",
    "٣": "not a number",
    "5; DROP TABLE typed": "not a number",
}


@pytest.mark.parametrize("suffix", FORMATS)
def test_money(tmp_path: Path, suffix: str) -> None:
    fates = column(tmp_path, suffix, "amount", [*MONEY, *NO_MONEY, ""])
    assert fates == [
        *(Decimal(value) for value in MONEY.values()),
        *(("amount", reason) for reason in NO_MONEY.values()),
        None,
    ]


@pytest.mark.parametrize("suffix", ["json", "jsonl"])
def test_json_numbers_are_money_to_the_digit(tmp_path: Path, suffix: str) -> None:
    texts = ["12.5", "1e2", "9007199254740993.01", "0.1000000000000000055", "NaN", "-Infinity"]
    texts += ["true", "[1]", '{"a": 1}', "null", "1" * 5000]
    start, end = ("[", "]") if suffix == "json" else ("", "")
    comma = "," if suffix == "json" else "\n"
    folder = _folder(tmp_path, suffix, [])
    (folder / f"transactions.{suffix}").write_text(
        start + comma.join(f'{{"txn_id": "T", "amount": {text}}}' for text in texts) + end,
        encoding="utf-8",
    )
    found = read(folder)
    assert [row["amount"] for row in kept(found)] == [
        Decimal("12.50"),
        Decimal(100),
        Decimal("9007199254740993.01"),
        None,
    ]
    assert [(row["row_number"], row["reason"], row["raw"][:9]) for row in rejected(found)] == [
        (4, "not a whole number of cents", "0.1000000"),
        (5, "NaN or infinite", "NaN"),
        (6, "NaN or infinite", "-Infinity"),
        (7, "true or false where a number belongs", "true"),
        (8, "a list where a number belongs", '["1"]'),
        (9, "an object where a number belongs", '{"a": "1"'),
        (11, "money of 10^16 or more", "111111111"),
    ]


def _utc(*parts: int) -> dt.datetime:
    return dt.datetime(*parts)  # type: ignore[arg-type]  # noqa: DTZ001  # stored without a zone


INSTANTS = {
    "2024-02-29": _utc(2024, 2, 29),
    "2024-01-01T10:00:00Z": _utc(2024, 1, 1, 10),
    "2024-01-01t10:00z": _utc(2024, 1, 1, 10),
    "2024-01-01T00:30:00+02:00": _utc(2023, 12, 31, 22, 30),
    "2024-01-01T10:00:00-0530": _utc(2024, 1, 1, 15, 30),
    "2024-01-01 10:00:00.123456+01": _utc(2024, 1, 1, 9, 0, 0, 123456),
    "1900-01-01": _utc(1900, 1, 1),
    "2200-12-31T23:59:59Z": _utc(2200, 12, 31, 23, 59, 59),
}
NAIVE = {
    "2024-01-01T10:00:00": _utc(2024, 1, 1, 10),
    "2024-01-01 10:00:00.5": _utc(2024, 1, 1, 10, 0, 0, 500000),
}
NO_INSTANTS = {
    "2023-02-29": "no such date or time",
    "2024-13-01": "no such date or time",
    "2024-01-01T24:00:00": "no such date or time",
    "2024-01-01T10:00:60Z": "no such date or time",
    "2024-01-01T10:00:00+25:00": "no such date or time",
    "1899-12-31": "the year is outside 1900 to 2200",
    "2201-01-01": "the year is outside 1900 to 2200",
    "2200-12-31T23:00:00-02:00": "the year is outside 1900 to 2200",
    "0000-01-01": "no such date or time",
    "05/03/2024": "not an ISO 8601 date or date-time",
    "20240305": "not an ISO 8601 date or date-time",
    "infinity": "not an ISO 8601 date or date-time",
    "now": "not an ISO 8601 date or date-time",
    "12024-01-01": "not an ISO 8601 date or date-time",
}


@pytest.mark.parametrize("suffix", FORMATS)
def test_instants(tmp_path: Path, suffix: str) -> None:
    fates = column(tmp_path, suffix, "date", [*INSTANTS, *NAIVE, *NO_INSTANTS, ""])
    assert fates == [
        *INSTANTS.values(),
        *NAIVE.values(),
        *(("date", reason) for reason in NO_INSTANTS.values()),
        None,
    ]


@pytest.mark.parametrize("suffix", FORMATS)
def test_naive_instants_are_counted(tmp_path: Path, suffix: str) -> None:
    many = [{**GOOD, "date": date} for date in [*NAIVE, *INSTANTS]]
    notes = needed(read(_folder(tmp_path, suffix, many))).notes
    assert notes == ("2 instants without a zone, read as UTC",)


def test_an_instant_is_text_in_json(tmp_path: Path) -> None:
    reason = "a number where a date as text belongs"
    assert column(tmp_path, "json", "date", [1_700_000_000, 1.5]) == [("date", reason)] * 2


@pytest.mark.parametrize("suffix", FORMATS)
def test_texts(tmp_path: Path, suffix: str) -> None:
    limit = boundary.TEXT_CHARS_MAX
    values = ["", " ", "\u3000\t", " a ", "'; DROP TABLE typed; --", "é" * limit, "é" * (limit + 1)]
    assert column(tmp_path, suffix, "vendor", values) == [
        None,
        ("vendor", "only spaces"),
        ("vendor", "only spaces"),
        " a ",
        "'; DROP TABLE typed; --",
        "é" * limit,
        ("vendor", "longer than 100,000 characters"),
    ]


@pytest.mark.parametrize("suffix", FORMATS)
def test_an_id_that_the_store_could_not_hold_is_refused(tmp_path: Path, suffix: str) -> None:
    """It would be kept as a digest, under which a later audit would raise the flag again."""
    longest = "é" * boundary.ID_CHARS_MAX
    assert cast("Words", FLAGS.c.transaction_id.type).length == boundary.ID_CHARS_MAX
    reason = "an id longer than 255 characters"
    values = [longest, longest + "x", "short"]
    assert column(tmp_path, suffix, "txn_id", values) == [longest, ("txn_id", reason), "short"]


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_nul_is_refused_and_shown(tmp_path: Path, suffix: str) -> None:
    found = read(_folder(tmp_path, suffix, [{**GOOD, "domain": "a\0b"}]))
    (row,) = rejected(found)
    assert (row["field"], row["reason"], row["raw"]) == (
        "domain",
        "contains a NUL character",
        "a\\x00b",
    )


@pytest.mark.parametrize("suffix", FORMATS)
def test_an_optional_text_of_spaces_is_kept(tmp_path: Path, suffix: str) -> None:
    assert column(tmp_path, suffix, "domain", [" ", ""]) == [" ", None]


@pytest.mark.parametrize("suffix", ["json", "jsonl"])
def test_json_text_takes_whole_numbers_and_nothing_else(tmp_path: Path, suffix: str) -> None:
    fates = column(tmp_path, suffix, "vendor", [7, 7.5, True, ["a"], {"a": None}, "\ud800"])
    assert fates == [
        "7",
        ("vendor", "a number where text belongs"),
        ("vendor", "true or false where text belongs"),
        ("vendor", "a list where text belongs"),
        ("vendor", "an object where text belongs"),
        ("vendor", "not UTF-8, or half a surrogate pair"),
    ]


EMAIL = {"email_id": "E", "subject": "s", "sender": "x", "date": "2024-01-01", "body": "b"}


@pytest.mark.parametrize("suffix", FORMATS)
def test_lists(tmp_path: Path, suffix: str) -> None:
    lists: list[Any] = [["a", "b;c", "\"'"], [], None, ["a\0"], ["x" * 60_000] * 2]
    write(tmp_path / "in", "json", [GOOD])
    write(tmp_path / "in", suffix, [{**EMAIL, "recipients": r} for r in lists], "emails")
    found = read(tmp_path / "in")
    assert [row["recipients"] for row in kept(found, "emails")] == [["a", "b;c", "\"'"], [], None]
    assert [row["reason"] for row in rejected(found)] == [
        "contains a NUL character",
        "longer than 100,000 characters",
    ]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_list_in_a_text_cell(tmp_path: Path, suffix: str) -> None:
    texts = ["a@x; b@x;", "[broken", "[1]", "[" * 50_000, '["\\ud800"]']
    write(tmp_path / "in", "json", [GOOD])
    write(tmp_path / "in", suffix, [{**EMAIL, "recipients": t} for t in texts], "emails")
    found = read(tmp_path / "in")
    assert [row["recipients"] for row in kept(found, "emails")] == [["a@x", "b@x"]]
    assert [row["reason"] for row in rejected(found)] == ["not a list of texts"] * 4


def test_a_json_list_has_texts_only(tmp_path: Path) -> None:
    write(tmp_path / "in", "json", [GOOD])
    lists: list[Any] = [["a", 1], [None], "a", ["\ud800"], ""]
    write(tmp_path / "in", "json", [{**EMAIL, "recipients": r} for r in lists], "emails")
    found = read(tmp_path / "in")
    assert [row["reason"] for row in rejected(found)] == [
        "an element of the list is no text",
        "an element of the list is no text",
        "a text where a list of texts belongs",
        "not UTF-8, or half a surrogate pair",
    ]
    assert len(kept(found, "emails")) == 1


# --- rows ------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["json", "jsonl"])
def test_what_is_no_row_costs_one_row(tmp_path: Path, suffix: str) -> None:
    texts = ["5", '"x"', "null", "[]", '{"txn_id": "a", "txn_id": "b"}', json.dumps(GOOD)]
    folder = _folder(tmp_path, suffix, [])
    joined = f"[{','.join(texts)}]" if suffix == "json" else "\n\n".join(texts)
    (folder / f"transactions.{suffix}").write_text(joined, encoding="utf-8")
    found = read(folder)
    assert [row["row_number"] for row in kept(found)] == [6]
    assert [row["reason"] for row in rejected(found)] == [
        *["the row is no object"] * 4,
        "a key is there twice",
    ]
    assert rejected(found)[4] == {
        "table_name": "recent_transactions",
        "file": f"transactions.{suffix}",
        "row_number": 5,
        "row_id": None,
        "audit_on": dt.date(2024, 3, 5),
        "amount": None,
        "field": "",
        "reason": "a key is there twice",
        "raw": '{"txn_id": "a", "txn_id": "b"}',
    }


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_row_of_several_faults_is_one_rejected_row(tmp_path: Path, suffix: str) -> None:
    """First fault in column order, whichever stage has found it; what is readable is shown."""
    good = {**GOOD, "date": "2024-03-01"}
    bad = {"txn_id": "T-9", "source": " ", "amount": "x", "vendor": "a\0", "date": "2024-03-02"}
    found = read(_folder(tmp_path, suffix, [good, bad]))
    assert rejected(found) == [
        {
            "table_name": "recent_transactions",
            "file": f"transactions.{suffix}",
            "row_number": 2,
            "row_id": "T-9",
            "audit_on": dt.date(2024, 3, 2),
            "amount": None,
            "field": "source",
            "reason": "only spaces (+2 more)",
            "raw": " ",
        }
    ]


@pytest.mark.parametrize("suffix", FORMATS)
def test_an_incomplete_row_is_kept(tmp_path: Path, suffix: str) -> None:
    """Completeness, duplicates and future dates are the quality gate's business."""
    empty: dict[str, Any] = dict.fromkeys(GOOD)
    found = read(_folder(tmp_path, suffix, [GOOD, empty, GOOD, {**GOOD, "date": "2199-01-01"}]))
    assert needed(found).rows_kept == 4
    assert kept(found)[1]["txn_id"] is None


# --- columns ---------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", FORMATS)
def test_missing_and_unknown_columns(tmp_path: Path, suffix: str) -> None:
    row = {"txn_id": "T", "amount": None, "date": None, "color": "red", "a\nb": "c"}
    found = read(_folder(tmp_path, suffix, [row]))
    assert found.missing_columns == {"recent_transactions": ("source", "vendor")}
    assert needed(found).notes == ("2 unknown columns: a�b, color",)
    assert kept(found)[0]["vendor"] is None


def test_an_array_without_rows_lacks_no_column(tmp_path: Path) -> None:
    found = read(_folder(tmp_path, "json", []))
    assert needed(found) == FileRead("recent_transactions", "transactions.json", 0, 0, 0, None, ())
    assert found.missing_columns == {}


def test_a_header_without_rows_lacks_the_columns_it_does_not_name(tmp_path: Path) -> None:
    folder = _folder(tmp_path, "csv", [])
    (folder / "transactions.csv").write_text("\ufefftxn_id, source ,amount,vendor\n", "utf-8")
    assert read(folder).missing_columns == {"recent_transactions": ("date",)}


def test_made_up_keys_do_not_fill_the_memory(tmp_path: Path) -> None:
    folder = _folder(tmp_path, "json", [{f"k{i}-{j}": 1 for j in range(10)} for i in range(500)])
    assert "1,000 unknown columns: k0-0" in needed(read(folder)).notes[0]


# --- broken files ----------------------------------------------------------------------------

NEST = 100_000
BROKEN = {
    "empty": (b"", "empty file; write []"),
    "white space": (b" \n\t\r\n", "empty file; write []"),
    "mark only": (b"\xef\xbb\xbf", "empty file; write []"),
    "truncated": (b'[{"txn_id": "a"}, {"txn', "broken JSON at line 1"),
    "open": (b'[{"txn_id": "a"}', "not closed"),
    "trailing comma": (b'[{"txn_id": "a"},]', "broken JSON at line 1, column 18"),
    "trailing garbage": (b'[{"txn_id": "a"}]\n[]', "line 2, column 1"),
    "nest": (b"[" * NEST, "nested too deeply"),
    "objects": (b'[{"a":' * NEST, "nested too deeply"),
    "not UTF-8": (b'[{"txn_id": "\xff"}]', "not UTF-8 at byte 13"),
    "surrogate in UTF-8": (b'[{"txn_id": "\xed\xa0\x80"}]', "not UTF-8"),
    "UTF-16": ('[{"txn_id": "a"}]'.encode("utf-16"), "UTF-16"),
    "one object": (b'{\n"txn_id": "a"\n}', "one object, not an array"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_array_quarantines_the_file(tmp_path: Path, case: str) -> None:
    content, problem = BROKEN[case]
    folder = _folder(tmp_path, "json", [])
    (folder / "transactions.json").write_bytes(content)
    found = read(folder)
    assert problem in (needed(found).problem or "")
    assert needed(found).rows_in == 0
    assert found.missing_columns == {}


def test_rows_before_the_break_do_not_count(tmp_path: Path) -> None:
    """More rows than a chunk, so that some were typed and written when the break shows."""
    folder = _folder(tmp_path, "json", [])
    text = ",".join([json.dumps(GOOD), '{"amount": "x"}'] * (rows.CHUNK_ROWS // 2 + 10))
    (folder / "transactions.json").write_text("[" + text, encoding="utf-8")
    found = read(folder)
    assert needed(found).problem
    assert needed(found).rows_in == 0
    assert rejected(found) == []


def test_a_broken_line_costs_that_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_rows, "LINE_BYTES_MAX", 1_000_000)
    good = json.dumps(GOOD).encode()
    lines = [b"\xef\xbb\xbf" + good, b"{", b"", b"[" * NEST, b'{"txn_id": "\xff"}', b"[]"]
    lines += [b'{"vendor": "' + b"x" * 2_500_000 + b'"}', b'{"a": 1}{"a": 2}', good]
    folder = _folder(tmp_path, "jsonl", [])
    (folder / "transactions.jsonl").write_bytes(b"\r\n".join(lines))
    found = read(folder)
    assert [row["row_number"] for row in kept(found)] == [1, 8]
    assert [row["reason"] for row in rejected(found)] == [
        "broken JSON (expecting property name enclosed in double quotes)",
        "nested too deeply to be read",
        "not UTF-8, or half a surrogate pair",
        "the row is no object",
        "a line of more than 1,000,000 bytes",
        "broken JSON (extra data)",
    ]
    assert rejected(found)[2]["raw"] == '{"txn_id": "\\xff"}'


def test_a_broken_record_costs_that_record(tmp_path: Path) -> None:
    header = "txn_id,source,amount,vendor,date\r\n"
    records = ['T-1,bank,1,"a ""b""\r\nc",2024-01-01', "", "T-2,bank", "T-3,bank,1,v,2024-01-01,x"]
    records += ['T-4,bank,1,"a"b,2024-01-01', "T-5,bank,1,\udcff,2024-01-01"]
    records += [f'T-6,bank,1,"{"x" * 200_000}\r\nT-7,bank,1,v,2024-01-01\r\n",2024-01-01']
    records += ["T-8,bank,1,v,2024-01-01"]
    folder = _folder(tmp_path, "csv", [])
    (folder / "transactions.csv").write_bytes(
        (header + "\r\n".join(records)).encode(errors="surrogateescape")
    )
    found = read(folder)
    assert [row["txn_id"] for row in kept(found)] == ["T-1", "T-8"]
    assert kept(found)[0]["vendor"] == 'a "b"\r\nc'
    assert [(row["row_id"], row["reason"]) for row in rejected(found)] == [
        (None, "2 fields where the header has 5"),
        (None, "6 fields where the header has 5"),
        (None, "broken CSV (',' expected after '\"')"),
        (None, "not UTF-8, or half a surrogate pair"),
        ("T-6", "longer than 100,000 characters"),
    ]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "empty file; write the header"),
        (b"\n \n", "empty file; write the header"),
        (b'txn_id,amount\nT,1\nU,"1\nV,2\n', "a quote that opens at line 3"),
        (b'"txn_id', "the header is broken"),
        (b"txn_id,amount,amount\n", "amount twice"),
        ("txn_id".encode("utf-16"), "UTF-16"),
    ],
)
def test_a_broken_csv(tmp_path: Path, content: bytes, problem: str) -> None:
    folder = _folder(tmp_path, "csv", [])
    (folder / "transactions.csv").write_bytes(content)
    assert problem in (needed(read(folder)).problem or "")


@pytest.mark.parametrize("content", [b"", b"x", b"PAR1PAR1", b"PAR1" + b"\0" * 100 + b"PAR1"])
def test_a_broken_parquet(tmp_path: Path, content: bytes) -> None:
    write(tmp_path / "in", "json", [GOOD])
    (tmp_path / "in" / "vendors.parquet").write_bytes(content)
    found = read(tmp_path / "in")
    problem = found.files[6].problem or ""
    assert "write" in problem
    assert str(tmp_path) not in problem
    assert needed(found).rows_kept == 1


# --- Parquet ---------------------------------------------------------------------------------


def _parquet(tmp_path: Path, **columns: pa.Array) -> Snapshot:
    folder = tmp_path / "in"
    folder.mkdir()
    size = len(next(iter(columns.values())))
    base = {name: pa.array([value] * size) for name, value in GOOD.items()}
    pq.write_table(pa.table({**base, **columns}), folder / "transactions.parquet")
    return read(folder)


ZERO = dt.datetime(2024, 3, 5, 12, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (
            pa.array([0.1, 12.5, 1e2, 9007199254740992.0]),
            ["0.1", "12.5", "100", "9007199254740992"],
        ),
        (pa.array([0.29, 1e3], pa.float32()), ["0.29", "1000"]),
        (pa.array([7, -7], pa.int8()), ["7", "-7"]),
        (pa.array([2**53 + 1], pa.uint64()), ["9007199254740993"]),
        (pa.array([Decimal("1.5")], pa.decimal128(5, 1)), ["1.5"]),
        (pa.array([Decimal("1.50000")], pa.decimal128(38, 5)), ["1.5"]),
        (pa.array([Decimal("1.5")], pa.decimal128(18, 2)), ["1.5"]),
    ],
    ids=str,
)
def test_parquet_money(tmp_path: Path, values: pa.Array, expected: list[str]) -> None:
    found = _parquet(tmp_path, amount=values)
    assert [row["amount"] for row in kept(found)] == [Decimal(text) for text in expected]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (pa.array([float("nan")]), "NaN or infinite"),
        (pa.array([float("-inf")]), "NaN or infinite"),
        (pa.array([1e16]), "money of 10^16 or more"),
        (pa.array([0.1 + 0.2]), "not a whole number of cents"),
        (pa.array([10**16]), "money of 10^16 or more"),
        (pa.array([Decimal("1.505")], pa.decimal128(38, 3)), "not a whole number of cents"),
        (pa.array([True]), "BOOLEAN where money belongs"),
        (pa.array([b"1"]), "BLOB where money belongs"),
        (pa.array([{"it's": 1}]), "STRUCT(its BIGINT) where money belongs"),
    ],
    ids=str,
)
def test_parquet_no_money(tmp_path: Path, values: pa.Array, reason: str) -> None:
    (row,) = rejected(_parquet(tmp_path, amount=values))
    assert (row["field"], row["reason"].replace('"', ""), row["row_id"]) == (
        "amount",
        reason,
        "T-1",
    )


@pytest.mark.parametrize(
    ("values", "naive"),
    [
        (pa.array([ZERO], pa.timestamp("us", "Europe/Berlin")), 0),
        (pa.array([ZERO], pa.timestamp("us")), 1),
        (pa.array([ZERO], pa.timestamp("ms")), 1),
        (pa.array([ZERO], pa.timestamp("ns")), 1),
    ],
    ids=str,
)
def test_parquet_instants(tmp_path: Path, values: pa.Array, naive: int) -> None:
    found = _parquet(tmp_path, date=values)
    assert kept(found)[0]["date"] == ZERO.replace(tzinfo=None)
    assert len(needed(found).notes) == naive


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (pa.array([2**62], pa.timestamp("us")), "no such date or time"),
        (pa.array([2**63 - 1], pa.timestamp("us", "UTC")), "no such date or time"),
        (pa.array([1_700_000_000]), "BIGINT where a date belongs"),
        (pa.array([dt.date(1800, 1, 1)]), "the year is outside 1900 to 2200"),
    ],
    ids=str,
)
def test_parquet_no_instants(tmp_path: Path, values: pa.Array, reason: str) -> None:
    (row,) = rejected(_parquet(tmp_path, date=values))
    assert (row["field"], row["reason"]) == ("date", reason)


def test_parquet_milliseconds_beyond_all_calendars(tmp_path: Path) -> None:
    """DuckDB reads no such file at all; the problem says so."""
    found = _parquet(tmp_path, date=pa.array([0 - 2**61], pa.timestamp("ms")))
    assert "Could not convert Timestamp" in (needed(found).problem or "")


def test_parquet_ids_may_be_whole_numbers(tmp_path: Path) -> None:
    found = _parquet(tmp_path, txn_id=pa.array([7, None]), vendor=pa.array([None, None]))
    assert [row["txn_id"] for row in kept(found)] == ["7", None]


def test_parquet_statistics_are_not_believed(tmp_path: Path) -> None:
    """DuckDB would leave out a range check that the footer's minimum and maximum promise."""
    folder = tmp_path / "in"
    folder.mkdir()
    at = pa.array([1_700_000_000_000_000], pa.timestamp("us"))
    base = {name: pa.array([value]) for name, value in GOOD.items()}
    path = folder / "transactions.parquet"
    pq.write_table(pa.table({**base, "date": at}), path, compression="none", use_dictionary=False)
    true, false = ((i).to_bytes(8, "little") for i in (1_700_000_000_000_000, 2**60))
    parts = path.read_bytes().split(true)
    assert len(parts) == 10  # two minima, two maxima, the value; the minima and maxima again
    path.write_bytes(true.join(parts[:5]) + false + true.join(parts[5:]))
    (row,) = rejected(read(folder))
    assert (row["field"], row["reason"]) == ("date", "no such date or time")


def test_many_rows_keep_their_order(tmp_path: Path) -> None:
    """More than one batch of a Parquet file, with a text list that goes through Python."""
    size = 130_000
    folder = tmp_path / "in"
    folder.mkdir()
    amounts = pa.array([f"{i}.25" if i % 1000 else "x" for i in range(size)])
    base = {name: pa.array([value] * size) for name, value in GOOD.items()}
    pq.write_table(pa.table({**base, "amount": amounts}), folder / "transactions.parquet")
    mails = {name: pa.array([value] * size) for name, value in EMAIL.items()}
    mails["recipients"] = pa.array([f"a{i};b" for i in range(size)])
    pq.write_table(pa.table(mails), folder / "emails.parquet")
    found = read_fixtures(folder, tmp_path / "data")
    assert (needed(found).rows_kept, needed(found).rows_quarantined) == (129_870, 130)
    query = """SELECT count(*) FROM (
        SELECT *, row_number() OVER () AS place, lag(row_number) OVER () AS before FROM {}
    ) WHERE {} OR row_number <= before"""
    for table, wrong in (
        ("recent_transactions", "amount <> row_number - 1 + 0.25"),
        ("emails", "recipients[1] <> 'a' || row_number - 1"),
    ):
        sql = query.format("read_parquet($1)", wrong)
        assert duckdb.connect().execute(sql, [str(found.path(table))]).fetchone() == (0,)
    assert found.files[3].rows_kept == size


# --- the snapshot ----------------------------------------------------------------------------


def test_the_same_content_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "in", "json", [GOOD, {"amount": "x"}])
    first = read(tmp_path / "in")
    monkeypatch.setattr(snapshot, "take_in", None)
    assert read(tmp_path / "in") == first
    (tmp_path / "in").rename(tmp_path / "renamed")
    again = read_fixtures(tmp_path / "renamed", tmp_path / "in-data")
    assert (again.id, again.about.name) == (first.id, "renamed")


def test_other_content_is_another_snapshot(tmp_path: Path) -> None:
    ids = set[str]()
    for suffix, name, vendor in (("json", "x", "A"), ("json", "x", "B"), ("csv", "y", "A")):
        folder = tmp_path / name
        write(folder, suffix, [{**GOOD, "vendor": vendor}])
        ids.add(read_fixtures(folder, tmp_path / "data").id)
    (tmp_path / "x" / "about.json").write_text("{}", encoding="utf-8")
    ids.add(read_fixtures(tmp_path / "x", tmp_path / "data").id)
    assert len(ids) == 4
    assert all(len(i) == 16 and set(i) <= set(string.hexdigits) for i in ids)
    assert sorted(path.name for path in (tmp_path / "data" / "gold").iterdir()) == sorted(ids)


@pytest.mark.parametrize("damage", ["snapshot.json", "vendors.parquet"])
def test_a_damaged_snapshot_is_made_again(tmp_path: Path, damage: str) -> None:
    write(tmp_path / "in", "json", [GOOD])
    first = read(tmp_path / "in")
    (first.folder / damage).unlink()
    assert read(tmp_path / "in") == first


def test_a_crash_leaves_no_half_snapshot(tmp_path: Path) -> None:
    write(tmp_path / "in", "json", [GOOD])

    def crash(_: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read_fixtures(tmp_path / "in", tmp_path / "data", crash)
    assert list((tmp_path / "data" / "gold").iterdir()) == []


def test_readers_may_race(tmp_path: Path) -> None:
    write(tmp_path / "in", "json", [GOOD])
    together = threading.Barrier(4, timeout=60)
    found: list[Snapshot] = []

    def wait_once(message: str) -> None:
        if message.endswith("quarantined"):
            together.wait()

    def one() -> None:
        found.append(read_fixtures(tmp_path / "in", tmp_path / "data", wait_once))

    readers = [threading.Thread(target=one) for _ in range(4)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert found == [found[0]] * 4
    assert [path.name for path in (tmp_path / "data" / "gold").iterdir()] == [found[0].id]


def test_a_file_that_changes_meanwhile_is_not_believed(tmp_path: Path) -> None:
    path = write(tmp_path / "in", "json", [GOOD])

    def change(_: str) -> None:
        path.write_text("[]", encoding="utf-8")

    with pytest.raises(GoldUnreadable, match="changed while it was read"):
        read_fixtures(tmp_path / "in", tmp_path / "data", change)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    write(tmp_path / "in", "json", [GOOD])
    (tmp_path / "data").touch()
    with pytest.raises(GoldUnreadable, match="another data directory"):
        read_fixtures(tmp_path / "in", tmp_path / "data")


def test_a_path_of_signs_is_only_a_path(tmp_path: Path) -> None:
    folder = tmp_path / "it's [a] *?; DROP TABLE"
    write(folder, "parquet", [GOOD])
    found = read_fixtures(folder, folder / "data [b]*")
    assert needed(found).rows_kept == 1


def test_path_knows_the_tables(tmp_path: Path) -> None:
    write(tmp_path / "in", "json", [GOOD])
    found = read(tmp_path / "in")
    assert found.path("gold.vendors") == found.path("vendors")
    with pytest.raises(KeyError):
        found.path("payroll")


@pytest.mark.parametrize("suffix", FORMATS)
def test_the_specifications_loader(tmp_path: Path, suffix: str) -> None:
    write(tmp_path, suffix, [{**EMAIL, "recipients": ["a"]}, {**EMAIL, "date": "x"}], "emails")
    frame = load_mock_data_from_json("gold.emails", tmp_path)
    assert list(frame.columns) == [c.name for c in gold_table("emails").columns]
    assert frame.to_dict("records")[0]["subject"] == "s"
    assert len(frame) == 1
    assert load_mock_data_from_json("vendors", tmp_path).empty


def test_the_specifications_loader_says_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "emails.json").write_text("[", encoding="utf-8")
    for table, said in (("emails", "broken JSON"), ("payroll", "no gold table is called payroll")):
        with pytest.raises(GoldUnreadable, match=said):
            load_mock_data_from_json(table, tmp_path)


@pytest.mark.parametrize("table", GOLD, ids=lambda table: table.name)
def test_pandera_knows_every_column(table: Any) -> None:
    assert list(boundary.schema(table).columns) == [c.name for c in table.columns]
    texts = [c for c in table.columns if c.kind is Kind.TEXT]
    assert all(boundary.schema(table).columns[c.name].checks for c in texts)


# --- properties ------------------------------------------------------------------------------

EXACT = Context(prec=6000)


def oracle(text: str) -> Decimal | None:
    """Money by Python's decimal module: finite, below 10^16, a whole number of cents."""
    try:
        value = EXACT.create_decimal(text.strip(" "))
    except InvalidOperation:
        return None
    if not value.is_finite() or abs(value) >= Decimal(10) ** 16:
        return None
    cents = value.scaleb(2, EXACT)
    whole = cents.to_integral_value()
    return Decimal(int(whole)) / 100 if cents == whole else None


NUMERIC = st.from_regex(r"[+-]?[0-9]{0,18}\.?[0-9]{0,5}([eE][+-]?[0-9]{1,2})?", fullmatch=True)


@slowly
@given(
    suffix=st.sampled_from(FORMATS),
    texts=st.lists(NUMERIC.filter(bool), min_size=1, max_size=150),
)
def test_money_agrees_with_the_decimal_module(
    tmp_path: Path, suffix: str, texts: list[str]
) -> None:
    fates = column(tmp_path, suffix, "amount", texts)
    assert [fate if isinstance(fate, Decimal) else None for fate in fates] == [
        oracle(text) for text in texts
    ]


@slowly
@given(
    suffix=st.sampled_from(FORMATS),
    instants=st.lists(
        st.datetimes(
            _utc(1901, 1, 1),
            _utc(2199, 1, 1),
            timezones=st.integers(-1439, 1439).map(
                lambda minutes: dt.timezone(dt.timedelta(minutes=minutes))
            ),
        ),
        min_size=1,
        max_size=150,
    ),
)
def test_instants_agree_with_the_datetime_module(
    tmp_path: Path, suffix: str, instants: list[dt.datetime]
) -> None:
    fates = column(tmp_path, suffix, "date", [instant.isoformat() for instant in instants])
    assert fates == [instant.astimezone(dt.UTC).replace(tzinfo=None) for instant in instants]


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
AWKWARD = st.sampled_from(['"', "'", ",", ";", "\r", "\n", "\r\n", "\\", "$1", "{}", "%s", "🦄"])


@slowly
@given(
    suffix=st.sampled_from(FORMATS),
    texts=st.lists(st.one_of(TEXTS, AWKWARD, st.tuples(TEXTS, AWKWARD).map("".join)), min_size=1),
)
def test_texts_come_back(tmp_path: Path, suffix: str, texts: list[str]) -> None:
    assert column(tmp_path, suffix, "domain", list(texts)) == [text or None for text in texts]


JSON_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)
ROWS = st.one_of(
    JSON_VALUES,
    st.dictionaries(
        st.sampled_from([c.name for c in RECENT_TRANSACTIONS.columns]), JSON_VALUES, max_size=8
    ),
)


@slowly
@given(suffix=st.sampled_from(["json", "jsonl"]), many=st.lists(ROWS, max_size=60))
def test_every_row_is_kept_or_rejected(tmp_path: Path, suffix: str, many: list[Any]) -> None:
    """Any JSON at all: `read` checks that the counts and the stored rows balance."""
    found = read(_folder(tmp_path, suffix, many))
    numbers = [r["row_number"] for r in [*kept(found), *rejected(found)]]
    if needed(found).problem is None:
        assert sorted(numbers) == list(range(1, len(many) + 1))
    else:
        assert suffix == "jsonl"
        assert not many


@slowly
@given(suffix=st.sampled_from(FORMATS), content=st.binary(max_size=300))
def test_any_bytes_are_taken(tmp_path: Path, suffix: str, content: bytes) -> None:
    folder = _folder(tmp_path, "json", [GOOD])
    (folder / f"credit_cards.{suffix}").write_bytes(content)
    assert needed(read(folder)).rows_kept == 1


# --- collections of hostile input ------------------------------------------------------------

SUITE = SHARED / "json_test_suite" / "test_parsing"
NAUGHTY = SHARED / "naughty_strings.json"


def _suite() -> list[Path]:
    if not SUITE.is_dir():
        pytest.skip("the JSON test suite is not beside this repository (shared/data)")
    return sorted(SUITE.iterdir())


def test_the_json_test_suite_parses_for_every_table() -> None:
    """Every file as every table: a valid one has rows, an invalid one none that is an object."""
    files = _suite()
    for table in GOLD:
        for path in files:
            for name in (path, path.with_suffix(".jsonl")):
                found = rows.Rows(table, lists=True)
                try:
                    for chunk in json_rows.json_chunks(_Renamed(path, name), found):  # type: ignore[arg-type]
                        assert chunk.cells.num_columns == len(table.columns) + 1
                except rows.FileBroken:
                    continue
                if path.name.startswith("n_"):
                    assert found.objects == 0, path.name


class _Renamed:
    """A file under another name, without a copy of it."""

    def __init__(self, path: Path, name: Path) -> None:
        self.suffix, self.open, self.stat = name.suffix, path.open, path.stat
        self.read_bytes = path.read_bytes


@pytest.mark.slow
def test_the_json_test_suite_is_read_to_the_end(tmp_path: Path) -> None:
    """Eight files a folder, one for each table, in turn under each suffix; `read` counts."""
    files = _suite()
    for turn in range(0, len(files), len(GOLD)):
        folder = tmp_path / str(turn)
        folder.mkdir()
        used = list(zip(GOLD, files[turn : turn + len(GOLD)], strict=False))
        for place, (table, path) in enumerate(used):
            suffix = FORMATS[0 if path.name.startswith("n_") else place % len(FORMATS)]
            (folder / f"{table.name}.{suffix}").write_bytes(path.read_bytes())
        found = read(folder)
        for table, path in used:
            if path.name.startswith("n_"):
                assert kept(found, table.name) == [], path.name


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("table", GOLD, ids=lambda table: table.name)
def test_naughty_strings_come_back_or_are_rejected(tmp_path: Path, table: Any, suffix: str) -> None:
    if not NAUGHTY.is_file():
        pytest.skip("naughty_strings.json is not beside this repository (shared/data)")
    texts: list[str] = [*json.loads(NAUGHTY.read_text(encoding="utf-8")), "a\0b"]
    names = [c.name for c in table.columns if c.kind is Kind.TEXT]
    folder = tmp_path / "in"
    write(folder, "json", [GOOD])
    if table.needed:
        (folder / "transactions.json").unlink()
    write(folder, suffix, [dict.fromkeys(names, text) for text in texts], table.name)
    found = read(folder)
    fates = {row["row_number"]: row for row in kept(found, table.name)}
    lost = {row["row_number"] for row in rejected(found)}
    for number, text in enumerate(texts, start=1):
        if number in lost:
            too_long = len(text) > boundary.ID_CHARS_MAX and table.key in names
            assert not text.strip() or "\0" in text or too_long
        else:
            assert {fates[number][name] for name in names} == {text or None}
