"""What machines ask of the desk: what it is, whether it is well, its numbers."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse
from prometheus_client import CONTENT_TYPE_LATEST
from sqlalchemy import text

from audit_pipeline.adapters.store import Store
from audit_pipeline.adapters.store.schema import HEAD
from audit_pipeline.model.errors import StoreUnavailable
from audit_pipeline.model.gold import Health
from audit_pipeline.model.person import Role
from audit_pipeline.review.access import asked_by
from audit_pipeline.review.desk import Desk, TheDesk
from audit_pipeline.review.metrics import metrics_of
from audit_pipeline.review.peers import is_local

router = APIRouter()
FRESH_SECONDS = 2.0
STORE_WAITS_SECONDS, REDIS_WAITS_SECONDS = 1.0, 0.03
"""What answers well takes a few milliseconds; nobody waits longer for what does not."""


class Probe:
    """The last word on one thing that may be slow to answer, asked for in the background."""

    def __init__(self, name: str, ask: Callable[[], Health], waits_seconds: float) -> None:
        self._name = name
        self._ask = ask
        self._waits = waits_seconds
        self._turn = threading.Lock()
        self._pool = ThreadPoolExecutor(1, f"health-{name}")
        self._asked: Future[Health] | None = None
        self._asked_at = 0.0

    def health(self) -> Health:
        """Not older than `FRESH_SECONDS`, or that there is no answer."""
        with self._turn:
            asked, now = self._asked, time.monotonic()
            if asked is None or (asked.done() and now - self._asked_at > FRESH_SECONDS):
                self._asked = asked = self._pool.submit(self._ask)
                self._asked_at = now
        try:
            return asked.result(self._waits)
        except NotYet:
            return Health(self._name, False, "does not answer")


class Probes:
    """Of the store and of Redis; one set for each application."""

    def __init__(self, desk: Desk) -> None:
        self.store = Probe("store", lambda: _store_health(desk.store), STORE_WAITS_SECONDS)
        self.redis = Probe("Redis", desk.live.check_redis_health, REDIS_WAITS_SECONDS)


@router.get("/", include_in_schema=False)
def root(request: Request) -> Response:
    """For a person the queue; for a program what this is."""
    if "text/html" in request.headers.get("accept", ""):
        return RedirectResponse("/flags", 303)
    return JSONResponse(
        {
            "name": "audit-pipeline desk",
            "version": request.app.version,
            "api": "/api/v1",
            "openapi": request.app.openapi_url,
            "health": "/health",
        }
    )


@router.get("/health", tags=["health"])
def health(request: Request) -> JSONResponse:
    """Whether the desk can work: 200 with `ok` or `degraded`, 503 where the store is away."""
    probes: Probes = request.app.state.probes
    store, redis = probes.store.health(), probes.redis.health()
    is_well = store.is_well and redis.is_well
    document: dict[str, Any] = {
        "status": "ok" if is_well else "degraded" if store.is_well else "down",
        "store": {"is_well": store.is_well, "schema_version": HEAD if store.is_well else None},
        "redis": {"is_well": redis.is_well},
        "degraded": [one.name for one in (store, redis) if not one.is_well],
    }
    return JSONResponse(document, 200 if store.is_well else 503)


@router.get("/metrics", include_in_schema=False)
def metrics(request: Request, desk: TheDesk) -> Response:
    """For Prometheus on this machine, or for an administrator."""
    if not is_local(request):
        session = asked_by(request, desk)
        if session is None or not session.user.role.may(Role.ADMIN):
            raise HTTPException(403, "numbers are for this machine and for administrators")
    return Response(metrics_of(request).text(), media_type=CONTENT_TYPE_LATEST)


def _store_health(store: Store) -> Health:
    """Whether it can be read, and is of this code's version; without its address."""
    try:
        with store.reading() as connection:
            version = connection.scalar(text("SELECT version_num FROM alembic_version"))
    except StoreUnavailable:
        return Health("store", False, "does not answer")
    return Health("store", version == HEAD, f"at version {version}")
