"""Every route needs a role or is public, and no unsafe one works on behalf of another site.

The routes are those that the application has: one that is added is asked here too.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated

import pytest
from fastapi import APIRouter, Depends, FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts
from starlette.responses import Response
from starlette.testclient import TestClient

from audit_pipeline.model.person import Role
from audit_pipeline.review import access
from audit_pipeline.review.access import CSRF_FIELD, CSRF_HEADER, Person
from audit_pipeline_tests.review import doors
from audit_pipeline_tests.review.doors import ORIGIN, Door

door = doors.door

PUBLIC = {
    ("GET", "/"),
    ("GET", "/health"),
    ("GET", "/metrics"),  # has its own door: this machine, or an administrator
    ("GET", "/api/v1/openapi.json"),
    ("GET", "/login"),
    ("POST", "/login"),
    ("POST", "/api/v1/auth/login"),
    ("POST", "/api/v1/auth/refresh"),
    ("GET", "/static"),
}
LET_IN = 299
NEEDS = {role: f"needs_{role.value}" for role in Role}


@dataclass(frozen=True)
class Way:
    """One method of one route.

    Attributes:
        needed: None: nothing.
    """

    method: str
    path: str
    needed: Role | None

    @property
    def address(self) -> str:
        return re.sub(r"\{[^}]*\}", "x", self.path)

    @property
    def is_safe(self) -> bool:
        return self.method in access.SAFE_METHODS


def ways_of(app: FastAPI) -> Iterator[Way]:
    for route in iter_route_contexts(app.routes):
        methods = set(route.methods or {"GET"}) - {"HEAD", "OPTIONS"}
        needed = [] if route.path == "/static" else list(_needed(getattr(route, "dependant", None)))
        for method in sorted(methods):
            yield Way(method, str(route.path), max(needed, key=list(Role).index, default=None))


def _needed(dependant: Dependant | None) -> Iterator[Role]:
    for one in dependant.dependencies if dependant else ():
        name = getattr(one.call, "__name__", "")
        yield from (role for role in Role if NEEDS[role] == name)
        yield from _needed(one)


class LetInError(Exception):
    """The person may; the route itself is not called."""


def stop_at_the_door(app: FastAPI) -> None:
    """Answer LET_IN in place of every route's own work, after its role was looked at."""

    def stopped(real: Callable[[Person], Person]) -> Callable[[Person], Person]:
        def person(asks: Annotated[Person, Depends(access.signed_in)]) -> Person:
            raise LetInError(real(asks))

        return person

    for route in iter_route_contexts(app.routes):
        for real in _calls(getattr(route, "dependant", None)):
            app.dependency_overrides[real] = stopped(real)

    async def let_in(_request: object, _fault: object) -> Response:
        return Response(status_code=LET_IN)

    app.add_exception_handler(LetInError, let_in)


def _calls(dependant: Dependant | None) -> Iterator[Callable[[Person], Person]]:
    for one in dependant.dependencies if dependant else ():
        if one.call is not None and getattr(one.call, "__name__", "") in NEEDS.values():
            yield one.call
        yield from _calls(one)


def is_denied(answer: object) -> bool:
    status = getattr(answer, "status_code", 0)
    where = getattr(answer, "headers", {}).get("location", "")
    return status == 401 or (status == 303 and where.startswith("/login?next="))


def test_every_route_is_public_or_needs_a_role(door: Door) -> None:
    ways = list(ways_of(door.app))
    assert len(ways) > 8
    open_ways = {(way.method, way.path) for way in ways if way.needed is None}
    assert open_ways <= PUBLIC, "say which role it needs, or why it is public"


def with_one_route_for_each_role(door: Door) -> Door:
    """By page and by API; and one that forgets to say what it needs."""
    router = APIRouter()

    @router.post("/of/viewer")
    @router.get("/api/v1/of/viewer")
    def of_viewer(person: access.Viewer) -> str:
        return person.user_id

    @router.post("/of/reviewer")
    @router.get("/api/v1/of/reviewer")
    def of_reviewer(person: access.Reviewer) -> str:
        return person.user_id

    @router.post("/of/approver")
    @router.get("/api/v1/of/approver")
    def of_approver(person: access.Approver) -> str:
        return person.user_id

    @router.post("/of/admin")
    @router.get("/api/v1/of/admin")
    def of_admin(person: access.Admin) -> str:
        return person.user_id

    @router.get("/forgotten")
    def forgotten() -> None: ...

    door.app.include_router(router)
    return door


def test_a_route_that_forgets_its_role_is_found(door: Door) -> None:
    """The control of the two tests around: they see what is added, and what it needs."""
    ways = {way.path: way.needed for way in ways_of(with_one_route_for_each_role(door).app)}
    assert ("GET", "/forgotten") not in PUBLIC
    assert ways["/forgotten"] is None
    assert [ways[f"/of/{role.value}"] for role in Role] == list(Role)


def test_each_role_may_what_the_ones_before_it_may(door: Door) -> None:
    door = with_one_route_for_each_role(door)
    people = {role: door.session(role.value, role) for role in Role}
    allowed = {
        "viewer": ["viewer"],
        "reviewer": ["viewer", "reviewer"],
        "approver": ["viewer", "reviewer", "approver"],
        "admin": ["viewer", "reviewer", "approver", "admin"],
    }
    for role, session in people.items():
        browser, program = door.browser(session), door.program(session)
        for answers in (
            {needed: browser.post(f"/of/{needed.value}") for needed in Role},
            {needed: program.get(f"/api/v1/of/{needed.value}") for needed in Role},
        ):
            let_in = [needed.value for needed, answer in answers.items() if answer.is_success]
            assert let_in == allowed[role.value], role
            assert {answer.status_code for answer in answers.values()} <= {200, 403}
    for needed in Role:
        assert is_denied(door.client().post(f"/of/{needed.value}"))
        assert is_denied(door.client().get(f"/api/v1/of/{needed.value}"))


def test_every_role_on_every_route(door: Door) -> None:
    """Who has the role is let in, whoever has a lower one is not, and nobody else is."""
    ways = [way for way in ways_of(door.app) if way.needed is not None]
    people = {role: door.session(role.value, role) for role in Role}
    for way in ways:
        assert way.needed is not None
        assert is_denied(door.client().request(way.method, way.address)), way
        for role, session in people.items():
            if not role.may(way.needed):
                answer = door.browser(session).request(way.method, way.address)
                assert answer.status_code == 403, (way, role)
    door = Door.to(door.desk)
    stop_at_the_door(door.app)
    for way in ways:
        assert way.needed is not None
        for role, session in people.items():
            if role.may(way.needed):
                answer = door.browser(session).request(way.method, way.address)
                assert answer.status_code == LET_IN, (way, role, answer.text)


def test_no_unsafe_route_works_for_another_site(door: Door) -> None:
    """Without the token, with a wrong one, with that of another sign-in, from another origin."""
    mine, others = door.session("admin", Role.ADMIN), door.session("other", Role.ADMIN)
    variants: list[dict[str, str]] = [
        {},
        {CSRF_HEADER: "wrong"},
        {CSRF_HEADER: others.csrf_token},
        {CSRF_HEADER: mine.csrf_token, "Origin": "https://evil.example"},
        {CSRF_HEADER: mine.csrf_token, "Origin": "null"},
        {CSRF_HEADER: mine.csrf_token, "Referer": "https://evil.example/localhost"},
        {CSRF_HEADER: mine.csrf_token, "Referer": "https://[evil/"},
        {CSRF_HEADER: mine.csrf_token, "Sec-Fetch-Site": "cross-site"},
    ]
    unsafe = [way for way in ways_of(door.app) if not way.is_safe]
    assert len(unsafe) > 4
    browser = door.browser(mine, with_csrf=False)
    for way in unsafe:
        for headers in variants:
            answer = browser.request(way.method, way.address, headers=headers)
            assert answer.status_code == 403, (way, headers, answer.text)


def test_a_form_may_carry_the_token(door: Door) -> None:
    session = door.session("ann")
    browser = door.browser(session, with_csrf=False)
    wrong = browser.post("/logout", data={CSRF_FIELD: "wrong"})
    as_file = browser.post("/logout", files={CSRF_FIELD: ("x", session.csrf_token)})
    assert (wrong.status_code, as_file.status_code) == (403, 403)
    right = browser.post(
        "/logout", data={CSRF_FIELD: session.csrf_token}, headers={"Origin": ORIGIN}
    )
    assert right.headers["location"] == "/login"
    assert is_denied(browser.get("/account")), "signed out"


def test_the_cookie_serves_the_api_too(door: Door) -> None:
    session = door.session("ann")
    assert door.browser(session, with_csrf=False).get("/api/v1/me").status_code == 200
    assert door.browser(session).post("/api/v1/auth/logout").status_code == 204


@pytest.mark.parametrize("scheme", ["Basic", "", "Digest"])
def test_a_wrong_header_is_not_made_good_by_the_cookie(door: Door, scheme: str) -> None:
    browser = door.browser(door.session("ann"))
    browser.headers["Authorization"] = f"{scheme} {door.token(door.session('ann'))}"
    assert browser.get("/api/v1/me").status_code == 401


def test_a_page_takes_no_bearer_token(door: Door) -> None:
    program = door.program(door.session("ann"))
    assert program.get("/api/v1/me").json() == {
        "user_id": "ann",
        "display_name": "ann",
        "role": "reviewer",
    }
    assert is_denied(program.get("/account"))
    assert is_denied(program.post("/logout"))


def test_another_site_that_is_named_may_use_the_api(door: Door) -> None:
    """With its own token; the answer lets its scripts read it, and sends no cookie along."""
    friendly = {"Origin": "https://bi.example", "Sec-Fetch-Site": "cross-site"}
    body = {"user_id": "ann", "password": "wrong"}
    assert door.client().post("/api/v1/auth/login", json=body, headers=friendly).status_code == 403
    opened = door.with_options(origins=("https://bi.example",))
    answer = opened.client().post("/api/v1/auth/login", json=body, headers=friendly)
    assert answer.status_code == 401
    assert answer.headers["access-control-allow-origin"] == "https://bi.example"
    assert "access-control-allow-credentials" not in answer.headers
    assert opened.client().post("/login", headers=friendly).status_code == 403


@pytest.mark.parametrize(
    ("given", "target"),
    [
        ("/flags?severity=CRITICAL&q=a b", "/flags?severity=CRITICAL&q=a b"),
        ("//evil.example", "/"),
        ("https://evil.example", "/"),
        ("/\\evil.example", "/"),
        ("/a\r\nSet-Cookie: x=y", "/"),
        ("/\t/evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("", "/"),
    ],
)
def test_no_open_redirect(given: str, target: str) -> None:
    assert access.local_path(given) == target


def test_who_is_sent_to_sign_in_comes_back(door: Door) -> None:
    answer = door.client().get("/account?tab=x&y=1")
    assert answer.headers["location"] == "/login?next=/account%3Ftab%3Dx%26y%3D1"
    asked = {"HX-Request": "true", "HX-Current-URL": f"{ORIGIN}/flags?q=1"}
    answer = door.client().get("/account", headers=asked)
    assert (answer.status_code, answer.headers["hx-redirect"]) == (
        401,
        "/login?next=/flags%3Fq%3D1",
    )
    assert door.client().post("/logout").headers["location"] == "/login?next=/"


def test_a_role_that_is_taken_away_is_gone_at_once(door: Door) -> None:
    from audit_pipeline.adapters.store import accounts

    session = door.session("ann", Role.ADMIN)
    client: TestClient = door.program(session)
    assert client.get("/metrics").status_code == 200
    with door.desk.store.writing() as writer:
        accounts.set_role(writer, "ann", Role.APPROVER)
    assert client.get("/metrics").status_code == 403
