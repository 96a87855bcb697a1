"""Who asks, and what that person may do: the one place where a route says which role it needs.

A page is asked for with a cookie, the API with a bearer token or with the cookie. A browser sends
the cookie on behalf of any site, so `guarded`, which every route has, wants a proof of each unsafe
request that comes with one.
"""

import datetime as dt
import hmac
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, HTTPException, Request
from fastapi.concurrency import run_in_threadpool

from audit_pipeline.adapters.store import accounts
from audit_pipeline.adapters.store.accounts import Session
from audit_pipeline.model.person import Role
from audit_pipeline.review import tokens
from audit_pipeline.review.desk import TheDesk

COOKIE = "__Host-session"
CSRF_FIELD, CSRF_HEADER = "csrf_token", "X-CSRF-Token"
API = "/api/"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


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

    @classmethod
    def of(cls, session: Session) -> "Person":
        """The person of a sign-in."""
        user = session.user
        return cls(
            user.user_id, user.display_name, user.role, session.session_id, session.csrf_token
        )


class NotSignedIn(HTTPException):
    """Nobody is signed in, or not any more; `errors` sends a person to the sign-in page."""

    def __init__(self, detail: str = "sign in first") -> None:
        super().__init__(401, detail, {"WWW-Authenticate": "Bearer"})


def is_for_programs(request: Request) -> bool:
    """An address that programs ask; all others are pages."""
    path = request.url.path
    return path.startswith(API) or path in ("/health", "/metrics")


def asked_by(request: Request, desk: TheDesk) -> Session | None:
    """The sign-in with which somebody asks; None where there is none that holds."""
    if not hasattr(request.state, "session"):
        request.state.session = _session(request, desk)
    session: Session | None = request.state.session
    return session


def signed_in(session: Annotated[Session | None, Depends(asked_by)]) -> Person:
    """Who asks, from the session cookie of a page or the bearer token of a program.

    Raises:
        NotSignedIn: nobody does.
    """
    if session is None:
        raise NotSignedIn
    return Person.of(session)


def needs(role: Role) -> Callable[[Person], Person]:
    """A dependency: the person who asks, who has this role or a higher one."""

    def person(asks: Annotated[Person, Depends(signed_in)]) -> Person:
        if not asks.role.may(role):
            raise HTTPException(403, f"this needs the role {role.value}; yours is {asks.role}")
        return asks

    person.__name__ = f"needs_{role.value}"
    return person


Viewer = Annotated[Person, Depends(needs(Role.VIEWER))]
Reviewer = Annotated[Person, Depends(needs(Role.REVIEWER))]
Approver = Annotated[Person, Depends(needs(Role.APPROVER))]
Admin = Annotated[Person, Depends(needs(Role.ADMIN))]


async def guarded(request: Request, desk: TheDesk) -> AsyncIterator[None]:
    """Let through what does not change anything, and what a person here has asked for.

    Raises:
        HTTPException: 403; it comes from another site, or without its sign-in's own token.
    """
    try:
        await _refuse_foreign(request, desk)
        yield
    finally:
        await request.close()  # the files of a form that was read here


async def _refuse_foreign(request: Request, desk: TheDesk) -> None:
    if request.method in SAFE_METHODS or _has_bearer(request):
        return
    if not _is_from_here(request, desk):
        raise HTTPException(403, "this was asked for by another site")
    session = await run_in_threadpool(asked_by, request, desk)
    if session is not None:
        given = request.headers.get(CSRF_HEADER) or await _form_field(request)
        if not hmac.compare_digest(given.encode(), session.csrf_token.encode()):
            raise HTTPException(403, "the page is of another sign-in; load it again")


def local_path(text: str) -> str:
    """`text` where it is a path of this desk to go to; else the desk's first page."""
    is_path = text.startswith("/") and not text.startswith("//") and "\\" not in text
    return text if is_path and text.isprintable() else "/"


def _session(request: Request, desk: TheDesk) -> Session | None:
    token = _token(request)
    if not token:
        return None
    try:
        claims = tokens.read(desk.key, token)
    except tokens.TokenInvalid:
        return None
    with desk.store.reading() as connection:
        session = accounts.session_of(connection, claims.session_id)
    if (
        session is None
        or not session.holds(dt.datetime.now(dt.UTC))
        or (session.user.user_id, session.token_version) != (claims.user_id, claims.version)
    ):
        return None
    request.state.user_id = session.user.user_id
    return session


def _token(request: Request) -> str:
    """The bearer token of a program's request, else the cookie; never one in place of the other."""
    if not _has_bearer(request):
        return request.cookies.get(COOKIE, "")
    scheme, _, token = request.headers["authorization"].partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _has_bearer(request: Request) -> bool:
    """Whether it proves who asks by a header, which no site can make a browser send."""
    return is_for_programs(request) and "authorization" in request.headers


def _is_from_here(request: Request, desk: TheDesk) -> bool:
    """As far as the browser says; a program says nothing."""
    headers = request.headers
    origin = headers.get("origin")
    if is_for_programs(request) and origin in desk.options.origins:
        return True
    said = origin if origin is not None else headers.get("referer")
    if said is not None and _place(said) != headers.get("host", "").lower():
        return False
    return headers.get("sec-fetch-site") != "cross-site"


def _place(address: str) -> str:
    """Its host and port: behind a proxy nobody here knows whether it was http or https."""
    try:
        return urlsplit(address).netloc.lower()
    except ValueError:
        return ""


async def _form_field(request: Request) -> str:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in _FORMS:
        return ""
    given = (await request.form()).get(CSRF_FIELD)
    return given if isinstance(given, str) else ""
