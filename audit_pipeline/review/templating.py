"""Pages from templates: everything that is put into one is escaped, and shows what it is.

A character that would change how the text around it reads (a control character, a change of
direction) is shown as �.
"""

import datetime as dt
from decimal import Decimal
from urllib.parse import urlencode

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from audit_pipeline.model.person import Role
from audit_pipeline.report import plain
from audit_pipeline.review import static_files
from audit_pipeline.review.access import Person

DAY_SECONDS = 24 * 60 * 60


def money(cents: int | None) -> str:
    """1,234.50; a dash where there is none."""
    return "–" if cents is None else f"{Decimal(cents).scaleb(-2):,.2f}"


def moment(at: dt.datetime | None) -> str:
    """An instant, to the minute, UTC."""
    return "–" if at is None else f"{at.astimezone(dt.UTC):%Y-%m-%d %H:%M}"


def lasting(span: dt.timedelta) -> str:
    """A length of time in its largest unit."""
    seconds = abs(span.total_seconds())
    for unit, name in ((DAY_SECONDS, "d"), (3600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{seconds / unit:.0f} {name}"
    return "now"


def address(parameters: dict[str, str]) -> str:
    """The parameters of an address; half a surrogate pair, which has no UTF-8, becomes `?`."""
    return urlencode(parameters, errors="replace")


def _shown(value: object) -> object:
    return plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value


ENVIRONMENT = Environment(
    loader=PackageLoader("audit_pipeline.review"),
    autoescape=True,
    undefined=StrictUndefined,
    finalize=_shown,
    trim_blocks=True,
    lstrip_blocks=True,
)
ENVIRONMENT.filters |= {"money": money, "moment": moment, "lasting": lasting, "address": address}
ENVIRONMENT.globals |= {"static": static_files.address, "Role": Role}


def render(name: str, **context: object) -> Markup:
    """A template, or a piece of a page, as markup."""
    return Markup(ENVIRONMENT.get_template(name).render(**context))  # noqa: S704 - it escapes


def page(
    request: Request, person: Person | None, name: str, status: int = 200, **context: object
) -> HTMLResponse:
    """A template with what every page shows: who is signed in, where one is."""
    return HTMLResponse(render(name, person=person, path=request.url.path, **context), status)
