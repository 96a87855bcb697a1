"""Redis, where there is one: a run's live state and progress, and a cache.

Nothing depends on it. The store's table `workflow_state` is the truth; what is here shows a run
at work to whoever looks, and spares what was worked out before. Every value has an end of life,
and whatever Redis answers is untrusted: what cannot be read, or names another key, is not there.
"""

import datetime as dt
import json
import math
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from audit_pipeline.adapters.store import Store
from audit_pipeline.adapters.store.store import Sealing
from audit_pipeline.model.errors import BadUsage
from audit_pipeline.model.gold import Health
from audit_pipeline.model.untrusted import in_one_line, masked

if TYPE_CHECKING:
    from redis import ConnectionPool, Redis

ANSWERS_WITHIN_SECONDS = 0.25
"""For a connection and for an answer; the client's own defaults wait 45 s and more."""
LEFT_ALONE_SECONDS = 30.0
"""After a failure; twice as long after each further one. So a day of a server that accepts and
never answers costs a process 3 s in all, and one that comes back is found again within the time
that it was away."""
STATE_LIVES_SECONDS = 24 * 60 * 60
"""The specification's."""
CACHE_LIVES_SECONDS_MAX = 7 * 24 * 60 * 60
VALUE_BYTES_MAX = 1_000_000
"""Of a value that is kept or read."""
COUNT_MAX = 2**53
PREFIX = "audit_pipeline"
SAID_CHARACTERS_MAX = 160

Answered = TypeVar("Answered")

# A value that is put in between has its tag again, and one of another program stays.
_FORGET = """
local forgotten = 0
for _, key in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  if string.sub(key, 1, #ARGV[1]) == ARGV[1] then
    forgotten = forgotten + redis.call('DEL', key)
  end
end
redis.call('DEL', KEYS[1])
return forgotten
"""

# Nobody has to read a hash that somebody has blown up.
_PROGRESS = """
local size = 0
local found = redis.call('HGETALL', KEYS[1])
for _, text in ipairs(found) do size = size + #text end
if size > tonumber(ARGV[1]) then return {} end
return found
"""


@dataclass(frozen=True)
class AgentProgress:
    """How far an agent is in a run.

    Attributes:
        since: when its first step of the run began, UTC.
        tools_called: also those that failed.
        rows: that its tools have made.
    """

    agent: str
    since: dt.datetime
    tools_called: int
    rows: int


@cache
def live_state(url: str = "") -> "LiveState":
    """The one of this process at that address: what it knows of a dead server, every step knows.

    Raises:
        BadUsage: the address is none.
    """
    return LiveState(url)


class LiveState:
    """What the audit keeps in Redis; without an address it keeps nothing and has nothing.

    Usable from several threads, which take turns on one connection. No method raises because of
    Redis: what cannot be written is left out, what cannot be read is not there.

    Args:
        url: `redis://`, `rediss://` (TLS) or `unix://`; empty for none.
        clock: seconds that only grow.

    Raises:
        BadUsage: the address is none.
    """

    def __init__(self, url: str = "", clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._turn = threading.Lock()
        self._failures = 0
        self._alone_until = -math.inf
        self._said = ""
        self._pool = _pool(url) if url else None

    @property
    def is_used(self) -> bool:
        """There is an address."""
        return self._pool is not None

    def close(self) -> None:
        """Close the connection; it is opened again when it is needed."""
        if self._pool is not None:
            self._pool.disconnect()

    # ---- a run at work

    def save_workflow_state(self, audit_run_id: str, state: Mapping[str, Any]) -> None:
        """Show how far a run is, for 24 hours.

        Args:
            state: what JSON has no word for is kept as its `str`.
        """
        text = json.dumps(dict(state), default=str)
        self._put(_key("run", audit_run_id, "state"), text, STATE_LIVES_SECONDS)

    def restore_workflow_state(self, audit_run_id: str) -> dict[str, Any]:
        """What was last shown of a run; empty where nothing is known. For display only."""
        state = self._get(_key("run", audit_run_id, "state"))
        return state if isinstance(state, dict) else {}

    def mark_audit_complete(self, audit_run_id: str, summary: Mapping[str, Any]) -> None:
        """Show a run as completed, with its summary, over the state it had."""
        state = self.restore_workflow_state(audit_run_id)
        done = [*_texts(state.get("completed_agents")), *_texts(state.get("pending_agents"))]
        ended = {
            "status": "completed",
            "workflow_status": "completed",
            "current_agent": None,
            "completed_agents": list(dict.fromkeys(done)),
            "pending_agents": [],
            "summary": dict(summary),
            "completed_at": dt.datetime.now(dt.UTC).isoformat(),
        }
        self.save_workflow_state(audit_run_id, state | ended)

    def advance(self, audit_run_id: str, agent: str, tools: int = 0, rows: int = 0) -> None:
        """An agent is at work, and has called so many more tools, which made so many rows."""
        key = _key("run", audit_run_id, "progress")
        now = dt.datetime.now(dt.UTC).isoformat()

        def told(redis: "Redis") -> None:
            with redis.pipeline(transaction=True) as lines:
                lines.hsetnx(key, f"{agent}:since", now)
                lines.hincrby(key, f"{agent}:tools", tools)
                lines.hincrby(key, f"{agent}:rows", rows)
                lines.expire(key, STATE_LIVES_SECONDS)
                lines.execute()

        self._ask(told, None)

    def progress(self, audit_run_id: str) -> list[AgentProgress]:
        """The agents of a run that have begun, the first one first; empty where none is known."""
        key = _key("run", audit_run_id, "progress")
        found: Any = self._ask(lambda redis: redis.eval(_PROGRESS, 1, key, VALUE_BYTES_MAX), [])
        texts = [t.decode("ascii", "replace") for t in _list(found) if isinstance(t, bytes)]
        fields = dict(zip(texts[::2], texts[1::2], strict=False))
        agents = [name.removesuffix(":since") for name in fields if name.endswith(":since")]
        read = [_progress(agent, fields) for agent in agents]
        begun = [one for one in read if one is not None]
        return sorted(begun, key=lambda one: (one.since, one.agent))

    # ---- the cache

    def put(self, key: str, value: object, ttl_seconds: int, tags: Iterable[str] = ()) -> None:
        """Keep a value under a key for so long, at most a week.

        Args:
            tags: what it is to be forgotten with.

        Raises:
            TypeError: JSON has no word for it.
            ValueError: it holds a number that is none, or refers to itself.
        """
        text = json.dumps(value, allow_nan=False)
        lives = max(1, min(ttl_seconds, CACHE_LIVES_SECONDS_MAX))
        self._put(_key("cache", key), text, lives, [_key("tag", tag) for tag in tags])

    def get(self, key: str) -> Any:
        """The value of a key as JSON has it; None where there is none."""
        return self._get(_key("cache", key))

    def forget(self, tag: str) -> int | None:
        """Drop every value of a tag; how many there were, None where Redis did not answer."""
        mine = _key("cache", "")
        forgotten: Any = self._ask(lambda redis: redis.eval(_FORGET, 1, _key("tag", tag), mine), -1)
        return forgotten if isinstance(forgotten, int) and forgotten >= 0 else None

    # ---- whether it works

    def check_redis_health(self) -> Health:
        """Whether Redis can be written to and read from now, also while it is left alone."""
        if self._pool is None:
            return Health("Redis", True, "not used: AUDIT_REDIS_URL is not set")
        key, now = _key("health"), dt.datetime.now(dt.UTC).isoformat()

        def tried(redis: "Redis") -> object:
            redis.set(key, now, ex=60)
            return redis.get(key)

        with self._turn:
            self._alone_until = -math.inf
        self._said = "it does not give back what is written"
        if self._ask(tried, None) == now.encode():
            return Health("Redis", True, f"{_place(self._pool)}: can be read and written")
        said = self._said.rstrip(".")
        return Health("Redis", False, f"{said}; audits go on without it")

    # ---- asking

    def _put(self, key: bytes, text: str, lives: int, tags: Iterable[bytes] = ()) -> None:
        """Keep JSON text, bound to its key."""
        bound = f'{{"key": {json.dumps(_shown(key))}, "value": {text}}}'.encode()
        if len(bound) > VALUE_BYTES_MAX:
            return

        def told(redis: "Redis") -> None:
            with redis.pipeline(transaction=True) as lines:
                lines.set(key, bound, ex=lives)
                for tag in tags:
                    lines.sadd(tag, key)
                    lines.expire(tag, CACHE_LIVES_SECONDS_MAX)  # no value of it lives longer
                lines.execute()

        self._ask(told, None)

    def _get(self, key: bytes) -> Any:
        """The value that is bound to that key; None where there is none that can be read."""
        # at most one byte too many comes, however large it is
        text: Any = self._ask(lambda redis: redis.getrange(key, 0, VALUE_BYTES_MAX), None)
        if not isinstance(text, bytes) or len(text) > VALUE_BYTES_MAX:
            return None
        try:
            found = json.loads(text, parse_constant=_refused)
        except (ValueError, RecursionError):
            return None
        is_bound = isinstance(found, dict) and found.get("key") == _shown(key)
        return found.get("value") if is_bound else None

    def _ask(self, what: "Callable[[Redis], Answered]", otherwise: Answered) -> Answered:
        """What Redis answers; `otherwise` where it does not, or is left alone after a failure."""
        if self._pool is None:
            return otherwise
        from redis import Redis
        from redis.exceptions import ResponseError

        with self._turn:
            if self._clock() < self._alone_until:
                return otherwise
            try:
                answer = what(Redis(connection_pool=self._pool))
            except ResponseError as fault:  # it refuses this, and works
                self._said = self._line(fault)
                return otherwise
            except Exception as fault:  # noqa: BLE001 — what answers there may be anything
                self._said = self._line(fault)
                self._alone_until = self._clock() + LEFT_ALONE_SECONDS * 2**self._failures
                self._failures = min(self._failures + 1, 10)
                self._pool.disconnect()  # a late answer must not be taken for the next one
                return otherwise
            self._failures = 0
            return answer

    def _line(self, fault: Exception) -> str:
        """What went wrong, without the password, which a server could send back."""
        secret = self._pool.connection_kwargs.get("password") if self._pool else None
        said = masked(str(fault) or type(fault).__name__, [secret] if secret else [])
        return in_one_line(said, SAID_CHARACTERS_MAX)


class MirroredStore(Store):
    """The store; each workflow state that it has saved is shown in Redis too."""

    live: LiveState

    @classmethod
    def mirrored(cls, url: str, live: LiveState, sealer: Sealing | None = None) -> "MirroredStore":
        """Open the store at `url`; see `Store.open`."""
        store = cls.open(url, sealer=sealer)
        store.live = live
        return store

    def save_workflow_state(self, audit_run_id: str, state: Mapping[str, Any]) -> None:
        """See `Writer.save_workflow_state`."""
        super().save_workflow_state(audit_run_id, state)
        self.live.save_workflow_state(audit_run_id, state)

    def mark_audit_complete(self, audit_run_id: str, summary: Mapping[str, Any]) -> None:
        """See `Writer.mark_audit_complete`."""
        super().mark_audit_complete(audit_run_id, summary)
        self.live.mark_audit_complete(audit_run_id, summary)


def _pool(url: str) -> "ConnectionPool":
    from redis import ConnectionPool
    from redis.backoff import NoBackoff
    from redis.connection import parse_url
    from redis.maint_notifications import MaintNotificationsConfig
    from redis.retry import Retry

    try:
        address = parse_url(url)
    except ValueError:
        raise BadUsage("AUDIT_REDIS_URL: not an address of Redis") from None
    ours = {
        "socket_timeout": ANSWERS_WITHIN_SECONDS,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,  # asks for no handshake but AUTH and SELECT, of servers of any age
        "driver_info": None,
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    }
    if "path" not in address:
        ours["socket_connect_timeout"] = ANSWERS_WITHIN_SECONDS
    return ConnectionPool(**(address | ours))


def _place(pool: "ConnectionPool") -> str:
    at = pool.connection_kwargs
    return str(at.get("path") or f"{at.get('host', 'localhost')}:{at.get('port', 6379)}")


def _key(*parts: str) -> bytes:
    return ":".join((PREFIX, *parts)).encode("utf-8", "surrogatepass")


def _shown(key: bytes) -> str:
    return key.decode("utf-8", "surrogatepass")


def _refused(constant: str) -> object:
    raise ValueError(constant)


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _texts(value: object) -> list[str]:
    return [text for text in _list(value) if isinstance(text, str)]


def _progress(agent: str, fields: Mapping[str, str]) -> AgentProgress | None:
    """From the texts of a hash; None where one of them is not what was written."""
    counts = [fields.get(f"{agent}:{name}", "") for name in ("tools", "rows")]
    if not re.fullmatch("[a-z_]{1,40}", agent) or not all(
        re.fullmatch("[0-9]{1,16}", count) and int(count) <= COUNT_MAX for count in counts
    ):
        return None
    try:
        since = dt.datetime.fromisoformat(fields[f"{agent}:since"])
    except ValueError:
        return None
    return None if since.tzinfo is None else AgentProgress(agent, since, *map(int, counts))
