"""Public collections of bad input through the whole audit: nothing traces back, nothing is lost.

A text arrives to the byte, or its row is quarantined with a reason; what a terminal or a
spreadsheet would run is not in what they are given.
"""

import csv
import datetime as dt
import io
import json
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from audit_pipeline import cli, report
from audit_pipeline.adapters.fixtures import Snapshot, read_fixtures
from audit_pipeline.adapters.fixtures.boundary import ID_CHARS_MAX
from audit_pipeline.adapters.fixtures.folder import Source, stamp
from audit_pipeline.adapters.fixtures.intake import connect, take_in
from audit_pipeline.adapters.store import Store
from audit_pipeline.adapters.store.columns import storable
from audit_pipeline.adapters.warehouse import DuckDBWarehouse
from audit_pipeline.books import Books
from audit_pipeline.disposition import disposition, imbalances
from audit_pipeline.model.tables import GOLD, Kind, Table, gold_table
from audit_pipeline_tests import corpora, environment
from audit_pipeline_tests.books_of import packaged_rules
from audit_pipeline_tests.corpora import NaughtyCompany, Row, everywhere, in_words
from audit_pipeline_tests.environment import Command

LEDGER = "recent_transactions"
SUFFIXES = ("json", "jsonl")
EVERY = 8
SHOWN_EVERY = 5
"""To show one flag takes as long as to raise five."""


# ── JSONTestSuite ───────────────────────────────────────────────────────────────────────────────


def _take_in_all(cases: list[tuple[Path, Table, str]], stage: Path) -> int:
    """Read each file as the table's; how many of the files gave rows."""
    giving = 0
    wrong: list[str] = []
    with connect(stage) as connection:
        for file, table, suffix in cases:
            path = stage / f"{table.name}.{suffix}"
            path.write_bytes(file.read_bytes())
            case = f"{file.name} as {path.name}"
            try:
                intake = take_in(
                    table, Source(table, path, None, stamp(path)), stage, connection, lambda _: None
                )
            except Exception as fault:  # noqa: BLE001 - every case is tried, all faults are shown
                wrong.append(f"{case}: {fault!r}")
                continue
            read = intake.read
            kept = pq.read_metadata(intake.typed).num_rows
            rejected = pq.read_table(intake.rejected)
            if (kept, rejected.num_rows) != (read.rows_kept, read.rows_quarantined):
                wrong.append(f"{case}: {kept} + {rejected.num_rows} rows are there, not {read}")
            if read.rows_in != kept + rejected.num_rows or not all(rejected["reason"].to_pylist()):
                wrong.append(f"{case}: {read}")
            lines = [line for line in file.read_bytes().split(b"\n") if line.strip(b" \t\r")]
            if suffix == "jsonl" and read.problem is None and len(lines) != read.rows_in:
                wrong.append(f"{case}: {len(lines)} lines, but {read.rows_in} rows")
            if file.name.startswith("n_") and suffix == "json" and kept:
                wrong.append(f"{case}: it is no JSON, and {kept} rows of it are kept")
            giving += read.rows_in > 0
    assert not wrong, "\n".join(wrong)
    return giving


@pytest.mark.slow
@pytest.mark.parametrize("table", GOLD, ids=lambda table: table.name)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_each_file_as_each_table(tmp_path: Path, table: Table, suffix: str) -> None:
    files = corpora.json_files()
    assert len(files) == 318
    giving = _take_in_all([(file, table, suffix) for file in files], tmp_path)
    assert 0 < giving < len(files), "some are refused, and some are read"


def _good_line(number: int, **cells: object) -> Row:
    return {
        "txn_id": f"good_{number}",
        "source": "credit_card",
        "amount": f"{10 + number % 90}.50",
        "vendor": "Harbor Diner",
        "date": f"2025-02-{1 + number % 28:02d}T10:00:00Z",
        **cells,
    }


def _balanced(folder: Path, data: Path) -> int:
    """How many rows the disposition ledger has, after checking that it is all of the file's."""
    snapshot = read_fixtures(folder, data)
    (read,) = [file for file in snapshot.files if file.table == LEDGER]
    dated = [dt.date(2025, 2, 1), dt.date(2025, 2, 28), snapshot.horizon]
    with DuckDBWarehouse(snapshot, folder.parent / "derived", threads=1) as warehouse:
        books = Books(warehouse, packaged_rules(), min(dated), max(dated))
        days = disposition(books, "suite", "run", set())
    assert not imbalances(days)
    assert sum(day.transactions for day in days) == read.rows_in
    return read.rows_in


def test_every_file_as_lines_and_as_cells_of_one_ledger(command: Command, tmp_path: Path) -> None:
    """Among good lines: each line of each file alone, and in place of a vendor."""
    files = [file.read_bytes() for file in corpora.json_files()]
    strange = [line for content in files for line in content.split(b"\n") if line.strip(b" \t\r")]
    # rows without a date count on the last day, and must not close its gate
    last = {"date": "2025-02-28T10:00:00Z"}
    texts = [json.dumps(_good_line(n, vendor="HERE", **last)).encode() for n in range(len(strange))]
    cells = [
        text.replace(b'"HERE"', line).replace(b"good_", b"cell_")
        for text, line in zip(texts, strange, strict=True)
        if len(line) < 10_000
    ]
    good = [json.dumps(_good_line(n, **last)).encode() for n in range(18 * len(strange))]
    lines = [*good[::2], *strange, *cells, *good[1::2]]
    folder = tmp_path / "gold"
    folder.mkdir()
    (folder / f"{LEDGER}.jsonl").write_bytes(b"\n".join(lines))
    result = tmp_path / "result.json"
    ended = command("audit", "--fixtures", folder, "--json", result)
    assert ended.code == cli.DONE, ended.err
    document = json.loads(result.read_text())
    assert document["transactions"] == len(lines)
    ledger = document["ledger"]
    assert len(lines) == ledger["flagged"] + ledger["cleared"] + ledger["quarantined"]
    assert ledger["quarantined"] > len(strange), "no line of the suite is a ledger entry"
    assert ledger["flagged"] + ledger["cleared"] >= len(good)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_ledger_of_each_file_balances(tmp_path: Path, suffix: str) -> None:
    wrong: list[str] = []
    folder = tmp_path / "gold"
    folder.mkdir()
    for file in corpora.json_files()[::EVERY]:
        (folder / f"{LEDGER}.{suffix}").write_bytes(file.read_bytes())
        try:
            _balanced(folder, tmp_path / "data")
        except Exception as fault:  # noqa: BLE001 - every file is tried, all faults are shown
            wrong.append(f"{file.name}: {fault!r}")
    assert not wrong, "\n".join(wrong)


# ── naughty strings ─────────────────────────────────────────────────────────────────────────────


def _safe(text: str) -> bool:
    """Nothing in it is an order to a terminal, or unseen."""
    return all(c == "\n" or unicodedata.category(c)[0] != "C" for c in text)


def _audit(command: Command, company: NaughtyCompany, home: Path) -> tuple[Snapshot, Row]:
    """The snapshot and the result document of the company's audit."""
    folder = company.write(home / "gold")
    data, out = home / "data", home / "result.json"
    ended = command("audit", "--fixtures", folder, "--data", data, "--json", out)
    assert ended.code == cli.DONE, ended.err
    assert _safe(ended.out)
    assert ended.err == ""
    return read_fixtures(folder, data), json.loads(out.read_text(encoding="ascii"))


def _holds_rows(company: NaughtyCompany, snapshot: Snapshot) -> None:
    """Each text is there to the byte, or its row is in the quarantine."""
    held = pq.read_table(snapshot.path("quarantine")).to_pylist()
    for table in GOLD:
        rows = company.rows(table)
        away = {n for n, row in enumerate(rows, 1) if corpora.refused(table, row, ID_CHARS_MAX)}
        assert {r["row_number"] for r in held if r["table_name"] == table.name} == away
        kept = pq.read_table(snapshot.path(table.name)).to_pylist()
        assert len(kept) == len(rows) - len(away)
        by_number = {row["row_number"]: row for row in kept}
        for number, row in enumerate(rows, 1):
            for column in corpora.texts_of(table) if number not in away else ():
                given = row[column.name]
                assert by_number[number][column.name] == (given if given != "" else None)


def _holds_ledger(company: NaughtyCompany, document: Row) -> None:
    ledger = document["ledger"]
    disposed = ledger["flagged"] + ledger["cleared"] + ledger["quarantined"]
    assert disposed == document["transactions"] == len(company.strings)
    assert ledger["flagged"] > len(company.strings) / 4


QUOTED = ("calendar", "document", "email", "receipt", "thread")


def _holds_evidence(company: NaughtyCompany, document: Row) -> int:
    """Vendors, titles and the like in the evidence are texts of the company; how many there are."""
    given = {
        f"{table.full_name}.{column.name}": {str(row[column.name]) for row in company.rows(table)}
        for table in GOLD
        for column in corpora.texts_of(table)
        if column.kind is Kind.TEXT and column.name != "body"
    }
    seen = 0
    for flag in document["flags"]:
        for finding in flag["findings"]:
            for cell in finding["evidence"]:
                # what a document says is quoted in one line, without what nobody sees
                if cell["source"] in given and cell["name"] not in QUOTED:
                    assert cell["value"] in given[cell["source"]], cell
                    seen += 1
    return seen


def _shown_by_itself(store: Store, identity: str) -> str:
    said = io.StringIO()
    console = Console(file=said, width=100, force_terminal=True, color_system=None)
    flag = store.flag(identity)
    report.show_flag(console, flag, store.findings_of_flag(identity), packaged_rules())
    return said.getvalue()


def _audited_soundly(command: Command, company: NaughtyCompany, home: Path) -> None:
    snapshot, document = _audit(command, company, home)
    _holds_rows(company, snapshot)
    _holds_ledger(company, document)
    assert _holds_evidence(company, document)
    data = home / "data"
    listed = command("flags", "--data", data, "--limit", 9_999)
    assert listed.code == cli.DONE
    assert _safe(listed.out)
    with Store.open(f"sqlite:///{data / 'audit.sqlite'}") as store:
        flags = store.flags()
        ids = {storable(str(row["txn_id"]), 255) for row in company.rows(gold_table(LEDGER))}
        raised = {f.transaction_id for f in flags if f.transaction_id in ids}
        assert len(raised) > len(company.strings) / 4
        for flag in flags[::SHOWN_EVERY]:
            assert _safe(_shown_by_itself(store, flag.flag_id))
        assert all(entry.intact for entry in store.trail())
        as_json = command("flags", "--data", data, "--all", "--limit", 9_999, "--json", "-")
        told = json.loads(as_json.out)
        assert [f["explanation"] for f in told] == [f.explanation for f in flags]
        assert [f["transaction_id"] for f in told] == [f.transaction_id for f in flags]
    for flag in flags[:2]:
        again = command("reperform", flag.flag_id, "--data", data)
        assert again.code == cli.DONE, again.out + again.err
        assert _safe(again.out)


@pytest.mark.parametrize("wants", [everywhere, in_words], ids=lambda wants: wants.__name__)
def test_every_string_in_every_column(
    command: Command, tmp_path: Path, wants: corpora.Wants
) -> None:
    """Another string in each column of a row, so that each stands once in each column."""
    _audited_soundly(command, NaughtyCompany(corpora.naughty_strings(), wants), tmp_path)


COLUMNS = [(table.name, column.name) for table in GOLD for column in corpora.texts_of(table)]


@pytest.mark.slow
@pytest.mark.parametrize(("table", "column"), COLUMNS, ids=lambda name: name)
def test_every_string_in_one_column(
    command: Command, tmp_path: Path, table: str, column: str
) -> None:
    """All other cells are good ones: no other string of the row hides what this one does."""
    company = NaughtyCompany(
        corpora.naughty_strings(), lambda t, c: (t.name, c.name) == (table, column)
    )
    snapshot, document = _audit(command, company, tmp_path)
    _holds_rows(company, snapshot)
    ledger = document["ledger"]
    disposed = ledger["flagged"] + ledger["cleared"] + ledger["quarantined"]
    assert disposed == document["transactions"] == len(company.strings)
    _holds_evidence(company, document)
    with Store.open(f"sqlite:///{tmp_path / 'data' / 'audit.sqlite'}") as store:
        for flag in store.flags()[::SHOWN_EVERY]:
            assert _safe(_shown_by_itself(store, flag.flag_id))


@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.parametrize("wants", [everywhere, in_words], ids=lambda wants: wants.__name__)
def test_an_audit_into_postgres(
    command: Command,
    tmp_path: Path,
    postgres_url: str,
    monkeypatch: pytest.MonkeyPatch,
    wants: corpora.Wants,
) -> None:
    """The flags of both databases are the same to the byte."""
    company = NaughtyCompany(corpora.naughty_strings(), wants)
    _, first = _audit(command, company, tmp_path / "sqlite")
    place = environment.Workplace(tmp_path / "postgres", tmp_path / "sqlite" / "gold")
    place = replace(place, environment={"AUDIT_STORE_URL": postgres_url})
    with place.instance() as instance:
        from_on, to_on = (dt.date.fromisoformat(first[name]) for name in ("from", "to"))
        result = place.audit(instance, from_on, to_on)
        assert result.success, environment.why_not(result)
    with Store.open(postgres_url) as store:
        assert report.flag_documents(store.flags(), store) == first["flags"]
        assert all(entry.intact for entry in store.trail())


# ── extracts ────────────────────────────────────────────────────────────────────────────────────


def _csv_rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


@pytest.mark.parametrize("suffix", ["csv", "json"])
def test_scores_of_charges_with_naughty_names(
    command: Command, tmp_path: Path, suffix: str
) -> None:
    """A name arrives to the byte in JSON; in CSV one that is a formula has an apostrophe before."""
    names = [s for s in corpora.naughty_strings() if not corpora.unstorable(s) and s.strip()]
    rows = [
        {
            "id": name,
            "card": name,
            "vendor": name,
            "amount": f"{20 + n % 70}.50",
            "time": f"2025-02-{1 + n % 28:02d}T10:00:00Z",
        }
        for n, name in enumerate(names)
    ]
    charges, out = tmp_path / "charges.json", tmp_path / f"scores.{suffix}"
    charges.write_text(json.dumps(rows))
    ended = command("score", charges, "--out", out)
    assert ended.code == cli.DONE, ended.err
    assert _safe(ended.out + ended.err)
    if suffix == "json":
        assert {row["id"] for row in json.loads(out.read_text(encoding="utf-8"))} == set(names)
        return
    written = {row["id"] for row in _csv_rows(out)}
    assert len(written) == len(names)
    for text in written:
        assert text in names or (text[0] == "'" and text[1:] in names)
        assert text[0] not in "=+-@\t\r" or text.lstrip("+-").replace(".", "", 1).isdigit()
