"""Who uses the review desk, and what each may do there."""

from enum import StrEnum


class Role(StrEnum):
    """Each may do what the ones before it may."""

    VIEWER = "viewer"
    """Reads: a manager, an outside auditor."""
    REVIEWER = "reviewer"
    """Decides, comments, assigns."""
    APPROVER = "approver"
    """Is the second person of a decision on a critical flag; starts and cancels audits."""
    ADMIN = "admin"
    """Makes and locks accounts."""

    def may(self, needed: "Role") -> bool:
        """Whether this role includes the needed one."""
        order = list(Role)
        return order.index(self) >= order.index(needed)


def same_person(one: str, other: str) -> bool:
    """Two spellings of a name, however it is cased and spaced; an empty one is nobody's."""
    return (
        bool(one.strip()) and " ".join(one.split()).casefold() == " ".join(other.split()).casefold()
    )
