"""Pages from templates: everything that is put into one is escaped."""

from importlib import resources

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from audit_pipeline.review.access import Person

ENVIRONMENT = Environment(
    loader=PackageLoader("audit_pipeline.review"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
STATIC = resources.files("audit_pipeline.review") / "static"


def page(
    request: Request, person: Person | None, name: str, status: int = 200, **context: object
) -> HTMLResponse:
    """A template with what every page shows: who is signed in, where one is."""
    text = ENVIRONMENT.get_template(name).render(person=person, path=request.url.path, **context)
    return HTMLResponse(text, status)
