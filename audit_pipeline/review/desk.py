"""What every route of the desk works with."""

from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from audit_pipeline.adapters.state import LiveState
from audit_pipeline.adapters.store import Store
from audit_pipeline.model.rule import Rules
from audit_pipeline.review.options import Options
from audit_pipeline.review.tokens import key_of
from audit_pipeline.settings import Settings


@dataclass(frozen=True)
class Desk:
    """The desk's own: its settings, the store that is open as long as it runs, the rules.

    Attributes:
        live: Redis, or nothing in its place.
        options: how it is reached.
    """

    settings: Settings
    store: Store
    rules: Rules
    live: LiveState
    options: Options = field(default_factory=Options.from_env)

    @property
    def key(self) -> bytes:
        """The secret under which tokens are signed; made at first use.

        Raises:
            BadUsage: it cannot be read, or is no secret.
        """
        path = self.options.key_path
        if path is not None:
            return key_of(path, may_create=False)
        return key_of(self.settings.data_dir / "desk.key", may_create=True)


def desk_of(request: Request) -> Desk:
    """The desk that serves this request."""
    desk: Desk = request.app.state.desk
    return desk


TheDesk = Annotated[Desk, Depends(desk_of)]
