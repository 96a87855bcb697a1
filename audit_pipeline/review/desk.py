"""What every route of the desk works with."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from audit_pipeline.adapters.state import LiveState
from audit_pipeline.adapters.store import Store
from audit_pipeline.model.rule import Rules
from audit_pipeline.settings import Settings


@dataclass(frozen=True)
class Desk:
    """The desk's own: its settings, the store that is open as long as it runs, the rules.

    Attributes:
        live: Redis, or nothing in its place.
    """

    settings: Settings
    store: Store
    rules: Rules
    live: LiveState


def desk_of(request: Request) -> Desk:
    """The desk that serves this request."""
    desk: Desk = request.app.state.desk
    return desk


TheDesk = Annotated[Desk, Depends(desk_of)]
