"""Tokens of a service principal: OAuth machine to machine, as RFC 6749 §4.4 has it.

Databricks' SDK would do it too, but its request for a token has no time limit and trusts no
authority that is named (databricks-sdk 0.60, `oauth.retrieve_token`).
"""

import base64
import json
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any

from audit_pipeline.adapters.databricks.faults import (
    credentials_refused,
    of_network,
    unavailable,
)
from audit_pipeline.model.workspace import Workspace

EARLIER = 60.0
"""Seconds before its end at which a token is not used any more."""
PATH = "/oidc/v1/token"
_REFUSED = (400, 401, 403)
_REPLY_BYTES_MAX = 65_536

Headers = dict[str, str]


class MachineTokens:
    """The connector's provider of credentials: called once, it gives what makes the header.

    Raises:
        WarehouseUnauthorised: from that, when the secret is wrong.
        WarehouseUnavailable: from that, when there is no answer.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._token, self._ends = "", 0.0

    def auth_type(self) -> str:
        """The connector's name for it."""
        return "oauth-m2m"

    def __call__(self) -> Callable[[], Headers]:
        """A function that gives the header of a request."""
        return self._header

    def _header(self) -> Headers:
        if time.monotonic() >= self._ends:
            self._fetch()
        return {"Authorization": f"Bearer {self._token}"}

    def _fetch(self) -> None:
        said = self._asked()
        token, lasts = said.get("access_token"), said.get("expires_in")
        if not isinstance(token, str) or not isinstance(lasts, int):
            raise unavailable(f"the reply of {PATH} has no token in it", self._workspace)
        self._token, self._ends = token, time.monotonic() + lasts - EARLIER

    def _asked(self) -> dict[str, Any]:
        workspace = self._workspace
        pair = f"{workspace.client_id}:{workspace.client_secret}".encode()
        request = urllib.request.Request(
            f"https://{workspace.host}{PATH}",
            urllib.parse.urlencode(
                {"grant_type": "client_credentials", "scope": "all-apis"}
            ).encode(),
            {"Authorization": f"Basic {base64.b64encode(pair).decode()}"},
        )
        trust = ssl.create_default_context(cafile=workspace.ca_file or None)
        try:
            with urllib.request.urlopen(  # noqa: S310 — as above
                request, timeout=workspace.silence_max, context=trust
            ) as reply:
                said = json.loads(reply.read(_REPLY_BYTES_MAX))
        except urllib.error.HTTPError as refused:
            with refused:
                words = refused.read(_REPLY_BYTES_MAX).decode(errors="replace")
            said = f"HTTP {refused.code} at {PATH}: {_reason(words)}"
            if refused.code in _REFUSED:
                raise credentials_refused(workspace, said) from refused
            raise unavailable(said, workspace) from refused
        except OSError as fault:
            raise of_network(fault, workspace) from fault
        except (ValueError, EOFError) as fault:
            raise unavailable(f"the reply of {PATH} is not JSON", workspace) from fault
        return said if isinstance(said, dict) else {}


def _reason(words: str) -> str:
    """`error: error_description` of a refusal; nothing else of it, which may be a page."""
    try:
        said = json.loads(words)
        return f"{said['error']}: {said.get('error_description') or 'no description'}"
    except (ValueError, KeyError, TypeError, AttributeError):
        return "no reason given"
