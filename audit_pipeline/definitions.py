"""The composition root: settings in, Dagster definitions out."""

import os

import dagster as dg

from audit_pipeline.assets import ASSETS
from audit_pipeline.automation import JOBS, SCHEDULES, SENSORS
from audit_pipeline.checks import CHECKS
from audit_pipeline.resources import (
    AskedModel,
    AuditStore,
    DatabricksIOManager,
    FixtureIOManager,
    gold_of,
)
from audit_pipeline.settings import Settings


def build(settings: Settings) -> dg.Definitions:
    """Everything Dagster needs, for these settings."""
    gold = gold_of(settings)
    store = AuditStore(
        url=_named("AUDIT_STORE_URL", settings.store_url),
        redis_url=_named("AUDIT_REDIS_URL", settings.redis_url),
        trail_dir=str(settings.trail_dir),
        signing_key=str(settings.signing_key),
        retention_years=settings.retention_years,
    )
    stored = DatabricksIOManager if settings.workspace is not None else FixtureIOManager
    return dg.Definitions(
        assets=ASSETS,
        asset_checks=CHECKS,
        jobs=JOBS,
        schedules=SCHEDULES,
        sensors=SENSORS,
        executor=_executor(settings),
        resources={
            "gold": gold,
            "store": store,
            "partitions": stored(gold=gold, store=store),
            "llm": AskedModel(recording=str(settings.llm_recording or "")),
        },
    )


def _named(variable: str, address: str) -> str:
    """An address by its variable's name: it may hold a password, and Dagster shows resources."""
    return dg.EnvVar(variable) if os.environ.get(variable) == address else address


def _executor(settings: Settings) -> dg.ExecutorDefinition:
    """Where the steps of a run are executed."""
    match settings.executor:
        case "celery":
            from audit_pipeline.workers import executor_of

            return executor_of(settings.broker_url)
        case "processes":
            # A process that has imported everything is copied for each step: starting one from
            # nothing takes as long as a small step.
            preloaded = {"preload_modules": ["audit_pipeline.definitions"]}
            return dg.multiprocess_executor.configured({"start_method": {"forkserver": preloaded}})
        case _:
            return dg.in_process_executor


defs = build(Settings.from_env())
