"""Access tokens: who is signed in, under the desk's own signature, for a day.

The token names a sign-in and says nothing of what its owner may do: that is looked up, so that a
role that is taken away, a lock and a new password count from the next request on.
"""

import datetime as dt
import secrets
import uuid
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jwt

from audit_pipeline.adapters.store.accounts import Session
from audit_pipeline.adapters.trail.folder import write_once
from audit_pipeline.model.errors import BadUsage

LIVES = dt.timedelta(hours=24)
CHARACTERS_MAX = 2_048
KEY_BYTES_MIN = 32
ALGORITHM = "HS256"
ISSUER, AUDIENCE = "audit-pipeline", "audit-pipeline-desk"
HEADER = {"alg": ALGORITHM, "typ": "JWT"}
"""Of every token that was issued here: one that names a key or an address is of somebody else."""
CLAIMS: dict[str, type] = {
    "iss": str,
    "aud": str,
    "sub": str,
    "sid": str,
    "ver": int,
    "jti": str,
    "iat": int,
    "nbf": int,
    "exp": int,
}


class TokenInvalid(Exception):
    """It was not issued here, or not for now."""


@dataclass(frozen=True)
class Claims:
    """What a token says.

    Attributes:
        version: the account's `token_version` when the sign-in began.
    """

    user_id: str
    session_id: str
    version: int


@cache
def key_of(path: Path, *, may_create: bool) -> bytes:
    """The secret under which tokens are signed; read once by each process.

    Args:
        may_create: 32 random bytes, as 64 hex digits, where the file is not there yet.

    Raises:
        BadUsage: the file cannot be read or made, or is too short for a secret.
    """
    try:
        if may_create and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_once(path, f"{secrets.token_hex(KEY_BYTES_MIN)}\n".encode(), 0o600)
        key = path.read_bytes().strip()
    except OSError as fault:
        raise BadUsage(f"the desk's key {path}: {fault.strerror}") from fault
    if len(key) < KEY_BYTES_MIN:
        raise BadUsage(f"the desk's key {path}: fewer than {KEY_BYTES_MIN} bytes are no secret")
    return key


def issue(key: bytes, session: Session) -> str:
    """A token for a sign-in, from now on, for `LIVES` or until the sign-in ends."""
    now = dt.datetime.now(dt.UTC)
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": session.user.user_id,
        "sid": session.session_id,
        "ver": session.token_version,
        "jti": str(uuid.uuid4()),
        "iat": now,
        "nbf": now,
        "exp": min(now + LIVES, session.expires_at),
    }
    return jwt.encode(claims, key, algorithm=ALGORITHM)


def read(key: bytes, token: str) -> Claims:
    """What a token says, if it was issued here and holds now.

    Raises:
        TokenInvalid: it was not, or does not; nobody is told which.
    """
    if len(token) > CHARACTERS_MAX:
        raise TokenInvalid
    try:
        found: dict[str, Any] = jwt.decode_complete(
            token,
            key,
            algorithms=[ALGORITHM],
            audience=AUDIENCE,
            issuer=ISSUER,
            options={"require": list(CLAIMS), "strict_aud": True},
        )
    # beside its own errors: a text that is no ASCII, a number of seconds beyond any clock
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError) as fault:
        raise TokenInvalid from fault
    claims = found["payload"]
    if found["header"] != HEADER or any(type(claims[name]) is not CLAIMS[name] for name in CLAIMS):
        raise TokenInvalid
    return Claims(claims["sub"], claims["sid"], claims["ver"])
