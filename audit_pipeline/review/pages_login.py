"""Signing in and out by page, and one's own account."""

from typing import Annotated

from fastapi import APIRouter, Depends, Form, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from audit_pipeline.adapters.store import accounts
from audit_pipeline.adapters.store.accounts import Session
from audit_pipeline.model.errors import BadUsage
from audit_pipeline.review import tokens
from audit_pipeline.review.access import COOKIE, Person, Viewer, asked_by, local_path
from audit_pipeline.review.desk import Desk, TheDesk
from audit_pipeline.review.passwords import CHARACTERS_MIN
from audit_pipeline.review.sign_in import PAGE_LIVES, change_password, sign_in
from audit_pipeline.review.templating import page

router = APIRouter(include_in_schema=False)
Known = Annotated[Session | None, Depends(asked_by)]
Word = Annotated[str, Form()]


@router.get("/login")
def login_page(request: Request, session: Known, next: str = "/") -> Response:  # noqa: A002
    """The form; who is signed in goes on."""
    if session is not None:
        return RedirectResponse(local_path(next), 303)
    return _login(request, next)


@router.post("/login")
def login(
    request: Request,
    desk: TheDesk,
    user_id: Word = "",
    password: Word = "",
    next: Word = "/",  # noqa: A002 — what the address of a page to go on to is usually called
) -> Response:
    """Sign in, and go on to where one came from."""
    try:
        session = sign_in(request, user_id, password, PAGE_LIVES)
    except HTTPException as refused:
        return _login(request, next, user_id, refused)
    return _signed_in(desk, session, local_path(next))


@router.post("/logout")
def logout(desk: TheDesk, person: Viewer) -> Response:
    """Sign out."""
    with desk.store.writing("sign_in") as writer:
        accounts.revoke_session(writer, person.session_id)
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(COOKIE, secure=True, httponly=True, samesite="lax")
    return answer


@router.get("/account")
def account(request: Request, person: Viewer) -> HTMLResponse:
    """Who one is here, and the form for another password."""
    return _account(request, person)


@router.post("/account/password")
def password(
    request: Request,
    desk: TheDesk,
    person: Viewer,
    old: Word = "",
    new: Word = "",
    again: Word = "",
) -> Response:
    """Another password; it ends every other sign-in."""
    if new != again:
        return _account(request, person, "the two new passwords differ", 422)
    try:
        session = change_password(request, person.user_id, old, new)
    except BadUsage as fault:
        return _account(request, person, str(fault), 422)
    except HTTPException as refused:
        # whoever mistypes the old password stays signed in
        said = "the old password is wrong" if refused.status_code == 401 else refused.detail  # noqa: PLR2004
        return _account(request, person, said, 422, dict(refused.headers or {}))
    return _signed_in(desk, session, "/account")


def _signed_in(desk: Desk, session: Session, target: str) -> Response:
    answer = RedirectResponse(target, 303)
    answer.set_cookie(
        COOKIE,
        tokens.issue(desk.key, session),
        max_age=int(PAGE_LIVES.total_seconds()),
        path="/",
        secure=True,
        httponly=True,
        samesite="lax",
    )
    return answer


def _login(
    request: Request, target: str, user_id: str = "", refused: HTTPException | None = None
) -> HTMLResponse:
    answer = page(
        request,
        None,
        "login.html",
        200 if refused is None else refused.status_code,
        next=local_path(target),
        user_id=user_id,
        fault=None if refused is None else refused.detail,
    )
    if refused is not None:
        answer.headers.update(refused.headers or {})
    return answer


def _account(
    request: Request,
    person: Person,
    fault: str | None = None,
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> HTMLResponse:
    answer = page(
        request,
        person,
        "account.html",
        status,
        fault=fault,
        characters_min=CHARACTERS_MIN,
    )
    answer.headers.update(headers or {})
    return answer
