"""The Files API over a folder: what dagster-databricks' Pipes ends ask of a volume.

A path of a volume is that of the folder itself, so a job that runs here finds it where a cluster
has it mounted.
"""

import urllib.parse
from pathlib import Path

Reply = tuple[int, object]
"""A status of HTTP, and bytes or what is said as JSON."""
DIRECTORIES, FILES = "/api/2.0/fs/directories", "/api/2.0/fs/files"


class Volumes:
    """Files under one folder; everything else is forbidden."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.volume = self.root / "main" / "audit" / "jobs"
        self.volume.mkdir(parents=True, exist_ok=True)

    def answer(self, method: str, path: str, body: bytes) -> Reply:
        """The reply to one request.

        Args:
            method: of HTTP.
            path: with one of the two prefixes.
            body: of a file that is put.
        """
        of_files = path.startswith(FILES)
        named = path.removeprefix(FILES if of_files else DIRECTORIES)
        place = Path(urllib.parse.unquote(named)).resolve()
        if not place.is_relative_to(self.root):
            return _refused(403, "PERMISSION_DENIED", f"User does not have READ VOLUME on {place}")
        return _file(method, place, body) if of_files else _directory(method, place)


def _file(method: str, place: Path, body: bytes) -> Reply:
    if method == "PUT" and place.parent.is_dir():
        place.write_bytes(body)
        return 204, b""
    if not place.is_file():
        return _refused(404, "NOT_FOUND", f"The file {place} does not exist")
    if method == "DELETE":
        place.unlink()
        return 204, b""
    return 200, b"" if method == "HEAD" else place.read_bytes()


def _directory(method: str, place: Path) -> Reply:
    if method == "PUT":
        place.mkdir(parents=True, exist_ok=True)
        return 204, b""
    if not place.is_dir():
        return _refused(404, "NOT_FOUND", f"The directory {place} does not exist")
    if method == "DELETE":
        if any(place.iterdir()):
            return _refused(400, "DIRECTORY_NOT_EMPTY", f"The directory {place} is not empty")
        place.rmdir()
        return 204, b""
    if method == "HEAD":
        return 200, b""
    contents = [
        {"path": str(one), "name": one.name, "is_directory": one.is_dir()}
        for one in sorted(place.iterdir())
    ]
    return 200, {"contents": contents}


def _refused(status: int, code: str, message: str) -> Reply:
    return status, {"error_code": code, "message": message}
