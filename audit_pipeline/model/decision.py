"""What a reviewer said. Kept apart from the flag, so that no re-run can overwrite it."""

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """The specification's decisions."""

    APPROVED = "approved"
    REJECTED = "rejected"
    FALSE_POSITIVE = "false_positive"
    NEEDS_MORE_INFO = "needs_more_info"


class Reason(StrEnum):
    """Why. Only `DETECTOR_WRONG` may teach a detector."""

    DETECTOR_WRONG = "detector_wrong"
    POLICY_ALLOWS = "policy_allows"
    MANAGEMENT_EXCEPTION = "management_exception"
    CORRECTED = "corrected"
    NOT_KNOWN = "not_known"
    """Of a verdict that asks for more information."""


@dataclass(frozen=True)
class Decision:
    """One reviewer's verdict on one flag; a later one replaces it, both are kept."""

    flag_id: str
    verdict: Verdict
    reason: Reason
    reviewer_id: str
    decided_at: dt.datetime
    notes: str = ""
