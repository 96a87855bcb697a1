"""The composition root: settings in, Dagster definitions out."""

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
    # by its name: the address may hold a password, and Dagster shows what a resource is made of
    redis_url = dg.EnvVar("AUDIT_REDIS_URL") if settings.redis_url else ""
    store = AuditStore(
        url=settings.store_url,
        redis_url=redis_url,
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
        executor=dg.in_process_executor,
        resources={
            "gold": gold,
            "store": store,
            "partitions": stored(gold=gold, store=store),
            "llm": AskedModel(recording=str(settings.llm_recording or "")),
        },
    )


defs = build(Settings.from_env())
