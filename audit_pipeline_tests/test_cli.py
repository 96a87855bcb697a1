"""The command line: exit codes, the JSON document, and messages that a person can act on."""

import contextlib
import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from audit_pipeline import cli, publishing
from audit_pipeline_tests import small_company
from audit_pipeline_tests.environment import (
    ROOT,
    SAMPLES,
    Command,
    Workplace,
    command_line,
)

DOCUMENT = {
    "audit_run_id", "status", "from", "to", "transactions", "quarantined", "ledger", "flags",
    "population", "reasons", "sources",
}  # fmt: skip
FLAG = {
    "flag_id", "transaction_id", "severity_level", "confidence_score", "severity_score",
    "explanation", "supporting_evidence_links", "findings", "audit_on", "points",
}  # fmt: skip
FINDING = {
    "rule_id", "rule_version", "measured", "threshold", "score", "evidence", "audit_on",
}  # fmt: skip
PARTS = ("transactions", "flagged", "cleared", "quarantined")
COMMANDS = ("audit", "flags", "reperform", "rules", "schema")


def _no_constant(text: str) -> Any:
    raise AssertionError(f"{text} is no JSON")


def _read(text: str) -> dict[str, Any]:
    return json.loads(text, parse_constant=_no_constant)


def _flag_of(place: Workplace, transaction_id: str) -> str:
    (row,) = [row for row in place.rows("flags") if row["transaction_id"] == transaction_id]
    return row["flag_id"]


# ── audit ───────────────────────────────────────────────────────────────────────────────────────


def test_audit_as_a_process(small_books: Path, audited: Workplace, tmp_path: Path):
    """The document alone is on stdout, so that it can be piped; what a person reads is not."""
    ended = command_line(
        "audit", "--fixtures", small_books, "--data", tmp_path / "data", "--json", "-"
    )
    assert ended.returncode == 0, ended.stderr
    document = _read(ended.stdout)
    assert document.keys() == DOCUMENT
    assert document["status"] == "completed"
    assert (document["from"], document["to"]) == (
        str(small_company.AUDIT_FROM),
        str(small_company.AUDIT_TO),
    )
    assert {f["transaction_id"]: f["severity_score"] for f in document["flags"]} == {
        f["transaction_id"]: f["severity_score"] for f in audited.flags()
    }
    for flag in document["flags"]:
        assert flag.keys() == FLAG
        assert flag["findings"]
        for finding in flag["findings"]:
            assert finding.keys() == FINDING
            for cell in finding["evidence"]:
                assert cell.keys() == {"name", "source", "row_id", "value"}
    ledger = document["ledger"]
    assert ledger["transactions"] == document["transactions"]
    assert ledger["transactions"] == sum(ledger[part] for part in PARTS[1:])
    assert len(ledger["days"]) == 30
    for part in PARTS:
        assert ledger[part] == sum(day[part] for day in ledger["days"]), part
    assert f"{len(document['flags'])} flags" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_process_says_nothing_of_its_libraries(small_books: Path, tmp_path: Path):
    """Their announcements of previews and deprecations are not the user's business."""
    ended = command_line(
        "audit", "--fixtures", small_books, "--data", tmp_path / "data",
        "--from", "2025-04-10", "--json", tmp_path / "result.json",
    )  # fmt: skip
    assert ended.returncode == 0
    assert ended.stderr == ""
    assert _read((tmp_path / "result.json").read_text())["status"] == "completed"


def test_a_closed_gate_ends_with_1(command: Command, tmp_path: Path):
    folder = small_company.make().write(tmp_path / "gold")
    (folder / "receipts.jsonl").unlink()
    (folder / "receipts.json").write_text('[{"receipt_id": "rc_1", "ven')
    ended = command("audit", "--fixtures", folder, "--json", tmp_path / "result.json")
    assert ended.code == cli.CLOSED
    assert "the quality gate is closed; nothing was audited" in ended.err
    assert "receipts" in ended.err
    assert "Traceback" not in ended.err
    document = _read((tmp_path / "result.json").read_text())
    assert document.keys() == DOCUMENT
    assert document["status"] == "gate_closed"
    assert document["reasons"]
    assert document["flags"] == []


def test_a_failed_audit_ends_with_3(
    command: Command, small_books: Path, monkeypatch: pytest.MonkeyPatch
):
    def fail(*_: object) -> None:
        raise RuntimeError("the machine is on fire")

    monkeypatch.setattr(publishing, "escalate", fail)
    ended = command("audit", "--fixtures", small_books, "--from", "2025-04-10")
    assert ended.code == cli.FAILED
    assert "escalated_flags: RuntimeError: the machine is on fire" in ended.err
    assert "Traceback" not in ended.err


def test_the_samples_show_the_charge_that_nobody_pays(command: Command, tmp_path: Path):
    """The specification's example: AWS and Starbucks are paid, Unknown Corp is not."""
    ended = command("audit", "--fixtures", SAMPLES, "--json", tmp_path / "result.json")
    assert ended.code == 0, ended.err
    document = _read((tmp_path / "result.json").read_text())
    (flag,) = document["flags"]
    assert flag["transaction_id"] == "cc_12347"
    assert "RC-08" in {finding["rule_id"] for finding in flag["findings"]}
    assert "Unknown Corp" in flag["explanation"]


# ── flags and reperform ─────────────────────────────────────────────────────────────────────────


def test_flags_lists_the_worst_first(command: Command, audited: Workplace):
    ended = command("flags", "--data", audited.data_dir, "--json", "-")
    flags = json.loads(ended.out)
    assert len(flags) == len(audited.flags())
    assert all(flag.keys() == FLAG for flag in flags)
    levels = ["CRITICAL", "WARNING", "INFO"]
    order = [(levels.index(f["severity_level"]), -f["severity_score"]) for f in flags]
    assert order == sorted(order)


def test_flags_are_filtered(command: Command, audited: Workplace):
    def ids(*arguments: object) -> set[str]:
        ended = command("flags", "--data", audited.data_dir, "--json", "-", *arguments)
        return {flag["transaction_id"] for flag in json.loads(ended.out)}

    faults = small_company.make().faults
    assert ids("--rule", "RC-01") == set(faults["RC-01"])
    assert ids("--severity", "CRITICAL") < ids()
    assert len(ids("--limit", 3)) == 3
    assert ids("--population", "nobody") == set()


def test_flags_of_nothing(command: Command, audited: Workplace):
    ended = command("flags", "--data", audited.data_dir, "--population", "nobody")
    assert ended.code == 0
    assert "No such flags" in ended.out


def test_a_flag_shows_its_evidence(command: Command, audited: Workplace):
    flag_id = _flag_of(audited, small_company.make().faults["AN-05"][0])
    ended = command("flags", flag_id[:8], "--data", audited.data_dir)
    assert ended.code == 0
    for said in ("WARNING", "482.17", "AN-05", "gold.recent_transactions.amount", flag_id):
        assert said in ended.out
    document = json.loads(command("flags", flag_id, "--data", audited.data_dir, "--json", "-").out)
    assert document["flag_id"] == flag_id


@pytest.mark.parametrize("rule_id", ["AN-01", "AN-05", "RC-01", "RC-02", "RC-08", "CX-01", "DQ-03"])
def test_reperform_says_same(command: Command, audited: Workplace, rule_id: str):
    found = next(row for row in audited.rows("findings") if row["rule_id"] == rule_id)
    ended = command("reperform", found["flag_id"], "--data", audited.data_dir, "--sql")
    assert ended.code == 0, ended.out
    assert f"{rule_id} on {found['audit_on']}, {found['transaction_id']}: same" in ended.out
    assert "DIFFERENT" not in ended.out
    assert "SELECT" in ended.out


@pytest.mark.parametrize(
    ("column", "forged"), [("measured", "0.5"), ("score", 99), ("evidence", None)]
)
def test_reperform_finds_a_forged_finding(
    command: Command, audited: Workplace, tmp_path: Path, column: str, forged: object
):
    shutil.copytree(audited.home, tmp_path, dirs_exist_ok=True)
    flag_id = _flag_of(audited, small_company.make().faults["RC-08"][0])
    with contextlib.closing(sqlite3.connect(tmp_path / "data" / "audit.sqlite")) as store, store:
        where = "WHERE flag_id = ? AND rule_id = 'RC-08'"
        if forged is None:
            (text,) = store.execute(f"SELECT evidence FROM findings {where}", [flag_id]).fetchone()
            forged = text.replace("61.11", "6.11")
            assert forged != text
        done = store.execute(f"UPDATE findings SET {column} = ? {where}", [forged, flag_id])
        assert done.rowcount == 1
    ended = command("reperform", flag_id, "--data", tmp_path / "data")
    assert ended.code == cli.CLOSED
    assert "DIFFERENT" in ended.out
    assert f"{column} " in ended.out


def test_reperform_without_the_gold_it_read(command: Command, audited: Workplace, tmp_path: Path):
    shutil.copytree(audited.home, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "data" / "gold")
    flag_id = _flag_of(audited, small_company.make().faults["RC-08"][0])
    ended = command("reperform", flag_id, "--data", tmp_path / "data")
    assert ended.code == cli.BAD_INPUT
    assert "the gold that this audit read is gone" in ended.one_line


# ── bad usage ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["audit", "--from", "2025-13-01"], "'2025-13-01' is not a day; write it as YYYY-MM-DD"),
        (["audit", "--to", "yesterday"], "'yesterday' is not a day"),
        (["audit", "--frm", "2025-01-01"], "unrecognized arguments"),
        (["audti"], "invalid choice: 'audti'"),
        ([], "COMMAND"),
        (["reperform"], "FLAG_ID"),
        (["flags", "--severity", "LOUD"], "invalid choice: 'LOUD'"),
        (["flags", "--limit", "-1"], "--limit"),
        (["schema", "--dialect", "oracle"], "invalid choice: 'oracle'"),
    ],
)
def test_bad_usage(command: Command, arguments: list[str], said: str):
    ended = command(*arguments)
    assert ended.code == cli.BAD_INPUT
    assert said in ended.err
    assert "Traceback" not in ended.err


def test_days_in_the_wrong_order(command: Command, small_books: Path):
    days = ("--from", "2025-04-02", "--to", "2025-04-01")
    ended = command("audit", "--fixtures", small_books, *days)
    assert ended.code == cli.BAD_INPUT
    assert "--from 2025-04-02 is after --to 2025-04-01" in ended.one_line


def test_a_range_of_centuries(command: Command, small_books: Path):
    days = ("--from", "1900-01-01", "--to", "9999-12-31")
    ended = command("audit", "--fixtures", small_books, *days)
    assert ended.code == cli.BAD_INPUT
    assert "name a shorter range" in ended.one_line


def test_a_missing_folder(command: Command, tmp_path: Path):
    ended = command("audit", "--fixtures", tmp_path / "nowhere")
    assert ended.code == cli.BAD_INPUT
    assert f"no fixture folder at {tmp_path / 'nowhere'}" in ended.one_line


def test_an_empty_folder(command: Command, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    ended = command("audit", "--fixtures", tmp_path / "empty")
    assert ended.code == cli.BAD_INPUT
    assert "recent_transactions" in ended.one_line


def test_an_unreadable_file(command: Command, tmp_path: Path):
    """The table is broken, not the usage: that is what the gate is for."""
    (tmp_path / "gold").mkdir()
    (tmp_path / "gold" / "recent_transactions.json").write_text('[{"txn_id": "cc_1", "am')
    ended = command("audit", "--fixtures", tmp_path / "gold")
    assert ended.code == cli.CLOSED
    assert "recent_transactions" in ended.err
    assert "Traceback" not in ended.err


def test_a_place_that_cannot_be_written_to(command: Command, small_books: Path, tmp_path: Path):
    (tmp_path / "file").write_text("")
    ended = command("audit", "--fixtures", small_books, "--data", tmp_path / "file" / "data")
    assert ended.code == cli.BAD_INPUT
    assert "cannot write" in ended.one_line


def test_a_result_that_cannot_be_written(command: Command, small_books: Path, tmp_path: Path):
    file = tmp_path / "nowhere" / "result.json"
    ended = command("audit", "--fixtures", small_books, "--from", "2025-04-10", "--json", file)
    assert ended.code == cli.BAD_INPUT
    assert f"cannot write {file}" in ended.one_line


@pytest.mark.parametrize("verb", ["flags", "reperform"])
@pytest.mark.parametrize(
    ("flag_id", "said"),
    [
        ("00000000", "there is no flag 00000000"),
        ("0000", "too short for a flag id"),
        ("%%%%%%%%", "there is no flag %%%%%%%%"),
        ("' OR 1=1 --", "there is no flag"),
    ],
)
def test_an_unknown_flag(command: Command, audited: Workplace, verb: str, flag_id: str, said: str):
    ended = command(verb, flag_id, "--data", audited.data_dir)
    assert ended.code == cli.BAD_INPUT
    assert said in ended.one_line


BAD_RULES = """
rules:
  RC-01: {title: Unpaid, agent: reconciliation, version: 0, thresholds: {window_days: {value: 99,
    floor: 0, ceiling: 30, unit: days, reason: "as the specification says"}}}
  XX-01: {title: Nothing, agent: nobody, version: 1}
  AN-01: {title: Outlier, agent: anomaly_detection, version: 1, points: lots, colour: red}
"""


@pytest.mark.parametrize("verb", ["rules", "audit"])
def test_a_rules_file_with_mistakes_names_them_all(
    command: Command, small_books: Path, tmp_path: Path, verb: str
):
    (tmp_path / "rules.yaml").write_text(BAD_RULES)
    more = ["--fixtures", small_books] if verb == "audit" else []
    ended = command(verb, "--rules", tmp_path / "rules.yaml", *more)
    assert ended.code == cli.BAD_INPUT
    assert "Traceback" not in ended.err
    for place in (
        "rules.RC-01.version",
        "rules.RC-01.thresholds.window_days",
        "value 99 is outside floor 0 … ceiling 30",
        "rules.XX-01",
        "rules.AN-01.points",
        "rules.AN-01.colour",
    ):
        assert place in ended.err, place


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rules: [", "not YAML"),
        ("", "rules.yaml"),
        ("- 1\n- 2\n", "rules.yaml"),
        ("rules: {}\n", "DQ-01"),
        ("rules:\n  &a DQ-01: *a\n", "rules.yaml"),
    ],
    ids=["cut off", "empty", "a list", "no rule", "its own ancestor"],
)
def test_a_rules_file_that_is_none(
    command: Command, small_books: Path, tmp_path: Path, text: str, said: str
):
    (tmp_path / "rules.yaml").write_text(text)
    ended = command("audit", "--fixtures", small_books, "--rules", tmp_path / "rules.yaml")
    assert ended.code == cli.BAD_INPUT, ended.err
    assert said in ended.err
    assert "Traceback" not in ended.err


def test_a_rules_file_that_is_not_there(command: Command, tmp_path: Path):
    ended = command("rules", "--rules", tmp_path / "rules.yaml")
    assert ended.code == cli.BAD_INPUT
    assert "cannot read the rules file" in ended.one_line


def test_wrong_settings_are_all_named(small_books: Path):
    ended = command_line(
        "flags", ENVIRONMENT="mars", AUDIT_THREADS="two", AUDIT_START_ON="today",
        AUDIT_FIXTURES=str(small_books),
    )  # fmt: skip
    assert ended.returncode == cli.BAD_INPUT
    for name in ("ENVIRONMENT=mars", "AUDIT_THREADS=two", "AUDIT_START_ON=today"):
        assert name in ended.stderr
    assert "Traceback" not in ended.stderr


# ── untrusted text ──────────────────────────────────────────────────────────────────────────────

EVIL = "\x1b[2J\x1b]0;owned\x07[bold red]EVIL[/]\u202eCORP\x9b31m"


def test_a_terminal_is_not_given_orders(command: Command, tmp_path: Path):
    """Escape sequences, markup and direction marks in a vendor's name are shown, not obeyed."""
    rows = [
        {
            "txn_id": "cc_1",
            "source": "credit_card",
            "amount": 100.25,
            "vendor": EVIL,
            "date": "2025-02-03T10:00:00Z",
        }
    ]
    folder = tmp_path / EVIL.replace("/", "") / "gold"
    folder.mkdir(parents=True)
    (folder / "recent_transactions.json").write_text(json.dumps([*rows, *rows]))
    shown = command("audit", "--fixtures", folder)
    assert shown.code == 0
    assert "EVIL" in shown.out
    listed = command("flags", "--json", "-")
    (flag,) = json.loads(listed.out)
    one = command("flags", flag["flag_id"])
    again = command("reperform", flag["flag_id"], "--sql")
    for ended in (shown, listed, one, again):
        for order in ("\x1b", "\x07", "\x9b", "\u202e"):
            assert order not in ended.out + ended.err
    assert "[bold red]EVIL[/]" in one.out.replace("\n", "")


# ── schema, rules, help ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql", "databricks"])
def test_schema(command: Command, dialect: str):
    ended = command("schema", "--dialect", dialect)
    assert ended.code == 0
    for table in ("flags", "audit_trail", "workflow_state", "findings", "decisions"):
        assert table in ended.out, table
    if dialect == "sqlite":
        with contextlib.closing(sqlite3.connect(":memory:")) as database:
            database.executescript(ended.out)
            tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            assert {"flags", "audit_trail"} <= {name for (name,) in tables}


def test_rules(command: Command):
    listed = command("rules")
    assert listed.code == 0
    for said in ("RC-01", "window_days = 3 days (0 … 30)", "ES-00"):
        assert said in listed.out
    catalogue = command("rules", "--markdown").out
    assert catalogue.startswith("# Rules")
    assert "## RC-01" in catalogue


@pytest.mark.parametrize("name", COMMANDS)
def test_help(command: Command, name: str):
    ended = command(name, "--help")
    assert ended.code == 0
    assert f"usage: audit-pipeline {name}" in ended.out


def test_help_names_every_command(command: Command):
    ended = command("--help")
    assert ended.code == 0
    for name in COMMANDS:
        assert name in ended.out
    assert "exit codes" in ended.out


def test_a_reader_who_stops_reading():
    """`audit-pipeline schema | head -1` is no error."""
    process = subprocess.Popen(
        [sys.executable, "-m", "audit_pipeline.cli", "schema"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    said = process.stderr.read()
    process.stderr.close()
    assert process.wait(60) == 0
    assert said == ""
