"""What was asked of the warehouse, and how many bytes it sent: the proof of what is pushed down."""

import threading
from collections import defaultdict
from dataclasses import asdict, dataclass


@dataclass
class Entry:
    """One request, written down when it comes, and completed before its reply is sent.

    Attributes:
        request: its name, as `Fault.on` has it.
        received_bytes: of the request's body.
        user_agent: who asked.
        status: of HTTP; 0 where nothing was answered, or the connection was reset.
        sent_bytes: of the reply's body.
    """

    request: str
    received_bytes: int
    user_agent: str
    status: int = 0
    sent_bytes: int = 0


class Journal:
    """Requests and statements in the order in which they came."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: list[Entry] = []
        self._statements: list[str] = []

    def request(self, entry: Entry) -> None:
        """Write a request down."""
        with self._lock:
            self._entries.append(entry)

    def statement(self, sql: str) -> None:
        """Write down a statement that arrived at the engine."""
        with self._lock:
            self._statements.append(sql)

    def read(self) -> dict[str, object]:
        """All of it, for JSON; `bytes_sent` adds up by the request's name without its number."""
        with self._lock:
            sent: defaultdict[str, int] = defaultdict(int)
            for entry in self._entries:
                sent[entry.request.partition("/")[0]] += entry.sent_bytes
            return {
                "requests": [asdict(entry) for entry in self._entries],
                "statements": list(self._statements),
                "bytes_sent": dict(sent),
            }

    def clear(self) -> None:
        """Start again."""
        with self._lock:
            self._entries.clear()
            self._statements.clear()
