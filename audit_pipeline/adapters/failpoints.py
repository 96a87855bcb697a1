"""Named places before and after each effect, at which a test can kill the process.

`arm` kills this process with SIGKILL there: no `finally`, no flush, as when the machine takes it
away. Unarmed, a place costs a comparison. `make torture` kills audits at these places and looks for
what was lost, doubled or half done.
"""

import os
import signal

TRANSACTIONS = (
    "migration",
    "begin",
    "partition",
    "publish",
    "close",
    "decide",
    "step_events",
    "checkpoint",
    "archive",
    "reserve",
    "settle",
)
"""The effects in the store, by the name that `Store.writing` is given."""

FAILPOINTS = (
    *(f"{name}.{place}" for name in TRANSACTIONS for place in ("before", "within", "after")),
    "rename.before",
    "rename.after",
    "snapshot.before",
    "snapshot.after",
    "rules.before",
    "rules.after",
    "note.before",
    "note.after",
    "archived.before",
    "archived.after",
)
"""`before`: nothing of it is there; `within`: all but the commit; `after`: it is there."""

_armed = ""
_left = 0


def arm(name: str) -> None:
    """Kill this process at that place; `name:3` at the third time; empty for never."""
    global _armed, _left  # noqa: PLW0603 - one process has one life
    _armed, _, times = name.partition(":")
    _left = int(times or 1)


def here(name: str) -> None:
    """Die here, if this is the place and the time."""
    global _left  # noqa: PLW0603 - as above
    if name != _armed:
        return
    _left -= 1
    if _left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
