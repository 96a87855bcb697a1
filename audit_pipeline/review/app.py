"""The application: its routes, in one list."""

from fastapi import FastAPI

from audit_pipeline.review import live, pages_flag, pages_queue
from audit_pipeline.review.desk import Desk
from audit_pipeline.review.live import Watch


def create_app(desk: Desk) -> FastAPI:
    """The desk as an ASGI application."""
    app = FastAPI(title="audit_pipeline", version="1", docs_url=None, redoc_url=None)
    app.state.desk = desk
    app.state.watch = Watch(desk.store)
    for routes in (live, pages_queue, pages_flag):
        app.include_router(routes.router)
    return app
