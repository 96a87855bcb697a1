"""The composition root: settings in, Dagster definitions out."""

import dagster as dg

from audit_pipeline.assets import ASSETS
from audit_pipeline.automation import JOBS, SCHEDULES, SENSORS
from audit_pipeline.checks import CHECKS
from audit_pipeline.resources import AskedModel, AuditStore, Gold, PartitionStore
from audit_pipeline.settings import Settings


def build(settings: Settings) -> dg.Definitions:
    """Everything Dagster needs, for these settings."""
    gold = Gold(
        fixtures=str(settings.fixtures),
        data_dir=str(settings.data_dir),
        rules_path=str(settings.rules_path or ""),
        threads=settings.threads,
    )
    return dg.Definitions(
        assets=ASSETS,
        asset_checks=CHECKS,
        jobs=JOBS,
        schedules=SCHEDULES,
        sensors=SENSORS,
        executor=dg.in_process_executor,
        resources={
            "gold": gold,
            "store": AuditStore(url=settings.store_url),
            "partitions": PartitionStore(gold=gold),
            "llm": AskedModel(recording=str(settings.llm_recording or "")),
        },
    )


defs = build(Settings.from_env())
