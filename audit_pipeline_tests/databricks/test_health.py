"""`audit-pipeline databricks …`: what it finds wrong, and grants that are exactly enough."""

import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from audit_pipeline.adapters.databricks import tables
from audit_pipeline.adapters.databricks.connection import Session
from audit_pipeline.adapters.databricks.health import check_databricks_health
from audit_pipeline.adapters.databricks.warehouse import DatabricksWarehouse, create_tables
from audit_pipeline.model.errors import BadUsage
from audit_pipeline.model.gold import Health
from audit_pipeline.model.query import Query
from audit_pipeline.model.stored import STORED
from audit_pipeline.model.tables import GOLD
from audit_pipeline.model.workspace import Workspace
from audit_pipeline.resources import DatabricksGold
from audit_pipeline.settings import Settings
from audit_pipeline_tests.databricks.process import LocalWarehouse
from audit_pipeline_tests.databricks.staging import environment_of
from audit_pipeline_tests.databricks.tiny_gold import MONDAY, ledger, left_in_scratch, tiny
from audit_pipeline_tests.environment import Command

SECRET = "dapi-a-very-secret-token"


@pytest.fixture
def warehouse(duckdb_warehouse: LocalWarehouse) -> Iterator[LocalWarehouse]:
    duckdb_warehouse.clear()
    yield duckdb_warehouse
    duckdb_warehouse.clear()


@pytest.fixture(scope="module")
def healthy(
    duckdb_warehouse: LocalWarehouse, tmp_path_factory: pytest.TempPathFactory
) -> Workspace:
    """Schemas of this module; everything is well in them."""
    return tiny(duckdb_warehouse, tmp_path_factory.mktemp("health"), "health")


def _wrong(workspace: Workspace) -> Health:
    """The one thing that is not well."""
    (one,) = [one for one in check_databricks_health(workspace) if not one.is_well]
    assert "\n" not in one.said
    return one


# ── health ──────────────────────────────────────────────────────────────────────────────────────


def test_all_is_well(warehouse: LocalWarehouse, healthy: Workspace):
    found = check_databricks_health(healthy)
    assert [(one.name, one.is_well) for one in found] == [
        ("warehouse", True),
        ("gold in main.health_gold", True),
        ("tables in main.health_audit", True),
        ("scratch schema main.health_scratch", True),
    ]
    assert f"1 of {len(GOLD)} tables" in found[1].said
    assert left_in_scratch(healthy) == []


def test_nobody_is_let_in(warehouse: LocalWarehouse, healthy: Workspace):
    one = _wrong(replace(healthy, token="another"))
    assert one.name == "warehouse"
    assert "Renew DATABRICKS_TOKEN" in one.said


def test_the_warehouse_stops_in_the_middle(warehouse: LocalWarehouse, healthy: Workspace):
    """Once it is away, nothing else is tried."""
    warehouse.fault("GetColumns", status=403)
    found = check_databricks_health(healthy)
    assert [one.is_well for one in found] == [False]


def test_gold_is_not_there(warehouse: LocalWarehouse, healthy: Workspace):
    one = _wrong(replace(healthy, gold="nowhere"))
    assert "gold.recent_transactions is absent" in one.said
    assert "GRANT SELECT" in one.said


def test_gold_lacks_a_column(warehouse: LocalWarehouse, tmp_path: Path):
    rows = ledger(["a"]).drop_columns(["vendor"])
    one = _wrong(tiny(warehouse, tmp_path, "columnless", {"recent_transactions": rows}))
    assert "gold.recent_transactions lacks vendor" in one.said


def test_tables_are_not_set_up(warehouse: LocalWarehouse, healthy: Workspace):
    one = _wrong(replace(healthy, audit="default"))
    assert "databricks setup" in one.said
    assert "flags" in one.said


def test_a_table_is_of_another_make(warehouse: LocalWarehouse, healthy: Workspace):
    session = Session(healthy)
    place = healthy.stored_table("matches")
    session.run(f"ALTER TABLE {place} DROP COLUMN terms")
    one = _wrong(healthy)
    session.run(f"DROP TABLE {place}")
    session.close()
    create_tables(healthy)
    assert one.said.startswith("not as declared: matches;")


def test_scratch_may_not_be_written_to(warehouse: LocalWarehouse, healthy: Workspace):
    said = "[INSUFFICIENT_PERMISSIONS] no CREATE TABLE. SQLSTATE: 42501"
    warehouse.fault("ExecuteStatement", "refused", saying="health_probe", message=said)
    one = _wrong(healthy)
    assert one.name == "scratch schema main.health_scratch"
    assert "databricks grants" in one.said


# ── commands ────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def named(warehouse: LocalWarehouse, healthy: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment names the healthy workspace."""
    for name, value in environment_of(warehouse).items():
        monkeypatch.setenv(name, value)
    for name in ("gold", "audit", "scratch"):
        monkeypatch.setenv(f"DATABRICKS_{name.upper()}_SCHEMA", f"health_{name}")


@pytest.mark.usefixtures("named")
def test_check_says_what_is_well(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch):
    command: Command = request.getfixturevalue("command")
    ended = command("databricks", "check")
    assert ended.code == 0, ended.err
    assert [line[:5] for line in ended.out.splitlines()] == ["well "] * 4


@pytest.mark.usefixtures("named")
def test_setup_makes_what_is_not_there(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, healthy: Workspace
):
    """And may be run again."""
    session = Session(healthy)
    session.run("CREATE SCHEMA IF NOT EXISTS main.health_fresh")
    session.close()
    monkeypatch.setenv("DATABRICKS_AUDIT_SCHEMA", "health_fresh")
    command: Command = request.getfixturevalue("command")
    assert command("databricks", "check").code != 0
    assert command("databricks", "setup").code == 0
    assert command("databricks", "setup").code == 0


@pytest.mark.usefixtures("named")
def test_check_fails_with_a_line_for_each_thing(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DATABRICKS_AUDIT_SCHEMA", "default")
    ended = request.getfixturevalue("command")("databricks", "check")
    assert ended.code == 3
    assert [line[:5] for line in ended.out.splitlines()] == ["well ", "well ", "WRONG", "well "]


@pytest.mark.parametrize("what", ["grants", "gold"])
def test_grants_and_gold_ask_nobody(
    request: pytest.FixtureRequest,
    warehouse: LocalWarehouse,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
):
    """Only names are needed: whoever grants need not be whoever audits."""
    monkeypatch.setenv("DATABRICKS_CATALOG", "ma`in")
    ended = request.getfixturevalue("command")("databricks", what)
    assert ended.code == 0, ended.err
    assert "`ma``in`" in ended.out
    assert warehouse.requests() == []


# ── grants ──────────────────────────────────────────────────────────────────────────────────────

NEEDS = {
    "SELECT": r"\b(?:FROM|JOIN|USING|DESCRIBE HISTORY)\s+",
    "MODIFY": r"\b(?:INSERT INTO|MERGE INTO)\s+",
    "CREATE TABLE": r"\bCREATE (?:OR REPLACE )?TABLE (?:IF NOT EXISTS )?",
}
PLACE = r"`?main`?\.`?(health_\w+?)`?\."


def _granted(script: str) -> dict[str, set[str]]:
    granted: dict[str, set[str]] = {}
    for rights, schema in re.findall(r"GRANT (.*) ON SCHEMA `main`\.`(\w+)`", script):
        granted.setdefault(schema, set()).update(rights.split(", "))
    return granted


def _needed(statements: list[str]) -> dict[str, set[str]]:
    needed: dict[str, set[str]] = {}
    for sql in statements:
        for right, before in NEEDS.items():
            for schema in re.findall(before + PLACE, sql, re.IGNORECASE):
                needed.setdefault(schema, {"USE SCHEMA"}).add(right)
    return needed


def test_grants_are_exactly_enough(warehouse: LocalWarehouse, healthy: Workspace):
    """For all that the adapter executes: no right too few, and none on gold but to read it.

    MODIFY on the scratch schema is for replacing and dropping what others have left there.
    """
    create_tables(healthy)
    opened = DatabricksWarehouse(healthy)
    opened.create("copied", Query("SELECT txn_id FROM gold.recent_transactions"))
    day = Query(
        "SELECT audit_on, txn_id AS transaction_id, row_number, amount, vendor,"
        " CAST(NULL AS VARCHAR) AS dated, 'DQ-02' AS rule_id, 'x' AS reason"
        " FROM gold.recent_transactions"
    )
    opened.replace("quarantine", MONDAY, MONDAY, day)
    flags = ", ".join(f"CAST(NULL AS VARCHAR) AS {name}" for name in tables.columns("flags"))
    opened.merge("flags", "flag_id", Query(f"SELECT {flags}, true AS vanished"), "vanished")
    opened.stored("flags", MONDAY, MONDAY)
    opened.query(Query("SELECT * FROM audit.copied"))
    opened.close()
    check_databricks_health(healthy)
    needed = _needed(warehouse.statements())
    assert needed["health_gold"] == {"USE SCHEMA", "SELECT"}
    assert needed["health_audit"] == {"USE SCHEMA", "SELECT", "MODIFY", "CREATE TABLE"}
    granted = _granted(tables.setup_script(healthy))
    assert granted.pop("health_scratch") - {"MODIFY"} == needed.pop("health_scratch")
    assert granted == needed


# ── DDL ─────────────────────────────────────────────────────────────────────────────────────────


def test_every_statement_runs_twice(warehouse: LocalWarehouse, healthy: Workspace):
    """And what it makes has the columns that it says."""
    session = Session(healthy)
    session.run("CREATE SCHEMA IF NOT EXISTS main.health_twice")

    def place(table: str) -> str:
        return healthy.schema("health_twice") + f".`{table}`"

    gold = replace(healthy, gold="health_twice_gold")
    session.run("CREATE SCHEMA IF NOT EXISTS main.health_twice_gold")
    statements = [*tables.statements(place), *tables.gold_statements(gold.gold_table)]
    for statement in [*statements, *statements]:
        session.run(statement)
    session.close()
    assert len(statements) >= len(STORED) + len(tables.SPECIFIED) + len(GOLD) + 1
    found = check_databricks_health(replace(gold, audit="health_twice"))
    assert all(one.is_well for one in found), found


# ── settings ────────────────────────────────────────────────────────────────────────────────────


def test_everything_that_is_missing_is_said_at_once(tmp_path: Path):
    with pytest.raises(BadUsage) as fault:
        Settings.from_env(
            {
                "ENVIRONMENT": "production",
                "DATABRICKS_CLIENT_ID": "half a pair",
                "DATABRICKS_CA_FILE": str(tmp_path / "absent.pem"),
                "AUDIT_AS_OF": "soon",
            }
        )
    said = str(fault.value)
    for name in (
        "DATABRICKS_HOST",
        "DATABRICKS_WAREHOUSE_ID or DATABRICKS_HTTP_PATH",
        "DATABRICKS_TOKEN, or DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET",
        "DATABRICKS_CA_FILE",
        "DATABRICKS_CATALOG",
        "AUDIT_AS_OF",
    ):
        assert name in said


@pytest.mark.parametrize("name", ["DATABRICKS_TOKEN", "DATABRICKS_CLIENT_SECRET"])
def test_secrets_are_not_shown(name: str):
    """Neither by the settings nor by the resource that Dagster shows."""
    env = {
        "DATABRICKS_HOST": "dbc-1.example.com",
        "DATABRICKS_WAREHOUSE_ID": "abc",
        "DATABRICKS_CATALOG": "main",
        "DATABRICKS_CLIENT_ID": "auditor",
        "ENVIRONMENT": "production",
        name: SECRET,
    }
    settings = Settings.from_env(env)
    assert settings.workspace is not None
    assert SECRET in (settings.workspace.token, settings.workspace.client_secret)
    assert SECRET not in repr(settings)
    gold = DatabricksGold.of(settings.workspace, data_dir="x")
    assert SECRET not in repr(gold)
    assert SECRET not in str(gold._resolved_config_dict)
    assert name in str(gold._resolved_config_dict)


def test_without_the_connector(healthy: Workspace, monkeypatch: pytest.MonkeyPatch):
    """As after `make setup` alone: one line that names the command, and no traceback."""
    monkeypatch.setitem(sys.modules, "databricks.sql", None)
    with pytest.raises(BadUsage, match="`make setup-databricks` installs it"):
        Session(healthy)
