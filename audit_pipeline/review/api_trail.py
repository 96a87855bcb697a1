"""The trail, for programs: what was done, by whom, each entry with the hash that proves it."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from sqlalchemy import ColumnElement, or_

from audit_pipeline.adapters.store import trail_reader
from audit_pipeline.adapters.store.schema import AUDIT_TRAIL
from audit_pipeline.adapters.store.trail import TrailEntry
from audit_pipeline.review import cursors
from audit_pipeline.review.access import Viewer
from audit_pipeline.review.desk import TheDesk

router = APIRouter(prefix="/api/v1/trail", tags=["trail"])


class EntryOut(BaseModel):
    """An entry, as it is stored: the texts are what its hash covers."""

    log_sequence_number: int
    intact: bool = Field(description="the hash is the one of what is stored")
    leaf_hash: str = Field(description="RFC 6962, SHA-256, of the canonical JSON of `document`")
    document: dict[str, Any] = Field(
        description="the hashed columns; `input_data`, `output_summary` and `decision_chain` are"
        " JSON texts"
    )

    @classmethod
    def of(cls, entry: TrailEntry) -> "EntryOut":
        """Whatever somebody has made of it."""
        return cls(
            log_sequence_number=entry.log_sequence_number,
            intact=entry.intact,
            leaf_hash=str(entry.leaf_hash),
            document=dict(entry.document),
        )


class TrailPage(BaseModel):
    """Entries in the order of their numbers."""

    entries: list[EntryOut]
    next: str | None = Field(description="the cursor of the following page; none: the last one")


@router.get("", summary="The trail, page by page")
def read_trail(
    desk: TheDesk,
    person: Viewer,
    run: Annotated[str | None, Query(max_length=36, description="of this audit run")] = None,
    agent: Annotated[str | None, Query(max_length=100, description="e.g. reviewer:ann")] = None,
    flag: Annotated[str | None, Query(max_length=36, description="that names this flag")] = None,
    cursor: cursors.Cursor = None,
    limit: cursors.Limit = 50,
) -> TrailPage:
    """The earliest entries first. By flag every entry is looked at, which takes its time."""
    trail = AUDIT_TRAIL.c
    wanted: list[ColumnElement[bool]] = []
    if run is not None:
        wanted.append(trail.audit_run_id == run)
    if agent is not None:
        wanted.append(trail.agent_name == agent)
    if flag is not None:
        # the canonical JSON of a document has no spaces
        named = f'"flag_id":"{flag}"'
        wanted.append(
            or_(
                trail.input_data.contains(named, autoescape=True),
                trail.output_summary.contains(named, autoescape=True),
            )
        )
    after = cursors.number_of(cursor)
    entries = list(
        trail_reader.pages(desk.store.reading, wanted, after, limit + 1, cursors.ROWS_MAX + 1)
    )
    more = len(entries) > limit
    return TrailPage(
        entries=[EntryOut.of(entry) for entry in entries[:limit]],
        next=str(entries[limit - 1].log_sequence_number) if more else None,
    )
