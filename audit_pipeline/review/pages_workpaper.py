"""Workpapers from the desk: the form, and the file that it asks for."""

import datetime as dt
from typing import Annotated, Literal

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, Response

from audit_pipeline.adapters.store import overview
from audit_pipeline.adapters.store.papers import FLAGS_MAX, Selection
from audit_pipeline.review.access import Person, Viewer
from audit_pipeline.review.desk import Desk, TheDesk
from audit_pipeline.review.pages_overview import period
from audit_pipeline.review.templating import page
from audit_pipeline.review.workpaper import (
    PURPOSE,
    PURPOSE_CHARACTERS_MAX,
    Prepared,
    workpaper,
)
from audit_pipeline.review.workpaper_file import FORMATS, file_name, record, written

router = APIRouter()
Format = Literal["xlsx", "pdf", "csv"]
FlagId = Annotated[str, Query(min_length=36, max_length=36, pattern="^[0-9a-f-]{36}$")]
Day = dt.date | None


@router.get("/workpaper", response_class=HTMLResponse)
def form(
    request: Request,
    desk: TheDesk,
    person: Viewer,
    from_on: Annotated[Day, Query(alias="from")] = None,
    to_on: Annotated[Day, Query(alias="to")] = None,
    flag_id: Annotated[list[FlagId] | None, Query(max_length=FLAGS_MAX)] = None,
) -> HTMLResponse:
    """The form: a period, by default the last 90 days with data, or the flags that are named."""
    with desk.store.reading() as connection:
        usual = overview.last_days(connection)
    begin, end = period(usual, from_on, to_on)
    return page(
        request,
        person,
        "workpaper.html",
        from_on=begin,
        to_on=end,
        flag_ids=flag_id or [],
        purpose=PURPOSE,
        purpose_max=PURPOSE_CHARACTERS_MAX,
    )


@router.post("/workpaper", response_class=Response)
def make(
    desk: TheDesk,
    person: Viewer,
    form: Annotated[Format, Form(alias="format")] = "xlsx",
    from_on: Annotated[Day, Form(alias="from")] = None,
    to_on: Annotated[Day, Form(alias="to")] = None,
    flag_id: Annotated[list[FlagId] | None, Form(max_length=FLAGS_MAX)] = None,
    purpose: Annotated[str, Form(max_length=PURPOSE_CHARACTERS_MAX)] = PURPOSE,
) -> Response:
    """The file."""
    asked = Selection(from_on, to_on, tuple(flag_id or ()))
    return download(desk, person, asked, form, purpose)


def download(desk: Desk, person: Person, asked: Selection, form: Format, purpose: str) -> Response:
    """A workpaper as a file to save, once the trail says that it was handed out.

    Raises:
        BadUsage: nothing is asked for, or too much.
        FlagUnknown: a named flag is not there.
    """
    prepared = Prepared(
        f"{person.display_name} ({person.user_id})",
        dt.datetime.now(dt.UTC).replace(microsecond=0),
        purpose.strip() or PURPOSE,
    )
    paper = workpaper(desk.store, desk.settings, asked, prepared)
    content = written(paper, form)
    record(desk.store, paper, form, f"reviewer:{person.user_id}")
    return Response(
        content,
        media_type=FORMATS[form],
        headers={
            "Content-Disposition": f'attachment; filename="{file_name(paper, form)}"',
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
        },
    )
