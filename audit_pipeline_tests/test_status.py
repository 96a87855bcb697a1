"""`audit-pipeline status` and `health`: what is at work and what works, with Redis and without."""

import datetime as dt
import json
import re
import shutil
from contextlib import closing
from pathlib import Path

import pytest

from audit_pipeline import status
from audit_pipeline.adapters.state import LiveState
from audit_pipeline.adapters.store import Store
from audit_pipeline.agents.audit_logging import ToolLog
from audit_pipeline.model.errors import BadUsage
from audit_pipeline.model.gold import Health
from audit_pipeline.model.workspace import Workspace
from audit_pipeline.settings import Settings
from audit_pipeline.steps import AGENTS
from audit_pipeline_tests.environment import Command, Ended, Workplace

AT = dt.datetime(2025, 3, 1, 10, tzinfo=dt.UTC)
CLOSED_PORT = "redis://:very-secret-password@127.0.0.1:1"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory whose store has a run at work and one that is done."""
    folder = tmp_path / "data"
    monkeypatch.setenv("AUDIT_DATA_DIR", str(folder))
    with Store.open(f"sqlite:///{folder / 'audit.sqlite'}") as store:
        store.save_workflow_state("aaaaaa-done", {"population": "demo"})
        store.mark_audit_complete("aaaaaa-done", {})
        state = {"population": "de\x1b[31mmo", "from_on": "2025-03-01", "to_on": "2025-03-02"}
        store.save_workflow_state("bbbbbb-work", {**state, "current_agent": "reconciliation"})
        log = ToolLog("bbbbbb-work", "data_quality")
        log.called("one", AT, AT + dt.timedelta(seconds=5), {}, {"rows": 40})
        log.called("two", AT, AT + dt.timedelta(seconds=6), {}, {}, ValueError("no"))
        with store.writing() as writer:
            writer.append_events(log.events)
    return folder


# a command is given the environment that was there before `command`, so these stand before it


@pytest.fixture
def dead_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDIT_REDIS_URL", CLOSED_PORT)


@pytest.fixture
def used_redis(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AUDIT_REDIS_URL", redis_url)
    return redis_url


@pytest.fixture
def broken_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("no database")
    monkeypatch.setenv("AUDIT_STORE_URL", f"sqlite:///{tmp_path / 'file'}")


def _said(ended: Ended) -> str:
    assert ended.code == 0, ended.err
    return ended.out


def test_from_the_trail_without_redis(data: Path, command: Command):
    said = _said(command("status"))
    assert "in progress: de\N{REPLACEMENT CHARACTER}[31mmo" in said
    assert "2025-03-01 to 2025-03-02, at reconciliation, run bbbbbb-work" in said
    assert "from the trail" in said
    [line] = [line for line in said.splitlines() if "data_quality" in line]
    assert "2025-03-01 10:00:00" in line
    assert re.findall("[0-9]+", line)[-2:] == ["2", "40"]
    assert "aaaaaa-done" not in said


def test_as_json(data: Path, command: Command):
    [one] = json.loads(_said(command("status", "--json", "-")))
    assert (one["audit_run_id"], one["source"], one["status"]) == (
        "bbbbbb-work",
        "trail",
        "in_progress",
    )
    agent = {"agent": "data_quality", "since": AT.isoformat(), "tools_called": 2, "rows": 40}
    assert one["agents"] == [agent]


def test_one_run_whatever_became_of_it(data: Path, command: Command):
    assert "completed: demo" in _said(command("status", "aaaaaa"))


@pytest.mark.parametrize("run_id", ["zzzzzz", "aaaa", ""])
def test_a_run_that_is_none(data: Path, command: Command, run_id: str):
    ended = command("status", run_id)
    assert ended.code == 2
    assert "runs begin with" in ended.err


def test_two_runs_that_begin_alike(data: Path):
    with Store.open(f"sqlite:///{data / 'audit.sqlite'}") as store:
        store.save_workflow_state("bbbbbb-more", {})
        with pytest.raises(BadUsage, match="2 runs begin with"):
            status.status(store, LiveState(), "bbbbbb")
        assert len(status.status(store, LiveState())) == 2


def test_nothing_at_work(tmp_path: Path, command: Command):
    assert "No run is at work" in _said(command("status", "--data", tmp_path / "data"))


@pytest.mark.redis
def test_live_from_redis(data: Path, used_redis: str, command: Command):
    with closing(LiveState(used_redis)) as live:
        live.advance("bbbbbb-work", "data_quality", tools=7, rows=1234)
        live.advance("bbbbbb-work", "reconciliation")
    said = _said(command("status"))
    assert "live, from Redis" in said
    assert "1,234" in said
    [one] = json.loads(_said(command("status", "bbbbbb", "--json", "-")))
    assert one["source"] == "redis"
    assert [a["tools_called"] for a in one["agents"]] == [7, 0]


def test_a_dead_redis_is_said_to_be_the_trail(data: Path, dead_redis: None, command: Command):
    assert "from the trail" in _said(command("status"))


def test_the_trail_of_a_whole_run(audited: Workplace):
    """Every agent, and as many tools as Redis would have counted: no flag is one."""
    with audited.store() as store:
        [row] = store.runs()
        [one] = status.status(store, LiveState(), row.audit_run_id)
        called = sum(
            entry.event.execution_time_ms >= 0 and "flag_" not in entry.event.tool_called
            for entry in store.trail(row.audit_run_id)
        )
    assert {agent.agent for agent in one.agents} == set(AGENTS)
    assert sum(agent.tools_called for agent in one.agents) == called


def test_a_reviewer_is_no_agent(data: Path):
    with Store.open(f"sqlite:///{data / 'audit.sqlite'}") as store:
        log = ToolLog("bbbbbb-work", "reviewer:ann")
        log.called("decide", AT, AT, {}, {})
        with store.writing() as writer:
            writer.append_events(log.events)
        [one] = status.status(store, LiveState())
    assert [agent.agent for agent in one.agents] == ["data_quality"]


def test_the_health_of_a_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Each thing that is tried there, with the secrets of the settings."""
    from audit_pipeline.adapters.databricks import health

    asked: list[str] = []

    def tried(workspace: Workspace) -> list[Health]:
        asked.append(workspace.token)
        return [Health("connection", True, "well"), Health("gold", False, "no grant")]

    monkeypatch.setattr(health, "check_databricks_health", tried)
    settings = Settings.from_env(
        {
            "ENVIRONMENT": "production",
            "AUDIT_DATA_DIR": str(tmp_path),
            "DATABRICKS_HOST": "dbc-1.example.com",
            "DATABRICKS_WAREHOUSE_ID": "abc",
            "DATABRICKS_TOKEN": "token",
            "DATABRICKS_CATALOG": "main",
        }
    )
    found = status.health(settings, LiveState())
    assert asked == ["token"]
    assert [(one.name, one.is_well, is_needed) for one, is_needed in found] == [
        ("store", True, True),
        ("Redis", True, False),
        ("connection", True, True),
        ("gold", False, True),
    ]


def _health(ended: Ended) -> dict[str, str]:
    """What is said first → the whole line."""
    lines = ended.out.splitlines()
    assert len(lines) == 3, ended
    return {line.split(":")[0]: line for line in lines}


def test_health_without_redis(command: Command, small_books: Path, tmp_path: Path):
    ended = command("health", "--fixtures", small_books, "--data", tmp_path / "data")
    said = _health(ended)
    assert ended.code == 0
    assert said["well  store"] == "well  store: can be read; no audit yet"
    assert said["well  Redis"] == "well  Redis: not used: AUDIT_REDIS_URL is not set"
    assert said[f"well  gold in {small_books}"].endswith(": can be read")


def test_health_after_an_audit(command: Command, audited: Workplace, tmp_path: Path):
    shutil.copytree(audited.data_dir, tmp_path / "data")
    said = _health(command("health", "--fixtures", audited.fixtures, "--data", tmp_path / "data"))
    assert "the last audit began 20" in said["well  store"]


def test_a_dead_redis_is_a_warning(
    dead_redis: None, command: Command, small_books: Path, tmp_path: Path
):
    ended = command("health", "--fixtures", small_books, "--data", tmp_path / "data")
    assert ended.code == 0
    assert "audits go on without it" in _health(ended)["warn  Redis"]
    assert "very-secret-password" not in ended.out + ended.err


@pytest.mark.redis
def test_a_redis_that_works(used_redis: str, command: Command, small_books: Path):
    ended = command("health", "--fixtures", small_books)
    assert ended.code == 0
    assert "can be read and written" in _health(ended)["well  Redis"]


def test_a_store_that_does_not_work(broken_store: None, command: Command, small_books: Path):
    ended = command("health", "--fixtures", small_books)
    assert ended.code == 3
    assert "WRONG store" in _health(ended)


def test_gold_that_does_not_work(command: Command, tmp_path: Path):
    ended = command("health", "--fixtures", tmp_path / "nowhere")
    assert ended.code == 3
    assert any(line.startswith("WRONG gold") for line in ended.out.splitlines())
