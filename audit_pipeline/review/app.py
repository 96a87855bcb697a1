"""The application: its routes, in one list."""

from fastapi import FastAPI

from audit_pipeline.review.desk import Desk


def create_app(desk: Desk) -> FastAPI:
    """The desk as an ASGI application."""
    app = FastAPI(title="audit_pipeline", version="1", docs_url=None, redoc_url=None)
    app.state.desk = desk
    return app
