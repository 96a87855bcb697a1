"""OAuth for machines: the discovery document and the token endpoint of a workspace."""

import base64
import binascii
import hashlib
import hmac
import json
import secrets
import time
import urllib.parse

TOKEN_SECONDS = 3600


class OAuth:
    """One service principal, and the tokens that it was given.

    Args:
        url: of the workspace, `https://127.0.0.1:<port>`.
        client_id: of the principal.
        client_secret: likewise.
    """

    def __init__(self, url: str, client_id: str, client_secret: str) -> None:
        self._url, self._client = url, (client_id, client_secret)
        self._tokens: set[str] = set()
        self._key = secrets.token_bytes(32)

    def discovery(self) -> tuple[int, dict[str, object]]:
        """Where tokens are given."""
        return 200, {
            "issuer": f"{self._url}/oidc",
            "authorization_endpoint": f"{self._url}/oidc/v1/authorize",
            "token_endpoint": f"{self._url}/oidc/v1/token",
            "grant_types_supported": ["client_credentials"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "scopes_supported": ["all-apis", "sql"],
        }

    def token(self, authorization: str, body: bytes) -> tuple[int, dict[str, object]]:
        """A token for the right id and secret, by header or by form: status and JSON."""
        form = {name: values[0] for name, values in urllib.parse.parse_qs(body.decode()).items()}
        if form.get("grant_type") != "client_credentials":
            return 400, {"error": "unsupported_grant_type", "error_description": "not this grant"}
        given = _basic(authorization) or (form.get("client_id", ""), form.get("client_secret", ""))
        if given != self._client:
            return 401, {
                "error": "invalid_client",
                "error_description": "Client authentication failed",
            }
        token = self._signed(form.get("scope", "all-apis"))
        self._tokens.add(token)
        return 200, {
            "access_token": token,
            "token_type": "Bearer",
            "scope": form.get("scope", "all-apis"),
            "expires_in": TOKEN_SECONDS,
        }

    def gave(self, token: str) -> bool:
        """Whether a token is one of these."""
        return token in self._tokens

    def revoke(self) -> None:
        """No token given so far holds any more."""
        self._tokens.clear()

    def _signed(self, scope: str) -> str:
        # a JWT, because the connector reads the issuer in it to see whether it must be exchanged
        now = int(time.time())
        claims = {
            "iss": f"{self._url}/oidc",
            "sub": self._client[0],
            "scope": scope,
            "iat": now,
            "exp": now + TOKEN_SECONDS,
            "jti": secrets.token_hex(8),
        }
        parts = [
            _url_safe(json.dumps(part).encode())
            for part in ({"alg": "HS256", "typ": "JWT"}, claims)
        ]
        signed = ".".join(parts)
        signature = hmac.new(self._key, signed.encode(), hashlib.sha256).digest()
        return f"{signed}.{_url_safe(signature)}"


def _url_safe(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _basic(authorization: str) -> tuple[str, str] | None:
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return user, password
