"""The application: its routes, in one list."""

from fastapi import Depends, FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.staticfiles import StaticFiles

from audit_pipeline.review import (
    api_auth,
    api_decisions,
    api_flags,
    api_jobs,
    api_runs,
    api_trail,
    api_workpapers,
    errors,
    live,
    pages_flag,
    pages_login,
    pages_overview,
    pages_queue,
    pages_root,
    pages_workpaper,
    static_files,
)
from audit_pipeline.review.access import CSRF_HEADER, guarded
from audit_pipeline.review.desk import Desk
from audit_pipeline.review.live import Watch
from audit_pipeline.review.metrics import Metrics
from audit_pipeline.review.middleware import REQUEST_ID, Shell

ROUTERS = (
    pages_root.router,
    pages_login.router,
    pages_queue.router,
    pages_flag.router,
    pages_overview.router,
    pages_workpaper.router,
    live.router,
    api_auth.router,
    api_flags.router,
    api_trail.router,
    api_runs.router,
    api_decisions.router,
    api_jobs.router,
    api_workpapers.router,
)


def create_app(desk: Desk) -> FastAPI:
    """The desk as an ASGI application."""
    app = FastAPI(
        title="audit_pipeline",
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/v1/openapi.json",
        dependencies=[Depends(guarded)],
    )
    app.state.desk = desk
    app.state.watch = Watch(desk.store)
    app.state.metrics = Metrics(desk.store)
    app.state.probes = pages_root.Probes(desk)
    errors.install(app)
    if static_files.FOLDER.is_dir():
        app.mount(static_files.PREFIX.rstrip("/"), StaticFiles(directory=static_files.FOLDER))
    for router in ROUTERS:
        app.include_router(router)
    if desk.options.origins:
        # their scripts prove who asks with a token: no cookie is ever sent along
        app.add_middleware(
            CORSMiddleware,
            allow_origins=desk.options.origins,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type", CSRF_HEADER, REQUEST_ID],
            expose_headers=[REQUEST_ID, "Retry-After"],
        )
    app.add_middleware(Shell, desk=desk, metrics=app.state.metrics)
    return app
