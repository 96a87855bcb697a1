"""Around every request: its id, the host it was sent to, headers, the log, the numbers."""

import logging
import re
import time
import uuid
from http import HTTPStatus

from fastapi import HTTPException, Request
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from audit_pipeline.review import static_files
from audit_pipeline.review.desk import Desk
from audit_pipeline.review.errors import Fault, respond, unexpected
from audit_pipeline.review.metrics import Metrics

ACCESS = logging.getLogger("audit_pipeline.review.access")
REQUEST_ID = "X-Request-ID"
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
BODY_BYTES_MAX = 1_048_576
TOO_LARGE = f"a request has {BODY_BYTES_MAX:,} bytes at most"
NOT_ANSWERED = 499
"""In the log and the numbers: who asked was gone before the answer."""
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Shell:
    """The outermost of ours: no answer leaves without it, not even that of a defect."""

    def __init__(self, app: ASGIApp, desk: Desk, metrics: Metrics) -> None:
        self.app = app
        self.desk = desk
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope, receive)
        given = request.headers.get(REQUEST_ID, "")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        request.state.request_id = request_id
        began = time.perf_counter()
        status = NOT_ANSWERED
        is_begun = False

        async def sending(message: Message) -> None:
            nonlocal status, is_begun
            if message["type"] == "http.response.start":
                status, is_begun = message["status"], True
                _add_headers(request, message, request_id)
            await send(message)

        try:
            refused = self._refusal(request)
            if refused is None:
                await self.app(scope, _limited(receive), sending)
            else:
                await respond(request, refused)(scope, receive, sending)
        except Exception as fault:
            answer = unexpected(request, fault)
            if is_begun:
                raise
            await answer(scope, receive, sending)
        finally:
            self._note(request, request_id, status, time.perf_counter() - began)

    def _refusal(self, request: Request) -> Fault | None:
        """Of what is refused whatever is asked for."""
        if not self.desk.options.answers_to(request.headers.get("host", "")):
            said = "this desk does not answer to that name; AUDIT_DESK_HOSTS lists its names"
            return Fault(400, "wrong_host", said)
        length = request.headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > BODY_BYTES_MAX:
            return Fault(413, "too_large", TOO_LARGE)
        return None

    def _note(self, request: Request, request_id: str, status: int, seconds: float) -> None:
        route = _route_of(request)
        self.metrics.observe(request.method, route, status, seconds)
        fields = {
            "request_id": request_id,
            "method": request.method,
            "route": route,
            "status": status,
            "ms": round(seconds * 1000, 1),
            "user_id": getattr(request.state, "user_id", None),
        }
        level = logging.INFO if status < HTTPStatus.INTERNAL_SERVER_ERROR else logging.ERROR
        ACCESS.log(level, "request", extra={"fields": fields})


def _limited(receive: Receive) -> Receive:
    """The request's body, unless it goes on for longer than was said, or was not said."""
    received = 0

    async def receiving() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > BODY_BYTES_MAX:
            raise HTTPException(413, TOO_LARGE)
        return message

    return receiving


def _add_headers(request: Request, message: Message, request_id: str) -> None:
    headers = MutableHeaders(scope=message)
    headers.update({**HEADERS, REQUEST_ID: request_id})
    headers["Cache-Control"] = _caching(request, message["status"])


def _caching(request: Request, status: int) -> str:
    """What lies in `static/` may be kept: for a year where its address has its digest."""
    path = request.url.path
    if not path.startswith(static_files.PREFIX) or status >= HTTPStatus.BAD_REQUEST:
        return "no-store"
    name = path.removeprefix(static_files.PREFIX)
    is_exact = request.query_params.get("v") == static_files.digest(name)
    return "public, max-age=31536000, immutable" if is_exact else "no-cache"


def _route_of(request: Request) -> str:
    """The template of its address: the address itself has ids, and anybody's inventions."""
    scope = request.scope
    found = scope.get("fastapi", {}).get("effective_route_context") or scope.get("route")
    path = getattr(found, "path", None)
    if path:
        return str(path)
    return "/static" if request.url.path.startswith(static_files.PREFIX) else "none"
