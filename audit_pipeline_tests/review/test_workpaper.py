"""Workpapers: complete, typed, harmless, the same twice, and recomputable by an outsider."""

import csv
import datetime as dt
import hashlib
import io
import json
import re
import zipfile
from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from openpyxl.cell import Cell
from sqlalchemy import event, insert, update
from starlette.testclient import TestClient

from audit_pipeline.adapters.store.papers import Selection
from audit_pipeline.adapters.store.rows import StoredQuery
from audit_pipeline.adapters.store.schema import COMMENTS, FINDINGS, FLAGS
from audit_pipeline.books import TABLES, Books
from audit_pipeline.cli import main
from audit_pipeline.model.errors import BadUsage, FlagUnknown
from audit_pipeline.model.flag import FlagState
from audit_pipeline.model.query import Query
from audit_pipeline.reperformance import rules_then, warehouse_then
from audit_pipeline.review.paper import CELL_CHARACTERS_MAX, Column, Sheet
from audit_pipeline.review.workpaper import Prepared, Workpaper, workpaper
from audit_pipeline.review.workpaper_file import written
from audit_pipeline.review.workpaper_pdf import pdf
from audit_pipeline_tests import corpora
from audit_pipeline_tests.review.reviewed import NOW, Reviewed
from audit_pipeline_tests.small_company import AUDIT_FROM, AUDIT_TO

pytestmark = pytest.mark.slow

PREPARED = Prepared("olga", NOW)
PERIOD = Selection(AUDIT_FROM, AUDIT_TO)
PAYLOADS = (
    "=1+1",
    '=HYPERLINK("http://evil.example","click")',
    "=cmd|' /C calc'!A0",
    "+1+1",
    "-2+3",
    "@SUM(A1:A9)",
    "\t=1+1",
    "\r=1+1",
    "{=1+1}",
    "＝1+1",
    "http://evil.example/",
    "internal:'Flags'!A1",
    "file:///etc/hosts",
    "007",
    "1e5",
    "_x0041_",
    "'quoted",
)


def paper_of(reviewed: Reviewed, asked: Selection = PERIOD) -> Workpaper:
    return workpaper(reviewed.store, reviewed.place.settings, asked, PREPARED)


def book_of(paper: Workpaper) -> dict[str, list[list[Cell]]]:
    """Sheet name → rows of cells, the header first, as a reader of the file finds them."""
    book = openpyxl.load_workbook(io.BytesIO(written(paper, "xlsx")))
    return {sheet.title: [list(row) for row in sheet.iter_rows()] for sheet in book.worksheets}  # type: ignore[misc]


def rows_of(book: dict[str, list[list[Cell]]], name: str) -> list[dict[str, Any]]:
    header, *rows = book[name]
    names = [str(cell.value) for cell in header]
    return [dict(zip(names, (cell.value for cell in row), strict=True)) for row in rows]


def spelt(cell: Cell) -> str:
    """As the paper tells an outsider to spell a cell, from the file alone."""
    value: Any = cell.value
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, dt.datetime):
        if "h" not in cell.number_format:
            return value.date().isoformat()
        return value.strftime("%Y-%m-%dT%H:%M:%SZ")
    return f"{Decimal(repr(value)).normalize():f}"


def digest_of(rows: Iterable[Iterable[str]]) -> str:
    lines = (
        json.dumps(list(row), ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        for row in rows
    )
    return hashlib.sha256(b"".join(lines)).hexdigest()


def test_the_manifest_recomputes_from_each_file(reviewed: Reviewed):
    """From the spreadsheet and from the CSV files alone, by the rule that is on the cover."""
    paper = paper_of(reviewed)
    book = book_of(paper)
    listed = {row["sheet"]: row["SHA-256"] for row in rows_of(book, "Manifest")}
    assert set(listed) == {*book} - {"Manifest"} | {"the paper"}
    lines = ""
    for name, rows in book.items():
        if name != "Manifest":
            assert digest_of([spelt(cell) for cell in row] for row in rows) == listed[name], name
            lines += f"{name} {listed[name]}\n"
    assert hashlib.sha256(lines.encode()).hexdigest() == listed["the paper"] == paper.sha256
    with zipfile.ZipFile(io.BytesIO(written(paper, "csv"))) as archive:
        assert set(archive.namelist()) == {f"{name}.csv" for name in book}
        for name in {*book} - {"Manifest"}:
            text = archive.read(f"{name}.csv").decode("utf-8-sig")
            found = csv.reader(io.StringIO(text, newline=""))
            bare = [[field.removeprefix("'") for field in row] for row in found]
            assert digest_of(bare) == listed[name], name


def test_a_changed_cell_changes_the_manifest():
    columns = (Column("a"), Column("b"))
    one = Sheet.of("s", columns, [("x", Decimal("12.50"))])
    assert one.sha256 == Sheet.of("s", columns, [("x", Decimal("12.5"))]).sha256
    for other in ([("x", Decimal("12.51"))], [("y", Decimal("12.50"))], []):
        assert Sheet.of("s", columns, other).sha256 != one.sha256


def test_the_totals_add_up_and_are_those_of_the_ledger(reviewed: Reviewed):
    book = book_of(paper_of(reviewed))
    *days, total = rows_of(book, "Population")
    ledger = reviewed.store.partitions()
    assert [row["day"].date() for row in days] == [day.audit_on for day in ledger]
    for column, name in (("received", "transactions"), ("received amount", "amount")):
        sums = sum(Decimal(str(row[column])) for row in days)
        assert Decimal(str(total[column])) == sums == sum(getattr(day, name) for day in ledger)
    for row in (*days, total):
        assert row["received"] == row["flagged"] + row["cleared"] + row["quarantined"]
        assert row["difference"] == row["difference amount"] == 0
    cover = {row["item"]: row["said"] for row in rows_of(book, "Cover")}
    assert cover["sum check"].endswith("on each of 30 days")
    assert cover["received"] == sum(day.transactions for day in ledger)
    assert len(rows_of(book, "Exclusions")) == total["quarantined"] == 3
    assert {row["reason"] for row in rows_of(book, "Exclusions")} >= {"no vendor", "not a number"}


def test_a_ledger_that_does_not_add_up_is_shown(reviewed: Reviewed):
    [day, *_] = reviewed.store.partitions()
    with reviewed.store.writing() as writer:
        writer.put_partitions([replace(day, cleared=day.cleared + 1)])
    paper = paper_of(reviewed)
    assert ("sum check", "1 of 30 days DO NOT add up; see the sheet Population") in (
        paper["Cover"].rows
    )
    assert paper["Population"].rows[0][10] == -1


def test_flags_have_their_types_and_their_score_adds_up(reviewed: Reviewed):
    book = book_of(paper_of(reviewed))
    flags = {row["flag id"]: row for row in rows_of(book, "Flags")}
    stored = reviewed.store.flags(state=None)
    assert [*flags] == [flag.flag_id for flag in stored]
    for flag in stored:
        row = flags[flag.flag_id]
        assert (row["vendor"] or "") == flag.vendor
        assert row["date"] is None or row["date"].date() == flag.occurred_on
        if flag.amount_cents is not None:
            assert isinstance(row["amount"], int | float)
            assert Decimal(str(row["amount"])) * 100 == flag.amount_cents
        assert row["score"] == row["sum of parts"] == flag.severity_score
        parts = [one for one in rows_of(book, "Score parts") if one["flag id"] == flag.flag_id]
        assert sum(one["points"] for one in parts) == row["score"]
    for name in ("Findings", "Evidence"):
        assert {row["flag id"] for row in rows_of(book, name)} == {*flags}
    queries = {row["query id"] for row in rows_of(book, "Queries")}
    asked = {row["query id"] for row in rows_of(book, "Findings")} - {None}
    assert queries == asked


def test_what_people_said_is_there(reviewed: Reviewed):
    book = book_of(paper_of(reviewed))
    flags = {row["flag id"]: row for row in rows_of(book, "Flags")}
    said = {row["flag id"]: row for row in rows_of(book, "Decisions")}
    assert len(said) == 4
    decided = flags[reviewed.decided.flag_id]
    assert (decided["state"], decided["decision"]) == ("decided", "rejected")
    assert (decided["decided by"], decided["second person"]) == ("ann", "edna")
    assert decided["decided at (UTC)"] == NOW.replace(tzinfo=None)
    stands = {identity: row["stands"] for identity, row in said.items()}
    assert stands == {
        reviewed.decided.flag_id: "yes",
        reviewed.refused.flag_id: "no",
        reviewed.wrong.flag_id: "yes",
        reviewed.withdrawn.flag_id: "no",
    }
    assert said[reviewed.refused.flag_id]["agrees"] == "no"
    assert said[reviewed.withdrawn.flag_id]["withdrawn by"] == "ben"
    for flag in (reviewed.refused, reviewed.withdrawn):
        assert flags[flag.flag_id]["reason"] is None
    [comment] = rows_of(book, "Comments")
    assert (comment["author"], comment["comment"]) == ("ann", "see the receipt\nof March")


def test_the_trail_is_named(reviewed: Reviewed):
    """The last checkpoint as it lies outside, and where the runs' entries are."""
    rows = rows_of(book_of(paper_of(reviewed)), "Trail")
    last = reviewed.store.checkpoints()[-1]
    said = {row["item"]: row["said"] for row in rows}
    assert (said["root hash"], said["key id"]) == (last.root_hash, last.key_id)
    note = reviewed.place.settings.trail_dir / f"{last.tree_size:020}.checkpoint"
    assert said["checkpoint file"] == note.read_text()
    [run] = [row for row in rows if row["item"] == "audit run"]
    entries = [
        entry.log_sequence_number for entry in reviewed.store.trail(audit_run_id=run["said"])
    ]
    assert (run["first entry"], run["last entry"]) == (entries[0], entries[-1])
    assert run["entries"] == len(entries)


def test_no_text_is_ever_a_formula_a_number_or_a_link(reviewed: Reviewed):
    texts = [*PAYLOADS, *corpora.naughty_strings()]
    flag = reviewed.wrong.flag_id
    evidence = [
        {"name": "memo", "source": "gold.t.memo", "row_id": text, "value": text} for text in texts
    ]
    with reviewed.store.writing() as writer:
        writer.connection.execute(
            insert(COMMENTS),
            [
                {
                    "comment_id": f"{number:036}",
                    "flag_id": flag,
                    "author_id": "ann",
                    "said_at": NOW + dt.timedelta(seconds=number),
                    "body": text,
                }
                for number, text in enumerate(texts)
            ],
        )
        of_flag = FINDINGS.c.flag_id == flag
        writer.connection.execute(
            update(FINDINGS).where(of_flag).values(evidence=json.dumps(evidence))
        )
        ids = [row.flag_id for row in reviewed.store.flags(state=None)]
        for identity, text in zip(ids, PAYLOADS, strict=False):
            writer.connection.execute(
                update(FLAGS)
                .where(FLAGS.c.flag_id == identity)
                .values(vendor=text, cardholder=text, explanation=text)
            )
    paper = paper_of(reviewed)
    content = written(paper, "xlsx")
    with zipfile.ZipFile(io.BytesIO(content)) as package:
        for name in package.namelist():
            markup = package.read(name).decode()
            assert not re.search(r"<f[ >]|<hyperlink|TargetMode", markup), name
    book = openpyxl.load_workbook(io.BytesIO(content))
    for sheet in book.worksheets:
        for row in sheet.iter_rows():
            for cell in row:
                assert cell.data_type != "f"
                assert cell.hyperlink is None
    seen = {str(row["comment"]) for row in rows_of(book_of(paper), "Comments")}
    for text in PAYLOADS:
        assert text.lstrip("\t\r") in {words.lstrip(" \n") for words in seen}, text
    with zipfile.ZipFile(io.BytesIO(written(paper, "csv"))) as archive:
        for name in archive.namelist():
            for fields in csv.reader(io.StringIO(archive.read(name).decode("utf-8-sig"))):
                for field in fields:
                    is_number = re.fullmatch(r"-?\d+(\.\d+)?", field)
                    assert is_number or not re.match(r"[=+\-@\t\r]", field), field


def test_long_text_is_cut_with_a_note_and_numbers_stay_exact():
    long = "🧾" * CELL_CHARACTERS_MAX
    [[cut, digits, cents, hidden]] = Sheet.of(
        "s",
        [Column(name) for name in "abcd"],
        [(long, Decimal("12345678901234567.89"), Decimal("1234567890123.45"), "a\x00b\u202ec\td")],
    ).rows
    assert isinstance(cut, str)
    assert len(cut.encode("utf-16-le")) // 2 <= CELL_CHARACTERS_MAX
    assert cut.endswith(
        f"… [cut here; 32,767 characters in all, "
        f"SHA-256 {hashlib.sha256(long.encode()).hexdigest()}]"
    )
    assert digits == "12345678901234567.89"
    assert cents == Decimal("1234567890123.45")
    assert hidden == "a\ufffdb\ufffdc d"
    short = "x" * CELL_CHARACTERS_MAX
    assert Sheet.of("s", [Column("a")], [(short,)]).rows == ((short,),)


def test_the_same_store_gives_the_same_bytes(reviewed: Reviewed):
    """Apart from the moment, which the cover states and every format carries."""
    one, again = paper_of(reviewed), paper_of(reviewed)
    later = workpaper(
        reviewed.store,
        reviewed.place.settings,
        PERIOD,
        Prepared("olga", NOW + dt.timedelta(days=1)),
    )
    for form in ("xlsx", "pdf", "csv"):
        assert written(one, form) == written(again, form)
        assert written(one, form) != written(later, form)
    changed = [
        here.name
        for here, there in zip(one.sheets, later.sheets, strict=True)
        if here.rows != there.rows
    ]
    assert changed == ["Cover", "Manifest"]


def words_of(document: bytes) -> str:
    """The text that an uncompressed PDF shows, its lines joined by line feeds."""
    shown = re.findall(rb"\(((?:[^()\\]|\\.)*)\) Tj", document, re.DOTALL)
    return "\n".join(
        re.sub(rb"\\(.)", rb"\1", text, flags=re.DOTALL).decode("latin-1") for text in shown
    )


def test_the_pdf_has_the_totals_each_flag_and_the_digests(reviewed: Reviewed):
    paper = paper_of(reviewed)
    document = pdf(paper, is_compressed=False)
    words = words_of(document)
    days = reviewed.store.partitions()
    assert f"{sum(day.transactions for day in days):,}" in words.splitlines()
    for name in ("amount", "flagged_amount", "cleared_amount", "quarantined_amount"):
        assert f"{sum(getattr(day, name) for day in days):,.2f}" in words.splitlines()
    for flag in reviewed.store.flags(state=None):
        assert flag.flag_id in words
    for sheet in paper.sheets[:-1]:
        assert sheet.sha256 in words
    pages = len(re.findall(rb"/Type /Page\b", document))
    assert f"Page 1 of {pages}" in words
    assert f"Page {pages} of {pages}" in words
    assert pages > 3


def test_the_pdf_leaves_no_text_out(reviewed: Reviewed):
    """A text of many pages is whole; letters that the font lacks are spelt out."""
    marks = [f"word{number:05}" for number in range(3_000)]
    body = " ".join(marks) + " 漢字 łódź " + "x" * 500
    with reviewed.store.writing() as writer:
        writer.connection.execute(
            insert(COMMENTS).values(
                comment_id=f"{1:036}",
                flag_id=reviewed.wrong.flag_id,
                author_id="ann",
                said_at=NOW,
                body=body,
            )
        )
    words = words_of(pdf(paper_of(reviewed), is_compressed=False))
    assert re.findall(r"word\d{5}", words) == marks
    assert "[U+6F22][U+5B57]" in words
    assert "[U+017A]" in words
    assert words.replace("\n", "").count("x" * 500) == 1


def test_an_outsider_reperforms_every_finding(reviewed: Reviewed):
    """The sheets' SQL and parameters, run on the named snapshot, measure what the sheets say."""
    book = book_of(paper_of(reviewed))
    findings, asked = rows_of(book, "Findings"), rows_of(book, "Queries")
    [(snapshot, read_text)] = {(row["snapshot"], row["read"]) for row in asked}
    read = json.loads(read_text)
    settings, compared = reviewed.place.settings, 0
    of_all = StoredQuery("", "", "", {}, snapshot, read)
    days = [dt.date.fromisoformat(read[name]) for name in ("from_on", "to_on")]
    with closing(warehouse_then(settings, of_all, read)) as warehouse:
        books = Books(warehouse, rules_then(settings, read), days[0], days[1])
        for row in asked:
            books.need(*(name for name in TABLES if f"audit.{name}" in row["SQL"]))
            measured = {
                (hit["transaction_id"], hit["audit_on"]): (hit["measured"], hit["threshold"])
                for hit in warehouse.rows(Query(row["SQL"], bound(json.loads(row["parameters"]))))
            }
            for finding in findings:
                if finding["query id"] == row["query id"]:
                    key = (finding["transaction"], finding["day"].date())
                    said = (Decimal(str(finding["measured"])), Decimal(str(finding["threshold"])))
                    assert measured[key] == said
                    compared += 1
    assert compared == sum(finding["query id"] is not None for finding in findings) > 30


def bound(parameters: Any) -> dict[str, Any]:
    """Days and exact numbers stand as texts in the sheet."""
    return {
        name: value
        if name == "holidays" or not isinstance(value, str)
        else dt.date.fromisoformat(value)
        if name.endswith("_on")
        else Decimal(value)
        for name, value in parameters.items()
    }


def test_a_selection_of_flags(reviewed: Reviewed):
    ids = (reviewed.decided.flag_id, reviewed.wrong.flag_id)
    paper = paper_of(reviewed, Selection(flag_ids=(*ids, ids[0])))
    assert {row[0] for row in paper["Flags"].rows} == {*ids}
    days = sorted((reviewed.decided.audit_on, reviewed.wrong.audit_on))
    assert [paper.from_on, paper.to_on] == days
    assert {row[0] for row in paper["Findings"].rows} == {*ids}
    with pytest.raises(FlagUnknown, match="there is no flag 0000"):
        paper_of(reviewed, Selection(flag_ids=("0000", ids[0])))


def test_what_is_asked_for_has_to_make_sense(reviewed: Reviewed):
    with pytest.raises(BadUsage, match="a first and a last day"):
        paper_of(reviewed, Selection(from_on=AUDIT_FROM))
    with pytest.raises(BadUsage, match="before it begins"):
        paper_of(reviewed, Selection(AUDIT_TO, AUDIT_FROM))
    empty = paper_of(reviewed, Selection(dt.date(1999, 1, 1), dt.date(1999, 1, 2)))
    assert empty.flags == 0
    for form in ("xlsx", "pdf", "csv"):
        assert written(empty, form)


def test_superseded_flags_are_in_the_paper(reviewed: Reviewed):
    with reviewed.store.writing() as writer:
        writer.connection.execute(
            update(FLAGS)
            .where(FLAGS.c.flag_id == reviewed.refused.flag_id)
            .values(state=FlagState.SUPERSEDED.value)
        )
    states = {row[0]: row[5] for row in paper_of(reviewed)["Flags"].rows}
    assert states[reviewed.refused.flag_id] == "superseded"


def test_few_statements_however_many_flags(reviewed: Reviewed):
    """Each kind of row is read at once, not flag by flag."""
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("SELECT"):
            seen.append(statement)

    engine = reviewed.store._engine
    event.listen(engine, "before_cursor_execute", note)
    paper_of(reviewed, Selection(flag_ids=(reviewed.wrong.flag_id,)))
    of_one, before = len(seen), len(seen)
    paper_of(reviewed)
    assert len(seen) - before <= of_one + 1 <= 14


# ── handed out ──────────────────────────────────────────────────────────────────────────────────


def exports(reviewed: Reviewed) -> list[Any]:
    return [
        entry.event
        for entry in reviewed.store.trail()
        if entry.event.tool_called == "export_workpaper"
    ]


@pytest.mark.parametrize(("form", "begin"), [("xlsx", b"PK"), ("pdf", b"%PDF-"), ("csv", b"PK")])
def test_the_page_hands_out_a_file_and_the_trail_says_so(
    reviewed: Reviewed, client: TestClient, form: str, begin: bytes
):
    days = {"from": str(AUDIT_FROM), "to": str(AUDIT_TO)}
    answer = client.post("/workpaper", data={**days, "format": form, "purpose": "<b>why</b>"})
    assert answer.status_code == 200
    assert answer.content.startswith(begin)
    assert re.fullmatch(
        r'attachment; filename="workpaper_[0-9-]+_[0-9-]+_[0-9a-f]{8}\.(xlsx|pdf|zip)"',
        answer.headers["content-disposition"],
    )
    [said] = exports(reviewed)
    assert said.agent_name == "reviewer:olga"
    assert said.input_data["format"] == form
    assert said.output_summary["flags"] == 30
    assert said.output_summary["sha256"][:8] in answer.headers["content-disposition"]


def test_the_form_escapes_and_keeps_the_selection(reviewed: Reviewed, client: TestClient):
    ids = [reviewed.decided.flag_id, reviewed.wrong.flag_id]
    page = client.get("/workpaper", params={"flag_id": ids})
    assert page.status_code == 200
    assert all(f'name="flag_id" value="{identity}"' in page.text for identity in ids)
    assert client.get("/workpaper", params={"flag_id": '"><script>'}).status_code == 422
    plain = client.get("/workpaper").text
    assert f'value="{AUDIT_TO}"' in plain
    assert all(script.startswith(' src="/static/') for script in plain.split("<script")[1:])
    assert "style=" not in plain
    assert " on" not in re.sub(r">[^<]*<", "><", plain)


def test_a_program_asks_for_one(reviewed: Reviewed, client: TestClient):
    asked = {"flag_ids": [reviewed.wrong.flag_id], "format": "xlsx"}
    answer = client.post("/api/v1/workpapers", json=asked)
    assert answer.status_code == 200
    book = openpyxl.load_workbook(io.BytesIO(answer.content))
    assert book["Flags"]["A2"].value == reviewed.wrong.flag_id
    assert book["Cover"]["B7"].value == "Olga <Outside> (olga)"
    assert len(exports(reviewed)) == 1


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"from": "2025-03-12"},
        {"from": "2025-03-12", "to": "2025-04-10", "flag_ids": [f"{0:036}"]},
        {"from": "2025-03-12", "to": "2025-04-10", "format": "exe"},
        {"from": "2025-03-12", "to": "2025-04-10", "more": 1},
        {"flag_ids": ["'; DROP TABLE flags"]},
    ],
)
def test_a_program_asks_for_the_impossible(
    reviewed: Reviewed, client: TestClient, asked: dict[str, Any]
):
    assert client.post("/api/v1/workpapers", json=asked).status_code == 422
    assert exports(reviewed) == []


def test_the_command_writes_it_without_the_desk(
    reviewed: Reviewed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
):
    monkeypatch.setenv("AUDIT_DATA_DIR", str(reviewed.place.data_dir))
    out = tmp_path / "paper.xlsx"
    days = ["--from", str(AUDIT_FROM), "--to", str(AUDIT_TO)]
    assert main(["workpaper", *days, "--out", str(out), "--by", "cleo"]) == 0
    said = capsys.readouterr().out
    book = openpyxl.load_workbook(out)
    rows = list(book["Manifest"].iter_rows(values_only=True))
    [entry] = exports(reviewed)
    assert rows[-1][2] == entry.output_summary["sha256"]
    assert str(rows[-1][2]) in said
    assert entry.agent_name == "command_line:cleo"
    assert main(["workpaper", *days, "--out", str(tmp_path / "paper.docx")]) == 2
    assert main(["workpaper", *days, "--out", str(tmp_path / "no" / "paper.pdf")]) == 2
    assert len(exports(reviewed)) == 1
    assert [path.name for path in tmp_path.glob("*.xlsx")] == ["paper.xlsx"]
