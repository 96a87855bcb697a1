"""Who uses the review desk, and what each may do there."""

from enum import StrEnum

from audit_pipeline.model.untrusted import visible


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
    """Two spellings of one name, however cased, spaced and encoded; an empty one is nobody's."""
    name = _spelt(one)
    return bool(name) and name == _spelt(other)


def two_people(one: str, other: str) -> bool:
    """Neither is nobody, and they are not the same."""
    return bool(_spelt(one)) and bool(_spelt(other)) and not same_person(one, other)


def _spelt(name: str) -> str:
    """The letters that a person sees, in lower case, with one space between words."""
    return " ".join(visible(visible(name).casefold()).split())
