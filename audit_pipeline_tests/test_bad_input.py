"""Whatever stands in the files: an audit ends, says what became of each row, and never traces back.

Wrong cells are quarantined one by one, a file that is wrong as a whole closes the gate; nothing is
lost between the rows of the file and the ledger.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from audit_pipeline import cli
from audit_pipeline_tests.environment import Command, command_line

LEDGER = "recent_transactions"
Row = dict[str, Any]


def _day_of(number: int) -> int:
    """1 to 28; neither the first nor the last day for the first rows."""
    return 1 + (13 + number * 9) % 28


def _ledger_row(number: int, **cells: object) -> Row:
    return {
        "txn_id": f"cc_{number}",
        "source": "credit_card",
        "amount": 10.5 + number,
        "vendor": "Harbor Diner",
        "date": f"2025-02-{_day_of(number):02d}T10:00:00Z",
        **cells,
    }


def _card_row(number: int, **cells: object) -> Row:
    row = _ledger_row(number, **{"card_number": "**** 1234", **cells})
    return {name: row[name] for name in row if name != "source"}


def _bank_row(number: int, **cells: object) -> Row:
    return {
        "txn_id": f"bk_{number}",
        "account_number": "**** 9012",
        "amount": -10.5 - number,
        "payee": "Harbor Diner",
        "date": f"2025-02-{_day_of(number):02d}T09:00:00Z",
        "transaction_type": "debit",
        **cells,
    }


def _receipt_row(number: int, **cells: object) -> Row:
    return {
        "receipt_id": f"rc_{number}",
        "vendor": "Harbor Diner",
        "amount": 10.5 + number,
        "date": f"2025-02-{_day_of(number):02d}",
        **cells,
    }


def _email_row(number: int, **cells: object) -> Row:
    return {
        "email_id": f"em_{number}",
        "subject": "Approval needed: Harbor Diner 12.50",
        "sender": "a@example.com",
        "date": f"2025-02-{_day_of(number):02d}T08:00:00Z",
        "body": "Approved.",
        **cells,
    }


ROWS: dict[str, Callable[..., Row]] = {
    LEDGER: _ledger_row,
    "credit_cards": _card_row,
    "bank_accounts": _bank_row,
    "receipts": _receipt_row,
    "emails": _email_row,
}
GOOD_ROWS = 14
AMOUNTS = (
    "NaN", "Infinity", "-Infinity", "1e308", "1e-308", "-0", "-0.0", "0", "1e2", "0.005",
    "99999999999999999999.99", "1" + "0" * 400, '"12.50"', '"1,250.00"', '"twelve"', '"NaN"', '""',
    '"$5"', "null", "true", "[1]", '{"value": 1}', '"\\u0661"',
)  # fmt: skip
TEXTS = (
    '""', '"   "',
    '"\\u0000"', '"a\\u0000b"', '"\\ud800"', '"\\u202e\\u001b[2J"', '"\'; DROP TABLE"',
    '"{amount} {0} %s $from_on"', '"\U0001f4b8"', "12", "1.5", "NaN", "null", "false", "[]",
    '["a"]', "{}", '"' + "x" * 400 + '"', '"LLC"', '"*** ***"', '"-"', '"\u0130\u0131\u1e9e"',
)  # fmt: skip
DATES = (
    '"2025-02-30"', '"yesterday"', '"2025-02-03"', '"2025-02-03T10:00:00"', '"20250203"',
    '"2025-02-03T10:00:00+14:00"', '"2025-02-03T24:00:00Z"', '"0001-01-01T00:00:00Z"',
    '"9999-12-31T23:59:59Z"', '"-4000-01-01"', '"infinity"', '"epoch"', '""', "0", "1738577400",
    "null", "true", "[]",
)  # fmt: skip
CELLS = {"amount": AMOUNTS, "date": DATES}


def _wrong_rows(table: str) -> list[str]:
    """The table's rows as JSON texts, each with one strange cell: every column, every value."""
    texts: list[str] = []
    for column in ROWS[table](0):
        for value in CELLS.get(column, TEXTS):
            row = ROWS[table](100 + len(texts), **{column: "\0here"})
            texts.append(json.dumps(row).replace('"\\u0000here"', value))
    return texts


def _audited(command: Command, folder: Path) -> dict[str, Any]:
    """The result document, after what must hold of any audit."""
    result = folder.parent / "result.json"
    ended = command("audit", "--fixtures", folder, "--json", result)
    assert ended.code in (cli.DONE, cli.CLOSED, cli.BAD_INPUT), ended.err
    assert "Traceback" not in ended.err + ended.out
    if ended.code == cli.BAD_INPUT:
        return {"status": "refused", "reasons": [ended.one_line]}
    document = json.loads(result.read_text(), parse_constant=pytest.fail)
    for source in document["sources"]:
        assert source["rows_in"] == source["rows_kept"] + source["rows_quarantined"], source
    if ended.code == cli.CLOSED:
        assert document["flags"] == []
        assert document["reasons"]
        return document
    ledger = document["ledger"]
    (read,) = [source for source in document["sources"] if source["table"] == LEDGER]
    assert ledger["transactions"] == read["rows_in"]
    assert ledger["transactions"] == (ledger["flagged"] + ledger["cleared"] + ledger["quarantined"])
    return document


def _folder(tmp_path: Path, **files: str | bytes) -> Path:
    folder = tmp_path / "gold"
    folder.mkdir()
    for name, row in ROWS.items():
        rows = [json.dumps(row(number)) for number in range(GOOD_ROWS)]
        (folder / f"{name}.json").write_text(f"[{', '.join(rows)}]")
    for name, content in files.items():
        data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
        (folder / f"{name}.json").write_bytes(data)
    return folder


def _rows_in(document: dict[str, Any], table: str) -> int:
    return next(s["rows_in"] for s in document["sources"] if s["table"] == table)


# ── cells ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("table", ROWS)
def test_every_strange_cell_at_once(command: Command, tmp_path: Path, table: str):
    """A hundred rows with a strange cell each, among enough good ones that no gate closes."""
    wrong = _wrong_rows(table)
    good = [json.dumps(ROWS[table](1_000 + number)) for number in range(14 * len(wrong))]
    last = ROWS[table](0) | {"date": "2025-02-28T12:00:00Z"}
    good += [json.dumps(last | {next(iter(last)): f"last_{number}"}) for number in range(400)]
    folder = _folder(tmp_path, **{table: "[" + ",\n".join([*good, *wrong]) + "]"})
    document = _audited(command, folder)
    assert document["status"] == "completed", document["reasons"]
    assert _rows_in(document, table) == len(good) + len(wrong)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("amount", "NaN"),
        ("amount", "1e308"),
        ("vendor", '"\\ud800"'),
        ("vendor", "null"),
        ("txn_id", "null"),
        ("txn_id", '"\\u0000"'),
        ("date", '"9999-12-31T00:00:00Z"'),
        ("date", "Infinity"),
    ],
)
def test_a_strange_cell_alone(command: Command, tmp_path: Path, column: str, value: str):
    """Few rows on few days: whatever a value makes of minima, maxima and ranges, it does here."""
    rows = [json.dumps(_ledger_row(number)) for number in range(3)]
    rows.append(json.dumps(_ledger_row(3, **{column: "\0here"})).replace('"\\u0000here"', value))
    folder = _folder(tmp_path, **{LEDGER: f"[{', '.join(rows)}]"})
    document = _audited(command, folder)
    assert document["status"] == "completed"
    assert document["transactions"] == len(rows)


@pytest.mark.parametrize("on", ["2025-01-01", "2025-03-01"])
def test_a_rejected_row_of_a_day_without_others_is_in_the_ledger(
    command: Command, tmp_path: Path, on: str
):
    """Its day lies before or after every row that could be read; it is counted all the same."""
    rows = [_ledger_row(0), _ledger_row(1), _ledger_row(2, amount="lots", date=f"{on}T10:00:00Z")]
    document = _audited(command, _folder(tmp_path, **{LEDGER: json.dumps(rows)}))
    assert document["status"] == "completed"
    assert (document["transactions"], document["quarantined"]) == (3, 1)


def test_nothing_but_rejected_rows(command: Command, tmp_path: Path):
    rows = [_ledger_row(number, amount="lots") for number in range(3)]
    document = _audited(command, _folder(tmp_path, **{LEDGER: json.dumps(rows)}))
    assert document["status"] == "completed"
    assert (document["transactions"], document["quarantined"]) == (3, 3)


def test_the_largest_money_there_is(command: Command, tmp_path: Path):
    """Ledger and statement disagree by more than a measured value can say."""
    huge = {"txn_id": "huge", "amount": "9999999999999999.99"}
    files = {
        LEDGER: [*(_ledger_row(n) for n in range(GOOD_ROWS)), _ledger_row(3, **huge)],
        "credit_cards": [
            *(_card_row(n) for n in range(GOOD_ROWS)),
            _card_row(3, **huge | {"amount": "-9999999999999999.99"}),
        ],
    }
    folder = _folder(tmp_path, **{name: json.dumps(rows) for name, rows in files.items()})
    document = _audited(command, folder)
    assert document["status"] == "completed", document["reasons"]
    assert "huge" in {flag["transaction_id"] for flag in document["flags"]}


def test_the_same_id_a_thousand_times(command: Command, tmp_path: Path):
    rows = [_ledger_row(number, txn_id="same") for number in range(1_000)]
    document = _audited(command, _folder(tmp_path, **{LEDGER: json.dumps(rows)}))
    assert document["status"] == "completed"
    assert document["transactions"] == 1_000
    assert document["quarantined"] == 999


# ── files ───────────────────────────────────────────────────────────────────────────────────────

GOOD = json.dumps([_ledger_row(number) for number in range(GOOD_ROWS)])
FILES: dict[str, tuple[str | bytes, str]] = {
    "cut off": (GOOD[:-40], "closed"),
    "cut off in the first row": (GOOD[:30], "closed"),
    "empty": ("", "any"),
    "an empty list": ("[]", "any"),
    "an empty object": ("{}", "any"),
    "a text": ('"rows"', "any"),
    "lists in a list": ("[[1], [2]]", "any"),
    "a byte order mark": ("\ufeff" + GOOD, "completed"),
    "UTF-16": (GOOD.encode("utf-16"), "closed"),
    "NUL bytes": (GOOD.replace("Harbor", "Har\0bor"), "any"),
    "invalid UTF-8": (GOOD.encode().replace(b"Harbor", b"Harb\xff\xfer"), "any"),
    "a key twice": (GOOD.replace('"source"', '"amount": 1, "source"'), "any"),
    "a column is missing": (GOOD.replace('"vendor"', '"seller"'), "closed"),
    "all columns are missing": ('[{"a": 1}]', "closed"),
    "ten million letters": (GOOD.replace("Harbor Diner", "x" * 10_000_000, 1), "any"),
    "lists nested 200,000 deep": ("[" * 200_000, "any"),
    "objects nested 100,000 deep": ('{"a":' * 100_000 + "1" + "}" * 100_000, "any"),
    "a nested bomb in a cell": (
        GOOD.replace('"Harbor Diner"', "[" * 50_000 + "]" * 50_000, 1),
        "any",
    ),
    "a number of a million digits": (GOOD.replace("10.5", "1" * 1_000_000, 1), "any"),
    "a ZIP archive": (b"PK\x03\x04" + bytes(range(256)) * 8, "any"),
}


@pytest.mark.parametrize("what", FILES)
def test_a_strange_ledger_file(command: Command, tmp_path: Path, what: str):
    content, expected = FILES[what]
    document = _audited(command, _folder(tmp_path, **{LEDGER: content}))
    if expected != "any":
        assert document["status"] == {"closed": "gate_closed"}.get(expected, expected)


@pytest.mark.parametrize("table", ["credit_cards", "emails"])
@pytest.mark.parametrize("what", ["cut off", "empty", "all columns are missing"])
def test_a_strange_file_beside_it(command: Command, tmp_path: Path, table: str, what: str):
    """Also a table that an audit could do without stops it, when it is there and broken."""
    document = _audited(command, _folder(tmp_path, **{table: FILES[what][0]}))
    if what != "empty":
        assert document["status"] == "gate_closed"
        assert any(table in reason for reason in document["reasons"])


ABOUTS = {
    "no object": "[]",
    "cut off": '{"name": "x"',
    "a day that is none": '{"as_of": "2025-02-30"}',
    "days in the wrong order": '{"audit_from": "2025-03-01", "audit_to": "2025-02-01"}',
    "a name of orders": '{"name": "\\u001b[2J"}',
    "a name of another type": '{"name": ["x"]}',
}


@pytest.mark.parametrize("what", ABOUTS)
def test_a_strange_about(command: Command, tmp_path: Path, what: str):
    folder = _folder(tmp_path)
    (folder / "about.json").write_text(ABOUTS[what])
    ended = command("audit", "--fixtures", folder)
    assert ended.code == cli.BAD_INPUT
    assert "about.json" in ended.one_line
    assert "\x1b" not in ended.err


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_another_kind_of_file(command: Command, tmp_path: Path, suffix: str):
    """JSON under the name of another format."""
    folder = _folder(tmp_path)
    (folder / f"{LEDGER}.json").rename(folder / f"{LEDGER}.{suffix}")
    assert _audited(command, folder)["status"] in ("gate_closed", "refused")


def test_as_a_process_too(tmp_path: Path):
    """What Python itself would add to stderr is not in it either."""
    folder = _folder(tmp_path, **{LEDGER: GOOD[:-40]})
    ended = command_line("audit", "--fixtures", folder, "--data", tmp_path / "data")
    assert ended.returncode == cli.CLOSED
    assert ended.stderr.startswith("audit-pipeline: the quality gate is closed")
    assert "Traceback" not in ended.stderr
