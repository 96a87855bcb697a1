"""Audits with Redis alive, refused, hung and killed midway: the same flags, and few attempts."""

import socket
from contextlib import closing
from typing import Any

import pytest

from audit_pipeline.adapters import state
from audit_pipeline.adapters.state import LiveState, live_state
from audit_pipeline.steps import AGENTS, Step
from audit_pipeline_tests.environment import Workplace, why_not
from audit_pipeline_tests.redis_server import RedisServer
from audit_pipeline_tests.small_company import AUDIT_FROM, AUDIT_TO

ATTEMPTS_MAX = 3
"""A run of the small company takes seconds; a pause is 30 s, then 60, then 120."""


def _audit(place: Workplace, url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """An audit with that Redis; the id of its run."""
    monkeypatch.setenv("AUDIT_REDIS_URL", url)
    place.environment["AUDIT_REDIS_URL"] = url
    with place.instance() as instance:
        result = place.audit(instance, AUDIT_FROM, AUDIT_TO)
        assert result.success, why_not(result)
        return result.run_id


def _same(place: Workplace, audited: Workplace) -> None:
    assert len(audited.flags()) > 0
    assert place.flags() == audited.flags()
    assert place.findings() == audited.findings()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every address that a socket of this process was told to connect to."""
    seen: list[object] = []
    real = socket.socket.connect

    def counted(self: socket.socket, address: Any) -> None:
        seen.append(address)
        return real(self, address)

    monkeypatch.setattr(socket.socket, "connect", counted)
    return seen


@pytest.mark.redis
def test_a_run_shows_itself(
    workplace: Workplace, audited: Workplace, redis_url: str, monkeypatch: pytest.MonkeyPatch
):
    """Its state, and for each agent as many tools as the trail has."""
    run_id = _audit(workplace, redis_url, monkeypatch)
    _same(workplace, audited)
    live = live_state(redis_url)
    shown = live.restore_workflow_state(run_id)
    with workplace.store() as store:
        kept = store.restore_workflow_state(run_id)
        besides = ("flag_", "archive_to_immutable_log", "record_rules")
        tools = {
            agent: sum(
                not entry.event.tool_called.startswith(besides)
                for entry in store.trail(run_id, agent_name=agent)
            )
            for agent in AGENTS
        }
    assert shown | {"completed_at": None} == kept | {"completed_at": None}
    assert shown["workflow_status"] == "completed"
    progress = live.progress(run_id)
    assert progress[0].agent == AGENTS[0]
    assert progress[-1].agent == AGENTS[-1]
    assert {agent.agent: agent.tools_called for agent in progress} == tools
    assert sum(agent.rows for agent in progress) > 0


def test_dagster_is_told_the_name_of_the_address_only(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
):
    """A password shows neither in a resource nor in a run's configuration."""
    url = "redis://:very-secret-password@127.0.0.1:1"
    monkeypatch.setenv("AUDIT_REDIS_URL", url)
    workplace.environment["AUDIT_REDIS_URL"] = url
    repository = workplace.definitions.get_repository_def()
    resource = repository.get_top_level_resources()["store"]
    shown = str(resource.config_schema.default_value) + repr(resource)
    assert "AUDIT_REDIS_URL" in shown
    assert "very-secret-password" not in shown


def test_refused(
    workplace: Workplace,
    audited: Workplace,
    asked: list[object],
    monkeypatch: pytest.MonkeyPatch,
):
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    _audit(workplace, f"redis://127.0.0.1:{port}", monkeypatch)
    _same(workplace, audited)
    assert 1 <= asked.count(("127.0.0.1", port)) <= ATTEMPTS_MAX


def test_hung(
    workplace: Workplace,
    audited: Workplace,
    asked: list[object],
    monkeypatch: pytest.MonkeyPatch,
):
    """It takes the connection, and never answers."""
    with closing(socket.create_server(("127.0.0.1", 0))) as hung:
        port = hung.getsockname()[1]
        _audit(workplace, f"redis://:password@127.0.0.1:{port}", monkeypatch)
    _same(workplace, audited)
    assert 1 <= asked.count(("127.0.0.1", port)) <= ATTEMPTS_MAX


@pytest.mark.redis
def test_killed_midway(
    workplace: Workplace,
    audited: Workplace,
    redis_server: RedisServer,
    asked: list[object],
    monkeypatch: pytest.MonkeyPatch,
):
    """By SIGKILL, after several agents have begun, in the middle of one's work."""
    real, before = LiveState.advance, []

    def advance(self: LiveState, run_id: str, agent: str, tools: int = 0, rows: int = 0) -> None:
        if agent == "context_enrichment" and tools and redis_server.process.poll() is None:
            before.extend(self.progress(run_id))
            redis_server.kill()
            asked.clear()
        real(self, run_id, agent, tools, rows)

    monkeypatch.setattr(state.LiveState, "advance", advance)
    run_id = _audit(workplace, redis_server.url, monkeypatch)
    assert {agent.agent for agent in before} == set(AGENTS[:4])
    _same(workplace, audited)
    assert asked.count(("127.0.0.1", redis_server.port)) <= ATTEMPTS_MAX
    with workplace.store() as store:
        assert store.restore_workflow_state(run_id)["workflow_status"] == "completed"


def test_a_tool_that_fails_is_counted(monkeypatch: pytest.MonkeyPatch, audited: Workplace):
    """A step's `call` tells the tool and what it made; a failed one made nothing."""
    told: list[tuple[str, str, int, int]] = []

    class Told(LiveState):
        def advance(self, audit_run_id: str, agent: str, tools: int = 0, rows: int = 0) -> None:
            told.append((audit_run_id, agent, tools, rows))

    import pyarrow as pa

    from audit_pipeline.agents.audit_logging import ToolLog

    class Days:
        from_on, to_on = AUDIT_FROM, AUDIT_TO

    nothing: Any = None
    books: Any = Days()
    log = ToolLog("run", "escalation")
    step = Step(nothing, nothing, books, "run", nothing, log, nothing, Told())
    step.call("rows", lambda: pa.table({"a": [1, 2, 3]}))
    step.call("list", lambda: [1, 2])
    with pytest.raises(ZeroDivisionError):
        step.call("fails", lambda: 1 / 0)
    assert told == [("run", "escalation", 1, rows) for rows in (3, 0, 0)]
