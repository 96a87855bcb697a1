"""Every error in one form: JSON for programs, a page for people, and what each means in HTTP."""

import logging
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import quote, urlsplit

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException

from audit_pipeline.adapters.store.columns import storable
from audit_pipeline.model.errors import (
    AttemptSuperseded,
    AuditError,
    BadUsage,
    BrokerUnavailable,
    DecisionRefused,
    FlagUnknown,
    PartitionBusy,
    RulesInvalid,
    StoreUnavailable,
    TransitionRefused,
    WarehouseError,
)
from audit_pipeline.model.untrusted import masked
from audit_pipeline.review import access
from audit_pipeline.review.access import Person
from audit_pipeline.review.metrics import metrics_of
from audit_pipeline.review.templating import page, render

LOG = logging.getLogger(__name__)
STATUSES: tuple[tuple[type[AuditError], int], ...] = (
    (FlagUnknown, 404),
    (BadUsage, 422),
    (RulesInvalid, 422),
    (DecisionRefused, 409),
    (TransitionRefused, 409),
    (PartitionBusy, 409),
    (AttemptSuperseded, 409),
    (StoreUnavailable, 503),
    (BrokerUnavailable, 503),
    (WarehouseError, 503),
)
"""The first that fits; what fits none is a defect here."""
AWAY = "what this needs does not answer now; try again in a minute"


@dataclass(frozen=True)
class Fault:
    """What is answered in place of what was asked for.

    Attributes:
        details: of a request that is not as it has to be, each with `field` and `message`.
    """

    status: int
    code: str
    message: str
    details: Sequence[dict[str, str]] = ()
    headers: dict[str, str] = field(default_factory=dict[str, str])


def install(app: FastAPI) -> None:
    """Answer every error of the application in this form."""
    app.add_exception_handler(AuditError, _audit_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _not_valid)


def request_id_of(request: Request) -> str:
    """What names this request in the answer and in the log."""
    if not hasattr(request.state, "request_id"):
        request.state.request_id = uuid.uuid4().hex
    return str(request.state.request_id)


def respond(request: Request, fault: Fault) -> Response:
    """The answer; of a page that needs a sign-in, the way there."""
    if access.is_for_programs(request):
        document = {
            "code": fault.code,
            "message": fault.message,
            "details": list(fault.details),
            "request_id": request_id_of(request),
        }
        return JSONResponse(document, fault.status, fault.headers)
    if fault.status == HTTPStatus.UNAUTHORIZED:
        return _to_sign_in(request)
    if request.headers.get("hx-request") == "true":
        said = "; ".join([fault.message, *(one["message"] for one in fault.details)])
        toast = render("toast.html", said=said, flag_id=None, kind="refused", more="")
        moved = {"HX-Retarget": "#toasts", "HX-Reswap": "innerHTML"}
        return HTMLResponse(toast, fault.status, moved | fault.headers)
    session = getattr(request.state, "session", None)
    person = None if session is None else Person.of(session)
    answer = page(
        request,
        person,
        "error.html",
        fault.status,
        fault=fault,
        title=HTTPStatus(fault.status).phrase,
        request_id=request_id_of(request),
    )
    answer.headers.update(fault.headers)
    return answer


def unexpected(request: Request, fault: Exception) -> Response:
    """A defect: all of it in the log, nothing of it in the answer."""
    request_id = request_id_of(request)
    LOG.error("unexpected error", exc_info=fault, extra={"fields": {"request_id": request_id}})
    return respond(request, Fault(500, "internal_error", "something is wrong here, not with you"))


async def _audit_error(request: Request, fault: Exception) -> Response:
    status = next((status for kind, status in STATUSES if isinstance(fault, kind)), None)
    if status is None:
        return unexpected(request, fault)
    code = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(fault).__name__).lower()
    if status != HTTPStatus.SERVICE_UNAVAILABLE:
        return respond(request, Fault(status, code, masked(str(fault))))
    # who reads pages has no use for the database's address, who reads the log has
    fields = {"request_id": request_id_of(request), "fault": str(fault)}
    LOG.error("unavailable", extra={"fields": fields})
    if isinstance(fault, StoreUnavailable):
        metrics_of(request).database_errors.inc()
    return respond(request, Fault(status, code, AWAY, headers={"Retry-After": "60"}))


async def _http_error(request: Request, fault: Exception) -> Response:
    assert isinstance(fault, HTTPException)  # noqa: S101 — what it is installed for
    code = HTTPStatus(fault.status_code).phrase.lower().replace(" ", "_").replace("-", "_")
    headers = dict(fault.headers or {})
    return respond(request, Fault(fault.status_code, code, str(fault.detail), headers=headers))


async def _not_valid(request: Request, fault: Exception) -> Response:
    assert isinstance(fault, RequestValidationError)  # noqa: S101 — what it is installed for
    # what was sent is not sent back: it may be a password
    details = [
        {
            # JSON has names with halves of letters, which no answer can be made of
            "field": storable(".".join(map(str, one["loc"][1:])) or str(one["loc"][0])),
            "message": str(one["msg"]),
        }
        for one in fault.errors()
    ]
    named = ", ".join(dict.fromkeys(one["field"] for one in details))
    return respond(request, Fault(422, "not_valid", f"not as it has to be: {named}", details))


def _to_sign_in(request: Request) -> Response:
    """The sign-in page, and from there back; htmx follows a header of its own."""
    is_htmx = request.headers.get("hx-request") == "true"
    if is_htmx:
        url = urlsplit(request.headers.get("hx-current-url", ""))
        back = url.path + (f"?{url.query}" if url.query else "")
    elif request.method == "GET":
        query = request.url.query
        back = request.url.path + (f"?{query}" if query else "")
    else:
        back = "/"
    target = f"/login?next={quote(access.local_path(back), safe='/')}"
    if is_htmx:
        return Response(status_code=401, headers={"HX-Redirect": target})
    return Response(status_code=303, headers={"Location": target})
