"""What is at work and what works: runs with the progress of each agent, and what an audit needs."""

import datetime as dt
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from audit_pipeline.adapters.state import AgentProgress, LiveState
from audit_pipeline.adapters.store import Store
from audit_pipeline.adapters.store.rows import RunRow
from audit_pipeline.model.errors import AuditError, BadUsage, StoreUnavailable
from audit_pipeline.model.gold import Health
from audit_pipeline.report import plain
from audit_pipeline.settings import Settings

AT_WORK = ("in_progress", "paused")
PREFIX_CHARACTERS_MIN = 6


@dataclass(frozen=True)
class RunStatus:
    """A run, and how far its agents are.

    Attributes:
        agents: those that have begun, the first one first.
        is_live: from Redis; else from the trail, which has a step's tools when the step has ended.
    """

    run: RunRow
    agents: tuple[AgentProgress, ...]
    is_live: bool


def status(store: Store, live: LiveState, run_id: str | None = None) -> list[RunStatus]:
    """The runs at work, the newest first; or one run, whatever became of it.

    Args:
        run_id: or its first 6 characters.

    Raises:
        BadUsage: there is no such run, or more than one.
    """
    runs = store.runs()
    if run_id is None:
        return [_status(run, store, live) for run in runs if run.workflow_status in AT_WORK]
    found = [run for run in runs if run.audit_run_id.startswith(run_id)]
    if len(found) != 1 or len(run_id) < PREFIX_CHARACTERS_MIN:
        raise BadUsage(
            f"{len(found)} runs begin with {run_id!r}; give {PREFIX_CHARACTERS_MIN} characters or "
            "more of one"
        )
    return [_status(found[0], store, live)]


def _status(run: RunRow, store: Store, live: LiveState) -> RunStatus:
    shown = live.progress(run.audit_run_id)
    agents = shown or _from_trail(store, run.audit_run_id)
    return RunStatus(run, tuple(agents), is_live=bool(shown))


def _from_trail(store: Store, audit_run_id: str) -> list[AgentProgress]:
    """The same from the trail's tool calls."""
    since: dict[str, dt.datetime] = {}
    tools: dict[str, int] = defaultdict(int)
    made: dict[str, int] = defaultdict(int)
    for entry in store.trail(audit_run_id):
        event = entry.event
        if event.agent_name.startswith("reviewer:"):
            continue
        if event.tool_called.startswith("flag_") or event.llm_model is not None:
            continue  # what a tool did, not a call of one
        took = dt.timedelta(milliseconds=event.execution_time_ms)
        since.setdefault(event.agent_name, event.occurred_at - took)
        tools[event.agent_name] += 1
        rows = event.output_summary.get("rows")
        made[event.agent_name] += rows if isinstance(rows, int) else 0
    return [AgentProgress(agent, at, tools[agent], made[agent]) for agent, at in since.items()]


def health(settings: Settings, live: LiveState) -> list[tuple[Health, bool]]:
    """The store, Redis, and gold; each with whether an audit needs it."""
    needed = [_store_health(settings), *_gold_health(settings)]
    return [(needed[0], True), (live.check_redis_health(), False), *((h, True) for h in needed[1:])]


def _store_health(settings: Settings) -> Health:
    try:
        with Store.open(settings.store_url) as store:
            said = "can be read; no audit yet"
            for run in store.runs(limit=1):
                said = f"can be read; the last audit began {run.created_at:%Y-%m-%d %H:%M} UTC"
        return Health("store", True, said)
    except StoreUnavailable as fault:
        return Health("store", False, str(fault))


def _gold_health(settings: Settings) -> list[Health]:
    try:
        if settings.workspace is not None:
            from audit_pipeline.adapters.databricks.health import check_databricks_health

            return check_databricks_health(settings.workspace)
        from audit_pipeline.resources import gold_of

        return gold_of(settings).health()
    except AuditError as fault:
        return [Health("gold", False, str(fault))]


def show_status(console: Console, found: Sequence[RunStatus]) -> None:
    """Each run with a table of its agents."""
    if not found:
        console.print("No run is at work.")
    for one in found:
        run = one.run
        console.print(
            Text(
                plain(
                    f"{run.workflow_status.replace('_', ' ')}: {run.population or '?'}, "
                    f"{run.from_on} to {run.to_on}, at {run.current_agent or 'the end'}, "
                    f"run {run.audit_run_id}"
                )
            )
        )
        source = "live, from Redis" if one.is_live else "from the trail: what has ended"
        table = Table(title=source, title_justify="left", title_style="dim", header_style="")
        for name in ("agent", "since (UTC)", "tools called", "rows"):
            table.add_column(name, justify="right" if name in ("tools called", "rows") else "left")
        for agent in one.agents:
            table.add_row(
                plain(agent.agent),
                agent.since.astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M:%S"),
                f"{agent.tools_called:,}",
                f"{agent.rows:,}",
            )
        console.print(table)


def as_json(found: Sequence[RunStatus]) -> list[dict[str, object]]:
    """The same for a program."""
    return [
        {
            "audit_run_id": one.run.audit_run_id,
            "status": one.run.workflow_status,
            "population": one.run.population,
            "from": one.run.from_on and one.run.from_on.isoformat(),
            "to": one.run.to_on and one.run.to_on.isoformat(),
            "current_agent": one.run.current_agent,
            "source": "redis" if one.is_live else "trail",
            "agents": [
                {
                    "agent": agent.agent,
                    "since": agent.since.isoformat(),
                    "tools_called": agent.tools_called,
                    "rows": agent.rows,
                }
                for agent in one.agents
            ],
        }
        for one in found
    ]
