"""Which process this is, whether another one is still there, and dying together with a parent."""

import ctypes
import multiprocessing
import multiprocessing.connection
import os
import signal
import socket
import sys
import threading
from functools import cache
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def holder(pid: int | None = None) -> str:
    """host:process:start of a process on this machine, of this one by default.

    A process number is given to another process some day; the start, in ticks since the machine
    booted, tells the two apart. It is 0 where the system does not say (not Linux).
    """
    number = os.getpid() if pid is None else pid
    return f"{_host()}:{number}:{_started(number) or 0}"


def is_gone(other: str) -> bool:
    """That process of this machine has ended, or is a zombie; False for another machine's."""
    host, _, rest = other.rpartition(":")[0].rpartition(":")
    start = other.rpartition(":")[2]
    if host != _host() or not rest.isdecimal() or not start.isdecimal():
        return False
    pid = int(rest)
    if not Path("/proc/self/stat").exists():
        return not _answers(pid)
    return _started(pid) != int(start)


def die_with_parent() -> None:
    """Be killed when the parent ends, however it ends; does nothing where there is no such call.

    A step whose run worker is killed would go on, and write after a retry of the run has begun.
    One that came from a fork server has that one for a parent, which in its turn stays for as long
    as any of its children does: it watches whoever asked for it instead.
    """
    asked_by = multiprocessing.parent_process()
    if asked_by is not None and asked_by.pid != os.getppid():
        watch = threading.Thread(target=_end_after, args=(asked_by.sentinel,), daemon=True)
        watch.start()
    if sys.platform != "linux":
        return
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended just before the call
        os.kill(os.getpid(), signal.SIGKILL)


def _end_after(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os.kill(os.getpid(), signal.SIGKILL)


@cache
def _host() -> str:
    return socket.gethostname().replace(":", "-")[:200]


def _started(pid: int) -> int | None:
    """When the process began, in ticks; None where there is none, or a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    state, *fields = stat.rpartition(")")[2].split()  # the name before it may hold anything
    return None if state in "ZX" else int(fields[18])


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):  # a number that no process can have
        return False
    except PermissionError:
        return True
    return True
