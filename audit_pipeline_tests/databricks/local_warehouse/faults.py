"""Faults to order: which request goes wrong, and how."""

import threading
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

FaultKind = Literal[
    "status",
    "reset_before",
    "reset_after",
    "truncate",
    "delay",
    "hang",
    "drip",
    "expired_link",
    "refused",
]
Moment = Literal["request", "link", "statement"]
MOMENTS: dict[str, Moment] = {"expired_link": "link", "refused": "statement"}
"""When a fault of that kind happens, where it is not when a request is answered."""
PIECES = 4


@dataclass
class Fault:
    """Something that goes wrong with some requests.

    Attributes:
        on: the name of a request: an RPC (`ExecuteStatement`, `FetchResults`, …), `CloudFetch`
            (any chunk), `CloudFetch/2` (the third), `OAuthToken`, `OAuthDiscovery`,
            `FeatureFlags`, `Volumes` or `Jobs` (`Jobs/submit`, `Jobs/get`, …).
        kind: what happens.
            `status`: the answer is an empty one with that HTTP status and those headers.
            `reset_before`: the connection is reset; the request is not carried out.
            `reset_after`: it is carried out, then the connection is reset: the reply is lost.
            `truncate`: it is carried out, and half of the reply's body arrives.
            `delay`: it is carried out after that many seconds.
            `hang`: no answer until the faults are cleared.
            `drip`: it is carried out; the reply's body comes in PIECES, each after that many
            seconds.
            `refused`: for `ExecuteStatement`, the engine refuses it in the words of `message`.
            `expired_link`: for `CloudFetch`, the link to the chunk is already past its time.
        nth: the first such request, counted from now, that goes wrong.
        times: how many go wrong from there.
        status: for the kind of that name.
        headers: likewise, e.g. `{"Retry-After": "1"}`.
        seconds: of a delay, or before each piece.
        saying: only requests whose body has this text in it, e.g. `MERGE INTO`.
        message: of a refusal.
    """

    on: str
    kind: FaultKind = "status"
    nth: int = 1
    times: int = 1
    status: int = 503
    headers: dict[str, str] = field(default_factory=dict[str, str])
    seconds: float = 0.0
    saying: str = ""
    message: str = ""
    met: int = 0

    def concerns(self, request: str, body: bytes) -> bool:
        """Whether it is about a request of that name and that body."""
        is_named = request == self.on or request.startswith(self.on + "/")
        return is_named and self.saying.encode() in body


class Faults:
    """The faults that are armed; safe to use from several threads."""

    def __init__(self) -> None:
        self._armed: list[Fault] = []
        self._lock = threading.Lock()
        self.cleared = threading.Event()

    def arm(self, described: dict[str, Any]) -> None:
        """Add one.

        Raises:
            ValueError: it is of no known kind.
            TypeError: an attribute has no such name.
        """
        known = {f.name for f in fields(Fault)} - {"met"}
        if set(described) - known:
            raise TypeError(f"a fault has no {sorted(set(described) - known)}")
        fault = Fault(**described)
        if fault.kind not in get_args(FaultKind):
            raise ValueError(f"no kind of fault is called {fault.kind!r}")
        with self._lock:
            self._armed.append(fault)

    def clear(self) -> None:
        """Forget them all, and let go what hangs."""
        with self._lock:
            self._armed.clear()
            self.cleared.set()
            self.cleared = threading.Event()

    def due(self, request: str, body: bytes = b"", moment: Moment = "request") -> Fault | None:
        """The fault that this request meets, if any. Counts the request.

        Args:
            request: its name.
            body: what was sent with it.
            moment: what is being done.
        """
        with self._lock:
            found = None
            for fault in self._armed:
                happens = MOMENTS.get(fault.kind, "request")
                if happens != moment or not fault.concerns(request, body):
                    continue
                fault.met += 1
                if found is None and fault.nth <= fault.met < fault.nth + fault.times:
                    found = fault
            return found
