"""`audit-pipeline score`: any extract in, a score with reasons for each of its charges out."""

import csv
import datetime as dt
import json
import math
import random
import unicodedata
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audit_pipeline import cli
from audit_pipeline.agents.anomaly_detection.scoring import SIGNALS
from audit_pipeline.agents.anomaly_detection.scoring.hits import FINDINGS
from audit_pipeline.agents.anomaly_detection.scoring.recurring import PATTERNS
from audit_pipeline.score import Scored, Wish, score
from audit_pipeline_tests.environment import Command

Row = dict[str, Any]

START = dt.datetime(2025, 1, 6, tzinfo=dt.UTC)
SAID = ["id", "score", "bits", "rules", "habits", "reasons", "companions"]
HEADER = [*SAID, *(f"{name}_bits" for name in SIGNALS)]


def charges(count: int = 150, *, seed: int = 1, timed: bool = True) -> list[Row]:
    """Three cards with habits at four vendors, and one charge that is not like them."""
    chance = random.Random(seed)
    rows: list[Row] = []
    for n in range(count):
        card, vendor = (
            chance.choice("ABC"),
            chance.choice(["Globex", "Hooli", "Zoë & Söhne", "ACME"]),
        )
        at = START + dt.timedelta(days=chance.randrange(90), hours=chance.choice([9, 10, 15]))
        rows.append({
            "id": f"T{n:03}", "card": f"card {card}", "vendor": vendor,
            "category": "food" if vendor == "ACME" else "office",
            "amount": f"{math.exp(chance.gauss(3, 0.3)):.2f}",
            "time": at.strftime("%Y-%m-%dT%H:%M:%SZ" if timed else "%Y-%m-%d"),
        })  # fmt: skip
    odd = {"id": "ODD", "card": "card A", "vendor": "ACME", "category": "food",
           "amount": "9876.00",
           "time": "2025-03-30T03:12:00Z" if timed else "2025-03-30"}  # fmt: skip
    return [*rows, odd]


def write(path: Path, rows: list[Row]) -> Path:
    if path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, list(rows[0]))
            table.writeheader()
            table.writerows(rows)
    elif path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows), encoding="utf-8")
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def result(path: Path) -> list[Row]:
    readers = {".parquet": "read_parquet", ".json": "read_json", ".jsonl": "read_json"}
    if path.suffix in readers:
        with duckdb.connect() as connection:
            found = connection.sql(f"SELECT * FROM {readers[path.suffix]}('{path}')")
            return found.to_arrow_table().to_pylist()
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def scored(path: Path, rows: list[Row], **wished: Any) -> tuple[Scored, dict[str, Row]]:
    """The summary and id → line of the result, from a folder of its own."""
    path.mkdir()
    out = path / "out.csv"
    outcome = score(Wish(write(path / "in.csv", rows), out, **wished), lambda _: None)
    return outcome, {row["id"]: row for row in result(out)}


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> tuple[Scored, dict[str, Row]]:
    """The charges as they are."""
    return scored(tmp_path_factory.mktemp("usual") / "a", charges())


@pytest.mark.parametrize("suffix", ["csv", "parquet", "json", "jsonl"])
def test_every_kind_of_file(command: Command, tmp_path: Path, suffix: str):
    """In the order of the file, one line a charge; the odd one stands out and says why."""
    rows = charges()
    out, signals = tmp_path / f"out.{suffix}", tmp_path / f"signals.{suffix}"
    ended = command(
        "score", write(tmp_path / f"in.{suffix}", rows), "--out", out, "--signals", signals
    )
    assert ended.code == cli.DONE, ended.err
    found = result(out)
    assert list(found[0]) == HEADER
    assert [row["id"] for row in found] == [row["id"] for row in rows]
    first, second = sorted(found, key=lambda row: -float(row["score"]))[:2]
    assert first["id"] == "ODD"
    assert float(first["score"]) > 60 > float(second["score"])
    assert " %: 9,876.00 spent by card A within a day, where " in first["reasons"]
    assert first["reasons"].split("; ")[0] in ended.out
    assert f"{float(first['score']):.1f}  ODD" in ended.out
    assert "151 charges scored, 0 set aside." in ended.out
    uncounted = result(signals)
    assert list(uncounted[0]) == ["id", *SIGNALS]
    assert [row["id"] for row in uncounted] == [row["id"] for row in rows]
    assert all(math.isfinite(float(row[name])) for row in uncounted for name in SIGNALS)
    assert not list(tmp_path.glob(".*arriving*"))


def test_the_bits_are_the_sum_of_their_parts(usual: tuple[Scored, dict[str, Row]]):
    for row in usual[1].values():
        parts = sum(float(row[f"{name}_bits"]) for name in SIGNALS)
        assert parts == pytest.approx(float(row["bits"]), abs=0.0005 * (len(SIGNALS) + 1))


@pytest.mark.parametrize("timed", [True, False])
def test_the_order_of_the_file_says_nothing(tmp_path: Path, timed: bool):  # noqa: FBT001
    """Neither do its numbers: the same lines in another order have the same scores and reasons."""
    rows = charges(200, seed=3, timed=timed)
    rows += [{**rows[n], "id": f"again {n}"} for n in range(0, 60, 6)]
    _, before = scored(tmp_path / "before", rows)
    random.Random(1).shuffle(rows)
    _, after = scored(tmp_path / "after", rows)
    assert after.keys() == before.keys()
    for place, row in before.items():
        for name in ("score", "bits"):
            assert float(after[place][name]) == pytest.approx(float(row[name]), abs=1e-3)
        for name in ("rules", "habits", "companions"):
            assert after[place][name] == row[name]


def test_a_second_time_says_the_same(usual: tuple[Scored, dict[str, Row]], tmp_path: Path):
    once, first = usual
    again, second = scored(tmp_path / "again", charges())
    assert first == second
    assert once.as_json().keys() == again.as_json().keys()
    assert once.top == again.top


def test_names_of_columns_and_several_joined(
    usual: tuple[Scored, dict[str, Row]], command: Command, tmp_path: Path
):
    rows = [
        {"Nr": r["id"], "Region": r["card"][:4], "Holder": r["card"][5:], "Shop": r["vendor"],
         "Sum": r["amount"], "When": r["time"], "cat": r["category"]}
        for r in charges()
    ]  # fmt: skip
    mapping = ["id=Nr", "entity=Region,Holder", "vendor=Shop", "amount=Sum", "time=When"]
    out = tmp_path / "out.csv"
    ended = command(
        "score", write(tmp_path / "in.csv", rows), "--out", out,
        *(word for one in mapping for word in ("--map", one)),
    )  # fmt: skip
    assert ended.code == cli.DONE, ended.err
    odd = result(out)[-1]
    assert "card A" in odd["reasons"]
    assert {name: odd[name] for name in HEADER} == usual[1]["ODD"]


def test_without_a_category(tmp_path: Path):
    rows = [{k: v for k, v in row.items() if k != "category"} for row in charges()]
    _, found = scored(tmp_path / "a", rows)
    assert max(found.values(), key=lambda row: float(row["score"]))["id"] == "ODD"
    assert found["ODD"]["category_entity_bits"] in ("0", "0.0")


def test_the_limit_of_an_approval(tmp_path: Path):
    parts = [
        {"id": f"P{n}", "card": "card B", "vendor": "Hooli", "category": "office",
         "amount": f"{480 + n}.37", "time": f"2025-02-1{n}T09:00:00Z"}
        for n in range(3)
    ]  # fmt: skip
    for limit, expected in ((500.0, "split"), (2_500.0, "")):
        _, found = scored(tmp_path / f"{limit}", charges() + parts, limit=limit)
        for n in range(3):
            assert found[f"P{n}"]["rules"] == expected
            assert ("500.00" in found[f"P{n}"]["reasons"]) == bool(expected)


def test_a_habit_is_no_rule(tmp_path: Path):
    """A vendor that always asks the same price repeats itself; twice of another price is a find."""
    fees = [
        {**charges()[0], "id": f"F{n}", "vendor": "Parking", "amount": "12.00",
         "time": f"2025-02-{n + 1:02}T09:00:00Z"}
        for n in range(20)
    ]  # fmt: skip
    twice = [{**charges()[3], "id": f"D{n}"} for n in range(2)]
    _, found = scored(tmp_path / "a", charges() + fees + twice)
    for place, said in {"F3": ("", "duplicate"), "D1": ("duplicate", "")}.items():
        assert (found[place]["rules"], found[place]["habits"]) == said


def bought(name: str, vendor: str, lines: list[tuple[int, float]]) -> list[Row]:
    """A card's charges at a vendor, by day and amount."""
    return [
        {"id": f"{name}{n}", "card": "card A", "vendor": vendor, "category": "office",
         "amount": f"{amount:.2f}", "time": (START + dt.timedelta(days=day)).isoformat()}
        for n, (day, amount) in enumerate(lines)
    ]  # fmt: skip


def test_what_is_found_is_no_evidence_against_itself(tmp_path: Path):
    """Three parts of one purchase, or a charge sent thrice, at a vendor that has nothing else."""
    parts = bought("P", "Once", [(40, 470.13), (40, 455.27), (41, 461.39)])
    copies = bought("C", "Thrice", [(50, 83.17), (51, 83.17), (54, 83.17)])
    _, found = scored(tmp_path / "a", charges() + parts + copies, limit=500.0)
    assert {found[row["id"]]["rules"] for row in parts} == {"split"}
    assert {found[row["id"]]["rules"] for row in copies} == {"duplicate"}


def test_a_charge_that_comes_daily_is_a_price(tmp_path: Path):
    """A vendor's first week speaks for a habit too, if all of its charges are alike."""
    daily = bought("D", "Canteen", [(50 + n, 83.17) for n in range(8)])
    _, found = scored(tmp_path / "a", charges() + daily)
    assert {(found[row["id"]]["rules"], found[row["id"]]["habits"]) for row in daily} == {
        ("", "duplicate")
    }


def test_an_amount_that_is_usual_elsewhere_is_still_a_repeat(tmp_path: Path):
    """A yearly fee is the same for all; whoever pays it twice within days paid it twice."""
    fees = [
        {**row, "card": f"card {n}"}
        for n, row in enumerate(bought("F", "Club", [(n, 79.0) for n in range(40)]))
    ]
    twice = {**fees[7], "id": "again", "time": (START + dt.timedelta(days=9)).isoformat()}
    _, found = scored(tmp_path / "a", [*charges(), *fees, twice])
    assert {place for place, row in found.items() if row["rules"]} == {"F7", "again"}
    assert not any(row["habits"] for row in found.values())


def test_the_largest_parts_where_splits_are_a_habit(tmp_path: Path):
    """Rooms are booked two at a time; two charges just below the limit are made among them."""
    rooms = bought("R", "Hotel", [(3 * (n // 2), 251.07 + n % 2) for n in range(60)])
    cut = bought("S", "Hotel", [(42, 489.13), (43, 477.31)])
    _, found = scored(tmp_path / "a", charges(600) + rooms + cut, limit=500.0)
    for which, lines in (("habits", rooms), ("rules", cut)):
        told = {place for place, row in found.items() if "split" in row[which].split(", ")}
        assert told == {row["id"] for row in lines}


def test_a_summary_to_pipe(command: Command, tmp_path: Path):
    again = [{**charges()[3], "id": "again"}]
    ended = command(
        "score", write(tmp_path / "in.csv", charges() + again), "--out", tmp_path / "out.csv",
        "--json", "-",
    )  # fmt: skip
    summary = json.loads(ended.out)
    assert summary.keys() == {"rows", "rejected", "above", "patterns", "benford", "seconds"}
    assert (summary["rows"], summary["rejected"]) == (152, 0)
    assert summary["patterns"] == {**dict.fromkeys((*FINDINGS, *PATTERNS), 0), "duplicate": 2}
    assert summary["seconds"].keys() == {"read", "score", "write"}
    assert "152 charges scored" in ended.err
    assert "Too few charges for Benford (" in ended.err
    assert summary["benford"]["first_digit"] is None


def test_the_first_digits_of_all_amounts(command: Command, tmp_path: Path):
    """They raise no score and name no charge; a vendor's name is text and nothing else."""
    name = "[red]Globex\x1b[31m"
    rows = charges(600)
    for n, row in enumerate(rows):
        row |= {"vendor": name, "amount": f"{90 + n % 10}.50"}
    file, out = write(tmp_path / "in.csv", rows), tmp_path / "out.csv"
    ended = command("score", file, "--out", out, "--json", tmp_path / "summary.json")
    assert ended.code == cli.DONE, ended.err
    said = " ".join(ended.out.split())
    assert "Benford, first digit of 601 amounts from 10.00: nonconformity" in said
    assert "too frequent: 9 (100.0 % for 4.6 %)" in said
    assert "a question, not a finding" in said
    assert "1 do not conform, the furthest off: vendor [red]Globex" in said
    assert "\x1b[31m" not in ended.out
    summary = json.loads((tmp_path / "summary.json").read_text())["benford"]
    assert summary["first_digit"]["conformity"] == "nonconformity"
    assert summary["first_two_digits"] is None
    assert [(part["by"], part["name"]) for part in summary["parts"]] == [("vendor", name)]
    assert {row["rules"] for row in result(out)} <= {"", "duplicate"}


def test_documents_are_looked_at_where_there_are_any(command: Command, tmp_path: Path):
    """They are named beside the other patterns, and no score, bit or reason changes by them."""
    again, other = {**charges()[3], "id": "again"}, {**charges()[7], "id": "other"}
    rows = [*charges(), again, other | {"vendor": "Initech"}]
    _, before = scored(tmp_path / "without", rows)
    for n, row in enumerate(rows):
        row |= {"Rechnung": f"R-{1_000 + 10 * n}", "payee_account": f"DE {row['vendor']} 5"}
    rows[-2]["Rechnung"] = f"r {rows[3]['Rechnung'][2:]}."
    rows[-1]["payee_account"], rows[9]["payee_account"] = "DE G 7", "de g 7"
    _, after = scored(tmp_path / "with", rows, mapping={"invoice": ["Rechnung"]})
    assert {name: {**row, "rules": ""} for name, row in after.items()} == {
        name: {**row, "rules": ""} for name, row in before.items()
    }
    file, out = write(tmp_path / "in.csv", rows), tmp_path / "out.csv"
    ended = command("score", file, "--out", out, "--map", "invoice=Rechnung", "--json", "-")
    assert ended.code == cli.DONE, ended.err
    found = {row["id"]: row["rules"] for row in result(out)}
    assert found[rows[3]["id"]] == found["again"] == "duplicate, invoice_again"
    assert found[rows[9]["id"]] == found["other"] == "account_shared"
    patterns = json.loads(ended.out)["patterns"]
    assert patterns.keys() == {
        *FINDINGS,
        *PATTERNS,
        "invoice_again",
        "invoice_run",
        "account_shared",
    }
    assert (patterns["invoice_again"], patterns["account_shared"]) == (2, 2)
    assert "2 invoice again" in " ".join(ended.err.split())


def test_what_cannot_be_read_stands_at_the_end(command: Command, tmp_path: Path):
    bad = [
        {**charges()[0], "id": "no amount", "amount": "lots"},
        {**charges()[0], "id": "no time", "time": ""},
        {**charges()[0], "id": "", "amount": "1e400"},
    ]
    out = tmp_path / "out.csv"
    ended = command("score", write(tmp_path / "in.csv", bad + charges()), "--out", out)
    assert ended.code == cli.DONE, ended.err
    assert "151 charges scored, 3 set aside." in ended.out
    found = result(out)
    assert {row["id"] for row in found[151:]} == {"no amount", "no time", ""}
    for row in found[151:]:
        assert row["reasons"].startswith("set aside: ")
        assert not any(row[name] for name in HEADER if name not in ("id", "reasons"))
    assert all(row["score"] for row in found[:151])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["gone.csv"], "gone.csv"),
        (["a.txt"], "must end in"),
        (["--out", "out.xlsx"], "must end in"),
        (["--signals", "out.xlsx"], "must end in"),
        (["--map", "entity=Nothing"], "say --map entity=COLUMN"),
        (["--map", "colour=x"], "'colour=x' is not like entity=card_number"),
        (["--map", "entity="], "is not like"),
        (["other.csv"], "which column is the entity? It has id, payer name; say --map entity="),
        (["--limit", "0"], "not an amount above 0"),
        (["--limit", "inf"], "not an amount above 0"),
        (["--limit", "nan"], "not an amount above 0"),
        (["--limit", "ten"], "not an amount above 0"),
        (["--out", "nowhere/out.csv"], "cannot write"),
        (["--signals", "nowhere/out.csv"], "cannot write"),
        (["--out", "folder.csv"], "cannot write"),
        (["--out", "in.csv"], "must be different files"),
        (["--signals", "out.csv"], "must be different files"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_remedy(
    command: Command, tmp_path: Path, arguments: list[str], said: str
):
    write(tmp_path / "in.csv", charges(20))
    write(tmp_path / "other.csv", [{"id": "1", "payer name": "x"}])
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "folder.csv").mkdir()
    words: dict[str, str] = {"--out": "out.csv"}
    file = arguments[0] if len(arguments) == 1 else "in.csv"
    if len(arguments) == 2:
        words[arguments[0]] = arguments[1]
    ended = command(
        "score", tmp_path / file,
        *(w for key, value in words.items()
          for w in (key, tmp_path / value if key in ("--out", "--signals") else value)),
    )  # fmt: skip
    assert ended.code == cli.BAD_INPUT
    assert said in ended.err
    assert "Traceback" not in ended.err
    assert not list(tmp_path.glob(".*arriving*"))


@pytest.mark.parametrize("content", ["", "\x00\x01", "a,b\n1,2\n", '"id,card\n1', "[1, 2", "{}"])
@pytest.mark.parametrize("suffix", ["csv", "json", "jsonl", "parquet"])
def test_a_bad_file(command: Command, tmp_path: Path, suffix: str, content: str):
    (tmp_path / f"in.{suffix}").write_text(content)
    ended = command("score", tmp_path / f"in.{suffix}", "--out", tmp_path / "out.csv")
    assert ended.code == cli.BAD_INPUT
    assert f"in.{suffix}" in ended.err
    assert "Traceback" not in ended.err
    assert not (tmp_path / "out.csv").exists()


def test_a_file_without_charges(command: Command, tmp_path: Path):
    (tmp_path / "in.csv").write_text("id,card,vendor,category,amount,time\n")
    ended = command("score", tmp_path / "in.csv", "--out", tmp_path / "out.csv", "--json", "-")
    assert ended.code == cli.DONE, ended.err
    assert json.loads(ended.out)["rows"] == 0
    assert (tmp_path / "out.csv").read_text().split() == [",".join(HEADER)]


@pytest.mark.parametrize("count", [1, 2])
def test_few_charges(tmp_path: Path, count: int):
    _, found = scored(tmp_path / "a", charges()[-count:])
    assert len(found) == count
    assert all(0 <= float(row["score"]) <= 100 for row in found.values())


HOSTILE = (
    "'; DROP TABLE audit.scored; --", 'say "hi"', "two\nlines", "bell\x07\x1b[31mred",
    "\x85\x9b",
    "=cmd|' /C calc'!A0", "+1+1", "-2", "@SUM(1)", "\u202egnp.exe\u202c", "{}{:,.2f}",
    "%s; 99 %: x",
    "\\", "", " ", "x" * 5_000, "🧾\u200d🧾",
)  # fmt: skip


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_hostile_names_do_no_harm(command: Command, tmp_path: Path, suffix: str):
    """They are text and nothing else; reasons name them without control characters, in short."""
    odd = charges()[-1]
    rows = charges() + [
        {**odd, "id": f"{n} {text}", "card": text, "vendor": text, "category": text,
         "amount": f"{5_000 + n}.11"}
        for n, text in enumerate(HOSTILE)
    ]  # fmt: skip
    out = tmp_path / "out.json"
    ended = command("score", write(tmp_path / f"in.{suffix}", rows), "--out", out)
    assert ended.code == cli.DONE, ended.err
    assert "\x1b[31m" not in ended.out
    found = [row for row in result(out) if row["score"] is not None]
    named = [row["reasons"] for row in found if row["reasons"]]
    assert len(named) >= 5
    for text in named:
        assert not [sign for sign in text if unicodedata.category(sign) == "Cc"]
        assert len(text) < 1_000


def test_a_spreadsheet_runs_no_id_of_a_csv(tmp_path: Path):
    """It is told to take it as text; an id that is a number stays one."""
    rows = [*charges(), {**charges()[-1], "id": "=1+1", "card": "=1+1", "amount": "8000"}]
    rows += [{**charges()[-1], "id": "@x", "amount": "=1"}, {**charges()[0], "id": "-12"}]
    _, found = scored(tmp_path / "a", rows)
    assert found.keys() == {*(row["id"] for row in charges()), "'=1+1", "'@x", "-12"}
    assert found["'=1+1"]["reasons"][0].isdigit()
    assert found["'@x"]["reasons"].startswith("set aside: ")
    assert {row["reasons"][:1] for row in found.values()} <= {"", "s", *"0123456789"}
