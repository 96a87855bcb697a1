"""What tells open pages that something has changed: one question a while, however many look on."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from sqlalchemy import func, select
from starlette.concurrency import run_in_threadpool

from audit_pipeline.adapters.store import Store
from audit_pipeline.adapters.store.schema import AUDIT_TRAIL
from audit_pipeline.model.errors import StoreUnavailable
from audit_pipeline.review.access import Viewer

router = APIRouter()
LOOK_SECONDS = 1.0
BREATH_SECONDS = 15
LIVES_SECONDS = 600
"""A stream ends after this; the browser opens another one, and is asked again who it is."""


class Watch:
    """The trail's length: every change that a reviewer sees adds to it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._turn = threading.Lock()
        self._looked_at = 0.0
        self._length = 0

    def length(self) -> int:
        """As it was at most LOOK_SECONDS ago; as it was last known, where the store is away."""
        with self._turn:
            if time.monotonic() - self._looked_at >= LOOK_SECONDS:
                self._looked_at = time.monotonic()
                try:
                    with self._store.reading() as connection:
                        newest = select(func.max(AUDIT_TRAIL.c.log_sequence_number))
                        self._length = connection.scalar(newest) or 0
                except StoreUnavailable:
                    pass
            return self._length


@router.get("/events")
async def events(request: Request, person: Viewer) -> StreamingResponse:
    """Server-sent events: `changed`, with the trail's length."""
    watch: Watch = request.app.state.watch
    return StreamingResponse(
        _stream(request, watch),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _stream(request: Request, watch: Watch) -> AsyncIterator[str]:
    known = await run_in_threadpool(watch.length)
    yield f"retry: 2000\nevent: here\ndata: {known}\n\n"
    ends_at = time.monotonic() + LIVES_SECONDS
    breathed_at = time.monotonic()
    while time.monotonic() < ends_at and not await request.is_disconnected():
        await asyncio.sleep(LOOK_SECONDS)
        now = await run_in_threadpool(watch.length)
        if now != known:
            known = now
            yield f"event: changed\ndata: {known}\n\n"
        elif time.monotonic() - breathed_at > BREATH_SECONDS:
            yield ": here\n\n"
        else:
            continue
        breathed_at = time.monotonic()
