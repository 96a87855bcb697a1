"""The graph is a reviewed fixture: `graph.json` beside this file, rewritten by UPDATE_GRAPH=1."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from audit_pipeline_tests.environment import Workplace

REVIEWED = Path(__file__).with_name("graph.json")
QUALITY_REPORT = dg.AssetKey("quality_report")


@pytest.fixture(scope="module")
def definitions(small_books: Path, tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    return Workplace(tmp_path_factory.mktemp("graph"), small_books).definitions


def _drawn(definitions: dg.Definitions) -> dict[str, Any]:
    """Everything of the graph that a reviewer should see change."""
    graph = definitions.resolve_asset_graph()
    nodes = [graph.get(key) for key in graph.get_all_asset_keys()]
    checks = [graph.get_check_spec(key) for key in graph.asset_check_keys]
    jobs = {job.name: job for job in definitions.resolve_all_job_defs()}
    return {
        "assets": {
            node.key.to_user_string(): {
                "group": node.group_name,
                "kinds": sorted(node.kinds),
                "owners": sorted(node.owners),
                "after": sorted(key.to_user_string() for key in node.parent_keys),
                "partitions": type(node.partitions_def).__name__ if node.partitions_def else None,
                "backfill": _backfill(node.backfill_policy),
                "retries": _retries(definitions, node.key) if node.is_materializable else None,
                "queue": _queue(definitions, node.key) if node.is_materializable else None,
            }
            for node in sorted(nodes, key=lambda node: node.key.to_user_string())
        },
        "checks": {
            f"{check.asset_key.to_user_string()}: {check.name}": (
                "blocks" if check.blocking else "warns"
            )
            for check in sorted(checks, key=lambda check: (check.asset_key, check.name))
        },
        "jobs": sorted(name for name in jobs if not name.startswith("__")),
        "schedules": {
            schedule.name: [
                schedule.cron_schedule,
                schedule.execution_timezone or "UTC",
                schedule.job_name,
            ]
            for schedule in map(
                definitions.resolve_schedule_def, (s.name for s in definitions.schedules or ())
            )
        },
        "sensors": sorted(sensor.name for sensor in definitions.sensors or []),
    }


def _text(drawn: dict[str, Any]) -> str:
    """JSON with a line for each asset, so that a diff shows whose line changed."""
    sections: list[str] = []
    for name, content in drawn.items():
        if isinstance(content, dict):
            lines = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in content.items()]
            sections.append(f' "{name}": {{\n' + ",\n".join(lines) + "\n }")
        else:
            sections.append(f' "{name}": {json.dumps(content)}')
    return "{\n" + ",\n".join(sections) + "\n}\n"


def _backfill(policy: dg.BackfillPolicy | None) -> str | None:
    return None if policy is None else policy.policy_type.name


def _queue(definitions: dg.Definitions, key: dg.AssetKey) -> str:
    tags = definitions.get_assets_def(key).op.tags
    return f"{tags['dagster-celery/queue']}, {tags['dagster-celery/priority']}"


def _retries(definitions: dg.Definitions, key: dg.AssetKey) -> str | None:
    policy = definitions.get_assets_def(key).op.retry_policy
    if policy is None:
        return None
    backoff = policy.backoff.name if policy.backoff else "none"
    return f"{policy.max_retries}, {policy.delay} s, {backoff}"


def test_the_graph_is_the_reviewed_one(definitions: dg.Definitions):
    """Keys, groups, kinds, owners, dependencies, partitions, backfills, retries, checks, times."""
    drawn = _text(_drawn(definitions))
    if os.environ.get("UPDATE_GRAPH"):
        REVIEWED.write_text(drawn, encoding="utf-8")
    assert drawn == REVIEWED.read_text(encoding="utf-8"), "UPDATE_GRAPH=1 rewrites graph.json"


def test_everything_stands_behind_the_gate(definitions: dg.Definitions):
    """No selection of assets has a road to the flags that the quality report is not on."""
    graph = definitions.resolve_asset_graph()
    for key in graph.materializable_asset_keys - {QUALITY_REPORT}:
        assert QUALITY_REPORT in graph.get_ancestor_asset_keys(key), key


def test_every_asset_has_one_partition_a_day(definitions: dg.Definitions):
    graph = definitions.resolve_asset_graph()
    assert graph.materializable_asset_keys
    daily = {graph.get(key).partitions_def for key in graph.materializable_asset_keys}
    assert len(daily) == 1
    (partitions,) = daily
    assert isinstance(partitions, dg.DailyPartitionsDefinition)
    assert partitions.timezone == "UTC"
    assert partitions.get_first_partition_key() == "2025-01-01"


def test_a_backfill_is_one_run(definitions: dg.Definitions):
    graph = definitions.resolve_asset_graph()
    for key in graph.materializable_asset_keys:
        assert graph.get(key).backfill_policy == dg.BackfillPolicy.single_run(), key


def test_every_step_says_what_it_is_for(definitions: dg.Definitions):
    graph = definitions.resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        assert graph.get(key).description, key
    for key in graph.asset_check_keys:
        assert graph.get_check_spec(key).description, key


IMPORTING = """
import importlib, pkgutil, sys
import {package}
for module in pkgutil.walk_packages({package}.__path__, "{package}."):
    importlib.import_module(module.name)
print(*sorted({{name.partition(".")[0] for name in sys.modules}}))
"""
FRAMEWORKS = set(
    "dagster fastapi starlette uvicorn sqlalchemy alembic redis openai databricks duckdb pandas "
    "pandera pyarrow rich requests httpx httpx2 sklearn".split()
)


@pytest.mark.parametrize("package", ["audit_pipeline.model", "audit_pipeline.agents"])
def test_the_core_imports_no_framework(package: str):
    """Also none that another of its imports drags in: it stays cheap and portable."""
    shown = subprocess.run(
        [sys.executable, "-c", IMPORTING.format(package=package)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    loaded = set(shown.stdout.split())
    assert "audit_pipeline" in loaded
    assert not loaded & FRAMEWORKS
