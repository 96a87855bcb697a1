"""By when a flag should be decided: the service levels of the review desk."""

import datetime as dt
from types import MappingProxyType

from audit_pipeline.model.flag import Severity

SLA_DAYS = MappingProxyType({Severity.CRITICAL: 1, Severity.WARNING: 5, Severity.INFO: 30})
"""Calendar days from the flag's creation, weekends included."""


def due_at(severity: Severity, created_at: dt.datetime) -> dt.datetime:
    """The instant from which an undecided flag is overdue.

    Args:
        created_at: when the flag was first raised, with a time zone.
    """
    return created_at + dt.timedelta(days=SLA_DAYS[severity])
