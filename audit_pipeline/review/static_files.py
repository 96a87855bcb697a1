"""Style sheets and scripts, each with a digest in its address, so that browsers may keep them."""

import hashlib
from functools import lru_cache
from importlib import resources
from pathlib import Path

FOLDER = Path(str(resources.files("audit_pipeline.review") / "static"))
PREFIX = "/static/"


@lru_cache(maxsize=256)
def digest(name: str) -> str | None:
    """12 hex digits of a file's content; None where there is no such file."""
    relative = Path(name)
    file = FOLDER / relative
    if relative.is_absolute() or ".." in relative.parts or not file.is_file():
        return None
    return hashlib.sha256(file.read_bytes()).hexdigest()[:12]


def address(name: str) -> str:
    """Where a page finds a file."""
    found = digest(name)
    return f"{PREFIX}{name}?v={found}" if found else f"{PREFIX}{name}"
