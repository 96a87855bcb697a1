"""Who asks, and what that person may do: the one place where a route says which role it needs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from audit_pipeline.model.person import Role


@dataclass(frozen=True)
class Person:
    """Who is signed in.

    Attributes:
        session_id: of the sign-in.
        csrf_token: what an unsafe request from a page has to send back.
    """

    user_id: str
    display_name: str
    role: Role
    session_id: str
    csrf_token: str


def signed_in(request: Request) -> Person:
    """Who asks, from the session cookie of a page or the bearer token of a program."""
    raise NotImplementedError


def needs(role: Role) -> Callable[[Person], Person]:
    """A dependency: the person who asks, who has this role or a higher one."""

    def person(asks: Annotated[Person, Depends(signed_in)]) -> Person:
        if not asks.role.may(role):
            raise PermissionError(role)
        return asks

    person.__name__ = f"needs_{role.value}"
    return person


Viewer = Annotated[Person, Depends(needs(Role.VIEWER))]
Reviewer = Annotated[Person, Depends(needs(Role.REVIEWER))]
Approver = Annotated[Person, Depends(needs(Role.APPROVER))]
Admin = Annotated[Person, Depends(needs(Role.ADMIN))]
