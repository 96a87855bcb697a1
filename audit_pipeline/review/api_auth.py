"""Signing in of programs: a token for a day, another one for it within a week, and who one is."""

from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from audit_pipeline.adapters.store import accounts
from audit_pipeline.adapters.store.accounts import Session
from audit_pipeline.review import tokens
from audit_pipeline.review.access import NotSignedIn, Viewer
from audit_pipeline.review.desk import Desk, TheDesk
from audit_pipeline.review.passwords import CHARACTERS_MAX
from audit_pipeline.review.sign_in import PROGRAM_LIVES, sign_in

router = APIRouter(prefix="/api/v1", tags=["sign-in"])


class Credentials(BaseModel):
    """Who signs in."""

    model_config = ConfigDict(extra="forbid")

    user_id: Annotated[str, Field(max_length=256)]
    password: Annotated[str, Field(max_length=CHARACTERS_MAX)]


class Renewal(BaseModel):
    """With what a sign-in is renewed."""

    model_config = ConfigDict(extra="forbid")

    refresh_token: Annotated[str, Field(max_length=256)]


class Tokens(BaseModel):
    """What a program sends from now on: `Authorization: Bearer <access_token>`.

    Attributes:
        expires_in: seconds.
        refresh_token: gives the next pair, once.
    """

    access_token: str
    token_type: str = "bearer"  # noqa: S105 — its kind, in the word of RFC 6750
    expires_in: int
    refresh_token: str


class Me(BaseModel):
    """Who is signed in."""

    user_id: str
    display_name: str
    role: str


REFUSED: dict[int | str, dict[str, Any]] = {
    401: {"description": "Wrong, used up, or not any more"},
    429: {"description": "Too many tries; `Retry-After` says when to come back"},
}


@router.post("/auth/login", responses=REFUSED)
def login(request: Request, desk: TheDesk, given: Credentials) -> Tokens:
    """Sign in."""
    session = sign_in(request, given.user_id, given.password, PROGRAM_LIVES)
    with desk.store.writing("sign_in") as writer:
        refresh_token = accounts.issue_refresh_token(writer, session)
    return _pair(desk, session, refresh_token)


@router.post("/auth/refresh", responses={401: REFUSED[401]})
def refresh(desk: TheDesk, given: Renewal) -> Tokens:
    """The next pair of tokens; a refresh token that comes a second time ends the sign-in."""
    with desk.store.writing("sign_in") as writer:
        session = accounts.use_refresh_token(writer, given.refresh_token)
        following = None if session is None else accounts.issue_refresh_token(writer, session)
    if session is None or following is None:
        raise NotSignedIn("the refresh token does not renew anything; sign in again")
    return _pair(desk, session, following)


@router.post("/auth/logout", status_code=204, responses={401: REFUSED[401]})
def logout(desk: TheDesk, person: Viewer) -> Response:
    """End this sign-in, with every token of it."""
    with desk.store.writing("sign_in") as writer:
        accounts.revoke_session(writer, person.session_id)
    return Response(status_code=204)


@router.get("/me", responses={401: REFUSED[401]})
def me(person: Viewer) -> Me:
    """Who asks."""
    return Me(user_id=person.user_id, display_name=person.display_name, role=person.role.value)


def _pair(desk: Desk, session: Session, refresh_token: str) -> Tokens:
    return Tokens(
        access_token=tokens.issue(desk.key, session),
        expires_in=int(tokens.LIVES.total_seconds()),
        refresh_token=refresh_token,
    )
