"""Passwords: what is kept of them, and whether one is right."""

import threading
import unicodedata
from functools import cache

from pwdlib import PasswordHash

from audit_pipeline.model.errors import BadUsage

CHARACTERS_MIN, CHARACTERS_MAX = 12, 1_024
_AT_ONCE = threading.BoundedSemaphore(4)
"""Each takes 64 MiB for a moment."""


def hashed(password: str) -> str:
    """What is kept of a password: Argon2id with its recommended parameters, and a new salt.

    Raises:
        BadUsage: it is too short or too long.
    """
    refuse_length(password)
    with _AT_ONCE:
        return _hasher().hash(_bytes(password))


def refuse_length(password: str) -> None:
    """The one rule that a new password has to keep.

    Raises:
        BadUsage: it is too short or too long.
    """
    if not CHARACTERS_MIN <= len(password) <= CHARACTERS_MAX:
        raise BadUsage(f"a password has {CHARACTERS_MIN} to {CHARACTERS_MAX:,} characters")


def verified(password: str, known: str | None) -> tuple[bool, str | None]:
    """Whether a password is right; takes as long where there is no account.

    Args:
        known: what `hashed` gave; None: there is no such account.

    Returns:
        With it a new hash, where it is right and parameters have changed since.
    """
    # what is too long is of nobody: it is not worth the time that its length would take
    given = _bytes(password) if len(password) <= CHARACTERS_MAX else b""
    with _AT_ONCE:
        is_right, newer = _hasher().verify_and_update(given, known or _nobodys())
    return (is_right, newer) if known else (False, None)


@cache
def _hasher() -> PasswordHash:
    return PasswordHash.recommended()


@cache
def _nobodys() -> str:
    return _hasher().hash(b"nobody's")


def _bytes(password: str) -> bytes:
    """Equal for equal letters, however a keyboard composes them."""
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")
