"""Workpapers for programs: POST /api/v1/workpapers."""

import datetime as dt
from typing import Annotated, Self

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from audit_pipeline.adapters.store.papers import FLAGS_MAX, Selection
from audit_pipeline.review.access import Viewer
from audit_pipeline.review.desk import TheDesk
from audit_pipeline.review.pages_workpaper import FlagId, Format, download
from audit_pipeline.review.workpaper import PURPOSE, PURPOSE_CHARACTERS_MAX
from audit_pipeline.review.workpaper_file import FORMATS

router = APIRouter(prefix="/api/v1")


class Wanted(BaseModel):
    """A range of audit dates (inclusive), or flags; and the format of the file."""

    model_config = ConfigDict(extra="forbid")

    from_on: Annotated[dt.date | None, Field(alias="from")] = None
    to_on: Annotated[dt.date | None, Field(alias="to")] = None
    flag_ids: Annotated[list[FlagId], Field(max_length=FLAGS_MAX)] = []
    format: Format = "xlsx"
    purpose: Annotated[str, Field(max_length=PURPOSE_CHARACTERS_MAX)] = PURPOSE

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        days = (self.from_on is not None) + (self.to_on is not None)
        if bool(self.flag_ids) == bool(days) or days == 1:
            message = "give either from and to, or flag_ids"
            raise ValueError(message)
        return self


@router.post(
    "/workpapers",
    response_class=Response,
    responses={200: {"content": {kind: {} for kind in FORMATS.values()}}},
)
def make(desk: TheDesk, person: Viewer, wanted: Wanted) -> Response:
    """The file of a workpaper; its making is an entry in the trail."""
    asked = Selection(wanted.from_on, wanted.to_on, tuple(wanted.flag_ids))
    return download(desk, person, asked, wanted.format, wanted.purpose)
