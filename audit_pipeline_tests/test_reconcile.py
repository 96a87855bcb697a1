"""`audit-pipeline reconcile`: any two extracts, by hand and by the thousand."""

import csv
import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit_pipeline import cli
from audit_pipeline.reconcile import Wish, reconcile
from audit_pipeline_tests.bank_ledger import make
from audit_pipeline_tests.environment import Command

Row = dict[str, Any]

LEDGER: list[Row] = [
    {"id": "L1", "date": "2025-03-01", "amount": "120.50", "description": "Globex Corporation"},
    {"id": "L2", "date": "2025-03-02", "amount": "75.00", "description": "Initech invoice 881"},
    {"id": "L3", "date": "2025-03-03", "amount": "19.99", "description": "Hooli storage"},
    {"id": "L4", "date": "2025-03-04", "amount": "640.00", "description": "Umbrella Labs"},
]
BANK: list[Row] = [
    {"id": "B1", "date": "2025-03-02", "amount": "120.50", "description": "ACH GLOBEX CORPORATION"},
    {"id": "B2", "date": "2025-03-04", "amount": "75.00", "description": "INITECH INVOICE 881"},
    {"id": "B3", "date": "2025-03-05", "amount": "19.99", "description": "HOOLI STORAGE"},
    {"id": "B9", "date": "2025-03-20", "amount": "8.00", "description": "MONTHLY FEE"},
]


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
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def matched(rows: list[Row]) -> set[tuple[str, str]]:
    return {(r["left_id"], r["right_id"]) for r in rows if r["left_id"] and r["right_id"]}


@pytest.mark.parametrize("suffix", ["csv", "parquet", "json", "jsonl"])
def test_four_lines_against_four(command: Command, tmp_path: Path, suffix: str):
    left = write(tmp_path / f"ledger.{suffix}", LEDGER)
    right = write(tmp_path / f"bank.{suffix}", BANK)
    out = tmp_path / "out.csv"
    ended = command("reconcile", "--left", left, "--right", right, "--out", out)
    assert ended.code == cli.DONE, ended.err
    rows = result(out)
    assert matched(rows) == {("L1", "B1"), ("L2", "B2"), ("L3", "B3")}
    assert {
        (r["kind"], r["left_id"] or r["right_id"]) for r in rows if r["status"] == "unmatched"
    } == {
        ("left_only", "L4"),
        ("right_only", "B9"),
    }
    for row in rows:
        if row["kind"] == "pair":
            terms = sum(float(row[f"{t}_term"]) for t in "prior amount day text boundary".split())
            assert terms == pytest.approx(float(row["score"]), abs=0.01)
    assert "3 pairs" in ended.out or "accepted" in ended.out


@pytest.mark.parametrize("suffix", ["csv", "parquet", "json", "jsonl"])
def test_every_kind_of_result(command: Command, tmp_path: Path, suffix: str):
    left, right = write(tmp_path / "a.csv", LEDGER), write(tmp_path / "b.csv", BANK)
    out = tmp_path / f"out.{suffix}"
    ended = command("reconcile", "--left", left, "--right", right, "--out", out, "--json", "-")
    assert ended.code == cli.DONE, ended.err
    assert json.loads(ended.out)["unmatched"] == {"left": 1, "right": 1}
    assert out.stat().st_size
    assert not list(tmp_path.glob(".*arriving*"))


def test_other_names_and_the_other_sign(command: Command, tmp_path: Path):
    left = write(
        tmp_path / "a.csv",
        [{"Nr": r["id"], "Posted": r["date"], "Value": r["amount"], "Who": r["description"],
          "Note": "x"} for r in LEDGER],
    )  # fmt: skip
    right = write(tmp_path / "b.csv", [{**r, "amount": f"-{r['amount']}"} for r in BANK])
    out = tmp_path / "out.csv"
    mapping = ["--map", "left.id=Nr", "--map", "left.text=Who,Note"]
    ended = command("reconcile", "--left", left, "--right", right, "--out", out, *mapping)
    assert ended.code == cli.DONE, ended.err
    assert matched(result(out)) == {("L1", "B1"), ("L2", "B2"), ("L3", "B3")}
    assert "other sign" in ended.out


def test_lines_that_cannot_be_read_are_put_aside(command: Command, tmp_path: Path):
    """An id that a spreadsheet would run as a formula is told to be text."""
    bad = [{**LEDGER[0], "id": "X1", "amount": "lots"}, {**LEDGER[0], "id": "=X2", "date": ""}]
    left, right = write(tmp_path / "a.csv", LEDGER + bad), write(tmp_path / "b.csv", BANK)
    out = tmp_path / "out.csv"
    assert command("reconcile", "--left", left, "--right", right, "--out", out).code == cli.DONE
    rows = {r["left_id"]: r["reason"] for r in result(out) if r["kind"] == "rejected"}
    assert set(rows) == {"X1", "'=X2"}
    assert "amount" in rows["X1"]


def test_a_batch_and_an_offset(command: Command, tmp_path: Path):
    parts = [
        {"id": f"P{n}", "date": "2025-03-05", "amount": amount, "description": "Wayne Supply inv"}
        for n, amount in enumerate(("311.17", "88.41", "1204.93"))
    ]
    void = [
        {"id": "V1", "date": "2025-03-06", "amount": "431.77", "description": "Stark Group"},
        {"id": "V2", "date": "2025-03-08", "amount": "-431.77", "description": "VOID Stark Group"},
    ]
    total = {"id": "BT", "date": "2025-03-06", "amount": "1604.51", "description": "WAYNE SUPPLY"}
    left, right = (
        write(tmp_path / "a.csv", LEDGER + parts + void),
        write(tmp_path / "b.csv", [*BANK, total]),
    )
    out = tmp_path / "out.csv"
    assert command("reconcile", "--left", left, "--right", right, "--out", out).code == cli.DONE
    rows = result(out)
    assert {r["left_id"] for r in rows if r["kind"] == "batch" and r["right_id"] == "BT"} == {
        "P0",
        "P1",
        "P2",
    }
    assert {r["left_id"] for r in rows if r["kind"] == "offset"} == {"V1", "V2"}
    ended = command("reconcile", "--left", left, "--right", right, "--out", out, "--one-to-one")
    assert ended.code == cli.DONE
    assert not [r for r in result(out) if r["kind"] in ("batch", "offset", "tolerant")]


def test_a_batch_takes_a_line_from_an_unsure_pair(tmp_path: Path):
    """A round amount meets another payment of its amount; the cents of the batch know better."""
    left, right = extracts(1_000, 110, tmp_path / "in")
    true = make(1_000, 110).batches["B000752"]
    for one_to_one in (True, False):
        wish = Wish(left, right, tmp_path / "out.csv", one_to_one=one_to_one)
        reconcile(wish, lambda _: None)
        rows = result(tmp_path / "out.csv")
        taken = {(r["left_id"], r["right_id"]) for r in rows if r["left_id"] in true}
        others = {right_id for _, right_id in taken} - {"B000752", ""}
        assert bool(others) == one_to_one
    assert {left_id for left_id, _ in taken} == true


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--left", "gone.csv"], "gone.csv"),
        (["--left", "a.txt"], "must end in"),
        (["--out", "out.xlsx"], "must end in"),
        (["--out", "b.csv"], "must be another file"),
        (["--map", "left.id=Nothing"], "no column 'Nothing'"),
        (["--map", "middle.id=x"], "left.text="),
        (["--map", "left.colour=x"], "left.text="),
        (["--tolerance", "2"], "between 0 and 1"),
        (["--model", "a.csv"], "--save-model"),
        (["--model", "a.csv", "--days-after", "3"], "its own window"),
        (["--out", "nowhere/out.csv"], "cannot write"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_remedy(
    command: Command, tmp_path: Path, arguments: list[str], said: str
):
    write(tmp_path / "a.csv", LEDGER)
    (tmp_path / "a.txt").write_text("x")
    write(tmp_path / "b.csv", BANK)
    given_: dict[str, str] = {"--left": "a.csv", "--right": "b.csv", "--out": "out.csv"}
    pairs = dict(zip(arguments[::2], arguments[1::2], strict=True))
    given_ |= pairs
    words = [
        word
        if word.startswith("--") or key in ("--map", "--tolerance", "--days-after")
        else str(tmp_path / word)
        for key, value in given_.items()
        for word in (key, value)
    ]
    ended = command("reconcile", *words)
    assert ended.code == cli.BAD_INPUT
    assert said in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    "content",
    ["", "id,date,amount\n", "id,date\nx,y\n", "a,b\n1,2\n", "\x00\x01", '"id,date,amount\n1,2'],
)
def test_a_strange_file(command: Command, tmp_path: Path, content: str):
    left = tmp_path / "a.csv"
    left.write_text(content, encoding="utf-8")
    right = write(tmp_path / "b.csv", BANK)
    ended = command("reconcile", "--left", left, "--right", right, "--out", tmp_path / "o.csv")
    assert ended.code in (cli.DONE, cli.BAD_INPUT)
    assert "Traceback" not in ended.err


def extracts(lines: int, seed: int, folder: Path) -> tuple[Path, Path]:
    """Two extracts of the invented bank and ledger, shuffled."""
    made, rng = make(lines, seed), random.Random(seed)
    ledger = [
        {"id": r.id, "date": str(r.on), "description": r.description, "amount": str(r.amount),
         "reference": r.reference} for r in made.ledger
    ]  # fmt: skip
    bank = [
        {"id": r.id, "date": str(r.on), "description": r.description, "amount": str(r.amount)}
        for r in made.bank
    ]
    rng.shuffle(ledger)
    rng.shuffle(bank)
    folder.mkdir(exist_ok=True)
    return write(folder / "ledger.csv", ledger), write(folder / "bank.csv", bank)


def test_the_order_of_the_files_changes_nothing(tmp_path: Path):
    texts: set[str] = set()
    for turn in range(3):
        left, right = extracts(200, 3, tmp_path / "in")
        if turn:
            for path in (left, right):
                head, *rows = path.read_text(encoding="utf-8").splitlines(keepends=True)
                random.Random(turn).shuffle(rows)
                path.write_text(head + "".join(rows), encoding="utf-8")
        reconcile(Wish(left, right, tmp_path / "out.csv"), lambda _: None)
        texts.add((tmp_path / "out.csv").read_text(encoding="utf-8"))
    assert len(texts) == 1


def test_no_line_is_used_twice_and_groups_add_up(tmp_path: Path):
    left, right = extracts(400, 5, tmp_path / "in")
    reconcile(Wish(left, right, tmp_path / "out.csv"), lambda _: None)
    rows = result(tmp_path / "out.csv")
    cents = {
        side: {r["id"]: round(float(r["amount"]) * 100) for r in result(path)}
        for side, path in (("left", left), ("right", right))
    }
    for side in ("left", "right"):
        groups: dict[str, set[str]] = {}
        for number, row in enumerate(rows):
            if row[f"{side}_id"]:
                groups.setdefault(row[f"{side}_id"], set()).add(row["group_id"] or f"row {number}")
        assert all(len(found) == 1 for found in groups.values())
        assert set(groups) == set(cents[side])
    for name in {r["group_id"] for r in rows if r["kind"] == "batch"}:
        members = [r for r in rows if r["group_id"] == name]
        sums = [
            sum(cents[side][i] for i in {r[f"{side}_id"] for r in members})
            for side in ("left", "right")
        ]
        assert sums[0] == sums[1]


def test_a_saved_model_serves_a_single_day(tmp_path: Path):
    left, right = extracts(1_000, 2, tmp_path / "in")
    truth = make(1_000, 2)
    model = tmp_path / "learned.model"
    reconcile(Wish(left, right, tmp_path / "all.csv", save_model=model), lambda _: None)
    day = sorted(r["date"] for r in result(right))[500]
    some = write(tmp_path / "day.csv", [r for r in result(right) if r["date"] == day])
    outcome = reconcile(
        Wish(left, some, tmp_path / "day-out.csv", model=model, one_to_one=True), lambda _: None
    )
    found = {(b, a) for a, b in matched(result(tmp_path / "day-out.csv"))}
    assert outcome.lines["right"] >= 5
    assert len(found & set(truth.pairs)) >= 0.8 * len(found) > 0


def test_many_lines_are_taken_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Blocks of days find what one go finds, but for a few at their edges."""
    left, right = extracts(600, 4, tmp_path / "in")
    reconcile(Wish(left, right, tmp_path / "one.csv", one_to_one=True), lambda _: None)
    monkeypatch.setattr("audit_pipeline.blocks.LINES_AT_ONCE", 100)
    monkeypatch.setattr("audit_pipeline.blocks.LINES_A_BLOCK", 150)
    reconcile(Wish(left, right, tmp_path / "blocks.csv", one_to_one=True), lambda _: None)
    one, blocks = (matched(result(tmp_path / f"{name}.csv")) for name in ("one", "blocks"))
    assert len(one & blocks) >= 0.95 * len(one)


words = st.text("ABCÜ '\"=;-\u202e", max_size=8)
lines = st.lists(
    st.tuples(st.integers(1, 28), st.integers(-2_000, 2_000), words), min_size=1, max_size=12
)


@settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(lines, lines)
def test_whatever_the_lines_are_each_is_accounted_for_once(
    tmp_path: Path, left: list[tuple[int, int, str]], right: list[tuple[int, int, str]]
):
    paths = [
        write(
            tmp_path / f"{side}.csv",
            [
                {
                    "id": f"{side}{n}",
                    "date": f"2025-01-{day:02d}",
                    "amount": f"{cents / 100:.2f}",
                    "text": text,
                }
                for n, (day, cents, text) in enumerate(side_lines)
            ],
        )
        for side, side_lines in (("l", left), ("r", right))
    ]
    reconcile(Wish(paths[0], paths[1], tmp_path / "out.csv"), lambda _: None)
    rows = result(tmp_path / "out.csv")
    for side, count in (("left", len(left)), ("right", len(right))):
        units = {
            (r[f"{side}_id"], r["group_id"] or n) for n, r in enumerate(rows) if r[f"{side}_id"]
        }
        assert len(units) == count
