"""How long a flag may wait for its decision."""

import datetime as dt

from audit_pipeline.model.flag import Severity

SLA_DAYS = {Severity.CRITICAL: 1, Severity.WARNING: 5, Severity.INFO: 30}


def due_at(severity: Severity, created_at: dt.datetime) -> dt.datetime:
    """When the decision is due, UTC."""
    return created_at + dt.timedelta(days=SLA_DAYS[severity])
