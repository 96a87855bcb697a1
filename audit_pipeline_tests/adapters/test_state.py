"""Redis: what is kept and for how long, what is read back, and what a dead one costs."""

import datetime as dt
import json
import multiprocessing
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import pytest
import redis

from audit_pipeline.adapters.state import (
    CACHE_LIVES_SECONDS_MAX,
    LEFT_ALONE_SECONDS,
    VALUE_BYTES_MAX,
    LiveState,
    MirroredStore,
    live_state,
)
from audit_pipeline.model.errors import BadUsage
from audit_pipeline_tests.redis_server import RedisServer, running

RUN = "0c8e6a3e-7a61-4d0e-9a9a-1f3c5d7e9b11"
STATE_KEY = f"audit_pipeline:run:{RUN}:state"
PROGRESS_KEY = f"audit_pipeline:run:{RUN}:progress"
DAY_SECONDS = 86_400
NASTY = "Müller \ud800 \u202e\n:*?[x] 'drop'"


@dataclass
class Clock:
    """Seconds that pass when a test says so."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def live(redis_url: str) -> Iterator[LiveState]:
    with closing(LiveState(redis_url)) as opened:
        yield opened


@pytest.fixture
def raw(redis_url: str) -> Iterator[redis.Redis]:
    """To look at what is there, and to spoil it."""
    with closing(redis.Redis.from_url(redis_url, protocol=2)) as client:
        yield client


# ---- a run at work


@pytest.mark.redis
def test_a_saved_state_comes_back_and_lives_a_day(live: LiveState, raw: redis.Redis):
    state = {"workflow_status": "in_progress", "current_agent": "escalation", "vendor": NASTY}
    live.save_workflow_state(RUN, state | {"on": dt.date(2025, 3, 1), "of": Decimal("1.10")})
    assert live.restore_workflow_state(RUN) == state | {"on": "2025-03-01", "of": "1.10"}
    assert DAY_SECONDS - 60 < raw.ttl(STATE_KEY) <= DAY_SECONDS
    assert live.restore_workflow_state("another") == {}


@pytest.mark.redis
def test_completing_keeps_what_was_known(live: LiveState, raw: redis.Redis):
    agents = {"completed_agents": ["data_quality"], "pending_agents": ["escalation", 7, None]}
    live.save_workflow_state(RUN, {"population": "demo", **agents})
    live.mark_audit_complete(RUN, {"flagged": 3})
    state = live.restore_workflow_state(RUN)
    assert state["population"] == "demo"
    assert state["workflow_status"] == state["status"] == "completed"
    assert state["completed_agents"] == ["data_quality", "escalation"]
    assert (state["pending_agents"], state["current_agent"]) == ([], None)
    assert state["summary"] == {"flagged": 3}
    assert dt.datetime.fromisoformat(state["completed_at"]).tzinfo is not None
    assert DAY_SECONDS - 60 < raw.ttl(STATE_KEY) <= DAY_SECONDS


@pytest.mark.redis
def test_completing_what_was_never_saved(live: LiveState):
    live.mark_audit_complete(RUN, {})
    assert live.restore_workflow_state(RUN)["completed_agents"] == []


@pytest.mark.redis
def test_progress_of_each_agent(live: LiveState, raw: redis.Redis):
    before = dt.datetime.now(dt.UTC)
    live.advance(RUN, "data_quality")
    live.advance(RUN, "data_quality", tools=1, rows=40)
    live.advance(RUN, "data_quality", tools=1, rows=2)
    live.advance(RUN, "reconciliation", tools=1)
    live.advance("another", "escalation", tools=9)
    first, second = live.progress(RUN)
    assert (first.agent, first.tools_called, first.rows) == ("data_quality", 2, 42)
    assert (second.agent, second.tools_called, second.rows) == ("reconciliation", 1, 0)
    assert before <= first.since <= second.since <= dt.datetime.now(dt.UTC)
    assert DAY_SECONDS - 60 < raw.ttl(PROGRESS_KEY) <= DAY_SECONDS
    assert live.progress("nobody") == []


@pytest.mark.redis
def test_since_is_when_the_agent_began(live: LiveState, raw: redis.Redis):
    live.advance(RUN, "escalation", tools=1)
    raw.hset(PROGRESS_KEY, "escalation:since", "2025-03-01T10:00:00+00:00")
    live.advance(RUN, "escalation", tools=1)
    [shown] = live.progress(RUN)
    assert shown.since == dt.datetime(2025, 3, 1, 10, tzinfo=dt.UTC)
    assert shown.tools_called == 2


def _advance_often(url: str) -> None:
    with closing(LiveState(url)) as live:
        for number in range(50):
            live.advance(RUN, "escalation", tools=1, rows=2)
            live.put(f"{threading.get_ident()}-{number}", number, 60, ["shared"])


@pytest.mark.redis
def test_writers_at_once_lose_nothing(redis_url: str, live: LiveState, raw: redis.Redis):
    """Four processes, and threads of one that share a connection."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_advance_often, args=(redis_url,)) for _ in range(2)]
    for process in processes:
        process.start()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: live.advance(RUN, "escalation", tools=1, rows=2), range(200)))
        list(pool.map(lambda n: live.put(f"t{n}", n, 60, ["shared"]), range(200)))
        assert list(pool.map(lambda n: live.get(f"t{n}"), range(200))) == list(range(200))
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    [shown] = live.progress(RUN)
    assert (shown.tools_called, shown.rows) == (300, 600)
    kept = len(raw.keys("audit_pipeline:cache:*"))
    assert kept >= 250
    assert live.forget("shared") == kept
    assert raw.keys("audit_pipeline:cache:*") == []


# ---- the cache


@pytest.mark.redis
@pytest.mark.parametrize(
    "value", [0, False, "", [], {}, "text", [1, [2]], {"a": {"b": None}}, 1.5, NASTY, 2**70]
)
def test_a_value_comes_back(live: LiveState, value: object):
    live.put("k", value, 60)
    assert live.get("k") == value
    assert type(live.get("k")) is type(value)


@pytest.mark.redis
def test_nothing_under_a_key(live: LiveState):
    assert live.get("k") is None


@pytest.mark.redis
@pytest.mark.parametrize(
    ("asked", "given"),
    [
        (1, 1),
        (3600, 3600),
        (0, 1),
        (-5, 1),
        (CACHE_LIVES_SECONDS_MAX + 1, CACHE_LIVES_SECONDS_MAX),
    ],
)
def test_every_value_has_an_end(live: LiveState, raw: redis.Redis, asked: int, given: int):
    live.put("k", "v", asked, ["t"])
    assert given - 1 <= raw.pttl("audit_pipeline:cache:k") / 1000 <= given
    assert raw.ttl("audit_pipeline:tag:t") >= CACHE_LIVES_SECONDS_MAX - 60


@pytest.mark.redis
def test_nothing_is_kept_without_an_end_or_outside_the_prefix(live: LiveState, raw: redis.Redis):
    live.save_workflow_state(RUN, {})
    live.advance(RUN, "escalation", tools=1)
    live.put("k", 1, 60, ["t"])
    live.check_redis_health()
    keys = raw.keys("*")
    assert len(keys) == 5
    for key in keys:
        assert isinstance(key, bytes)
        assert key.startswith(b"audit_pipeline:")
        assert raw.ttl(key) > 0, key


@pytest.mark.redis
def test_a_tag_forgets_its_values_alone(live: LiveState, raw: redis.Redis):
    live.put("a", 1, 60, ["x", "y"])
    live.put("b", 2, 60, ["x"])
    live.put("c", 3, 60, ["y"])
    live.put("d", 4, 60)
    assert live.forget("x") == 2
    assert [live.get(key) for key in "abcd"] == [None, None, 3, 4]
    assert live.forget("x") == 0
    assert live.forget("y") == 1  # `a` is gone already
    assert live.get("d") == 4
    live.put("a", 5, 60, [NASTY])
    assert live.forget(NASTY) == 1


@pytest.mark.redis
def test_a_tag_cannot_be_made_to_drop_what_is_not_of_the_cache(live: LiveState, raw: redis.Redis):
    raw.set("other program", "1")
    live.save_workflow_state(RUN, {"a": 1})
    raw.sadd("audit_pipeline:tag:x", "other program", STATE_KEY)
    live.put("a", 1, 60, ["x"])
    assert live.forget("x") == 1
    assert raw.get("other program") == b"1"
    assert live.restore_workflow_state(RUN) == {"a": 1}


@pytest.mark.redis
@pytest.mark.parametrize(
    ("value", "fault"), [(object(), TypeError), (float("nan"), ValueError), (b"x", TypeError)]
)
def test_what_json_has_no_word_for(live: LiveState, value: object, fault: type[Exception]):
    with pytest.raises(fault):
        live.put("k", value, 60)


@pytest.mark.redis
def test_a_value_that_is_too_large_is_not_kept(live: LiveState, raw: redis.Redis):
    live.put("k", "x" * VALUE_BYTES_MAX, 60)
    assert raw.keys("*") == []
    live.put("k", "x" * (VALUE_BYTES_MAX - 100), 60)
    assert len(live.get("k")) == VALUE_BYTES_MAX - 100


# ---- what others put there

BOUND = '{"key": "audit_pipeline:cache:k", "value": %s}'
GARBAGE = [
    b"",
    b"\xff\xfe\x00",
    b"null",
    b"7",
    b"[1]",
    b'"text"',
    b"{",
    b"{}",
    b'{"key": "audit_pipeline:cache:other", "value": 1}',
    b'{"key": 1, "value": 1}',
    b'{"value": 1}',
    (BOUND % "NaN").encode(),
    (BOUND % "-Infinity").encode(),
    (BOUND % ("9" * 5000)).encode(),
    b"[" * 200_000,
    b'{"a":' * 100_000,
    (BOUND % f'"{"x" * VALUE_BYTES_MAX}"').encode(),
    b"x" * 50_000_000,
]


@pytest.mark.redis
@pytest.mark.parametrize("garbage", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_is_nothing(live: LiveState, raw: redis.Redis, garbage: bytes):
    for key in ("audit_pipeline:cache:k", STATE_KEY):
        raw.set(key, garbage)
    assert live.get("k") is None
    assert live.restore_workflow_state(RUN) == {}
    live.mark_audit_complete(RUN, {})
    assert live.restore_workflow_state(RUN)["status"] == "completed"
    live.put("k", "mended", 60)
    assert live.get("k") == "mended"


@pytest.mark.redis
def test_a_state_of_another_run_is_not_this_ones(live: LiveState, raw: redis.Redis):
    live.save_workflow_state("another", {"a": 1})
    raw.copy("audit_pipeline:run:another:state", STATE_KEY)
    assert live.restore_workflow_state(RUN) == {}


@pytest.mark.redis
@pytest.mark.parametrize("value", ["1", '"x"', "[]", "null"])
def test_a_state_is_an_object(live: LiveState, raw: redis.Redis, value: str):
    raw.set(STATE_KEY, f'{{"key": {json.dumps(STATE_KEY)}, "value": {value}}}')
    assert live.restore_workflow_state(RUN) == {}


@pytest.mark.redis
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("tools", "many"),
        ("tools", "-1"),
        ("tools", "9" * 16),
        ("tools", "9" * 400),
        ("rows", ""),
        ("rows", "1.5"),
        ("rows", "٣"),
        ("since", "yesterday"),
        ("since", "2025-03-01"),
        ("since", "2025-03-01T10:00:00"),
        ("since", ""),
    ],
)
def test_a_progress_that_cannot_be_read(live: LiveState, raw: redis.Redis, name: str, text: str):
    """The agent is left out; the others are shown."""
    live.advance(RUN, "escalation", tools=1)
    live.advance(RUN, "data_quality", tools=1)
    raw.hset(PROGRESS_KEY, f"escalation:{name}", text)
    assert [shown.agent for shown in live.progress(RUN)] == ["data_quality"]


@pytest.mark.redis
@pytest.mark.parametrize("agent", ["", "x" * 41, "\x1b[2J", "Agent", "a b", "\N{SNOWMAN}"])
def test_an_agent_of_no_name(live: LiveState, agent: str):
    live.advance(RUN, agent, tools=1)
    live.advance(RUN, "escalation", tools=1)
    assert [shown.agent for shown in live.progress(RUN)] == ["escalation"]


@pytest.mark.redis
def test_a_blown_up_progress(live: LiveState, raw: redis.Redis):
    live.advance(RUN, "escalation", tools=1)
    raw.hset(PROGRESS_KEY, "x", b"\xff" * (VALUE_BYTES_MAX + 1))
    assert live.progress(RUN) == []


@pytest.mark.redis
def test_values_of_another_type(live: LiveState, raw: redis.Redis):
    """Redis refuses; it is asked again at once, because it works."""
    for key in (STATE_KEY, "audit_pipeline:cache:k"):
        raw.rpush(key, "x")
    for key in (PROGRESS_KEY, "audit_pipeline:tag:t"):
        raw.set(key, "x")
    assert live.restore_workflow_state(RUN) == {}
    live.advance(RUN, "escalation", tools=1)
    assert live.progress(RUN) == []
    assert live.get("k") is None
    assert live.forget("t") is None
    live.put("other", 1, 60)
    assert live.get("other") == 1
    live.put("k", 2, 60)  # SET takes the place of any type
    assert live.get("k") == 2


# ---- servers that do not work


@dataclass
class Listener:
    """A socket that takes connections, and answers all of them the same; or never."""

    port: int
    accepted: list[socket.socket] = field(default_factory=list[socket.socket])

    @property
    def url(self) -> str:
        return f"redis://:secret-password@127.0.0.1:{self.port}"


@contextmanager
def listening(answer: bytes | None) -> Iterator[Listener]:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        listener = Listener(server.getsockname()[1])

        def served() -> None:
            while True:
                try:
                    taken, _ = server.accept()
                except OSError:
                    return
                listener.accepted.append(taken)
                threading.Thread(target=answered, args=(taken,), daemon=True).start()

        def answered(taken: socket.socket) -> None:
            try:
                while taken.recv(65_536):
                    if answer is not None:
                        taken.sendall(answer)
            except OSError:
                return

        thread = threading.Thread(target=served, daemon=True)
        thread.start()
        try:
            yield listener
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(5)
            for taken in listener.accepted:
                taken.close()


def _everything(live: LiveState) -> None:
    """Each method once; nothing is raised, nothing is there."""
    live.save_workflow_state(RUN, {"a": 1})
    assert live.restore_workflow_state(RUN) == {}
    live.mark_audit_complete(RUN, {})
    live.advance(RUN, "escalation", tools=1)
    assert live.progress(RUN) == []
    live.put("k", 1, 60, ["t"])
    assert live.get("k") is None
    assert live.forget("t") is None


def test_a_server_that_never_answers_is_asked_once_in_a_while():
    """By one connection each; the pause doubles, so a day costs a dozen of them."""
    clock = Clock()
    with listening(None) as hung, closing(LiveState(hung.url, clock)) as live:
        for _ in range(50):
            _everything(live)
        assert len(hung.accepted) == 1
        clock.now = LEFT_ALONE_SECONDS - 0.1
        _everything(live)
        assert len(hung.accepted) == 1
        clock.now = LEFT_ALONE_SECONDS
        _everything(live)
        assert len(hung.accepted) == 2
        while clock.now < 2 * 3600:  # two hours, asked every ten seconds
            clock.now += 10
            live.advance(RUN, "escalation")
        assert len(hung.accepted) <= 8


def test_many_threads_wait_once():
    with (
        listening(None) as hung,
        closing(LiveState(hung.url)) as live,
        ThreadPoolExecutor(16) as pool,
    ):
        list(pool.map(lambda _: live.get("k"), range(200)))
        assert len(hung.accepted) == 1


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def attempts(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every address that a socket of this process was told to connect to."""
    seen: list[object] = []
    real: Callable[..., None] = socket.socket.connect

    def counted(self: socket.socket, address: object) -> None:
        seen.append(address)
        return real(self, address)

    monkeypatch.setattr(socket.socket, "connect", counted)
    return seen


def test_a_closed_port_is_tried_once(attempts: list[object]):
    with closing(LiveState(f"redis://127.0.0.1:{_free_port()}", Clock())) as live:
        for _ in range(20):
            _everything(live)
    assert len(attempts) == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\r\n",
        b":1\r\n",
        b"$-1\r\n",
        b"*-1\r\n",
        b"+OK\r\n",
        b"+QUEUED\r\n",
        b"$5\r\nhel",
        b"$999999999999\r\n",
        b"$x\r\n",
        b"*1\r\n*1\r\n*1\r\n:1\r\n",
        b"*2\r\n+OK\r\n$3\r\nabc\r\n",
        b"-ERR no\r\n",
        b"-NOAUTH no\r\n",
        b"-LOADING no\r\n",
        b"-READONLY no\r\n",
        b"-WRONGPASS secret-password\r\n",
        b"\x00" * 1000,
    ],
)
def test_a_server_that_is_none(answer: bytes):
    """Nothing is raised, nothing is believed, and what is said of it holds no password."""
    with listening(answer) as odd, closing(LiveState(odd.url, Clock())) as live:
        for _ in range(3):
            live.save_workflow_state(RUN, {"a": 1})
            assert live.restore_workflow_state(RUN) == {}
            live.mark_audit_complete(RUN, {})
            live.advance(RUN, "escalation", tools=1)
            assert live.progress(RUN) == []
            live.put("k", 1, 60, ["t"])
            assert live.get("k") is None
            live.forget("t")
        health = live.check_redis_health()
        assert not health.is_well
        assert "secret-password" not in health.said
        assert len(odd.accepted) <= 40


@pytest.mark.redis
def test_a_late_answer_is_not_the_next_ones(live: LiveState, raw: redis.Redis):
    """A server that stops for longer than it is waited for: its answers go with the connection."""
    clock = Clock()
    live = LiveState(str(_url_of(live)), clock)
    with closing(live):
        live.put("a", "of a", 60)
        live.put("b", "of b", 60)
        raw.client_pause(600)
        assert live.get("a") is None
        raw.ping()  # answered when the pause is over
        clock.now += LEFT_ALONE_SECONDS
        assert live.get("b") == "of b"
        assert live.get("a") == "of a"


def _url_of(live: LiveState) -> str:
    assert live._pool is not None
    at = live._pool.connection_kwargs
    return f"redis://:{at['password']}@127.0.0.1:{at['port']}/0"


@pytest.mark.redis
def test_a_server_that_is_killed_and_comes_back(redis_server: RedisServer, attempts: list[object]):
    clock = Clock()
    with closing(LiveState(redis_server.url, clock)) as live:
        live.put("k", 1, 60)
        assert live.get("k") == 1
        redis_server.kill()
        attempts.clear()
        _everything(live)
        assert len(attempts) <= 1
        health = live.check_redis_health()
        assert not health.is_well
        assert health.said.endswith("audits go on without it")
        with running(like=redis_server):
            live.put("k", 2, 60)
            assert live.get("k") is None  # still left alone
            clock.now += 2 * LEFT_ALONE_SECONDS  # two failures
            live.put("k", 3, 60)
            assert live.get("k") == 3


@pytest.mark.redis
def test_a_wrong_password(redis_server: RedisServer):
    wrong = redis_server.url.replace(redis_server.password, "not-the-password")
    with closing(LiveState(wrong)) as live:
        _everything(live)
        health = live.check_redis_health()
    assert not health.is_well
    assert "password" in health.said
    assert "not-the-password" not in health.said


# ---- health, addresses, none


@pytest.mark.redis
def test_health_is_tried_now(redis_url: str, raw: redis.Redis):
    """Also while Redis is left alone; when it is well again, it is used again."""
    with closing(LiveState(redis_url, Clock())) as live:
        health = live.check_redis_health()
        assert (health.name, health.is_well) == ("Redis", True)
        assert "127.0.0.1" in health.said
        raw.client_pause(400)
        assert not live.check_redis_health().is_well
        raw.ping()
        live.put("k", 1, 60)
        assert live.get("k") is None
        assert live.check_redis_health().is_well
        live.put("k", 1, 60)
        assert live.get("k") == 1


def test_without_an_address_nothing_is_kept(attempts: list[object]):
    with closing(LiveState()) as live:
        _everything(live)
        assert not live.is_used
        health = live.check_redis_health()
    assert (health.is_well, health.said) == (True, "not used: AUDIT_REDIS_URL is not set")
    assert attempts == []


@pytest.mark.parametrize("url", ["http://x", "localhost:6379", "redis://x:port", "redis://x?db=a"])
def test_an_address_that_is_none(url: str):
    with pytest.raises(BadUsage, match="AUDIT_REDIS_URL"):
        LiveState(url)


@pytest.mark.parametrize("url", ["unix:///nowhere/redis.sock", "rediss://127.0.0.1:{}"])
def test_other_addresses(url: str):
    with closing(LiveState(url.format(_free_port()), Clock())) as live:
        assert live.is_used
        _everything(live)
        assert not live.check_redis_health().is_well


@pytest.mark.redis
def test_over_a_socket_file(tmp_path: Path, redis_server: RedisServer):
    path = tmp_path / "redis.sock"
    with closing(redis_server.client()) as client:
        client.config_set("requirepass", "")
        with socket.socket(socket.AF_UNIX) as server:  # what Redis 7.0 cannot change while it runs
            server.bind(str(path))
            server.listen()
            with ThreadPoolExecutor(1) as pool:
                relayed = pool.submit(_relay, server, redis_server.port)
                with closing(LiveState(f"unix://{path}?db=0")) as live:
                    live.put("k", 1, 60)
                    assert live.get("k") == 1
                relayed.result(30)


def _relay(server: socket.socket, port: int) -> None:
    """One connection, passed on to a TCP port until it is closed."""
    taken, _ = server.accept()
    with taken, socket.create_connection(("127.0.0.1", port)) as onward:
        back = threading.Thread(target=_pass_on, args=(onward, taken), daemon=True)
        back.start()
        _pass_on(taken, onward)
        onward.shutdown(socket.SHUT_RDWR)
        back.join(10)


def _pass_on(given: socket.socket, taken: socket.socket) -> None:
    while piece := given.recv(65_536):
        taken.sendall(piece)


def test_one_for_each_address_in_a_process():
    assert live_state("redis://127.0.0.1:1") is live_state("redis://127.0.0.1:1")
    assert live_state("redis://127.0.0.1:1") is not live_state("redis://127.0.0.1:2")


# ---- the store and its mirror


@pytest.mark.redis
def test_the_mirror_shows_what_the_table_has(tmp_path: Path, live: LiveState):
    with MirroredStore.mirrored(f"sqlite:///{tmp_path / 'audit.sqlite'}", live) as store:
        state = {"workflow_status": "in_progress", "pending_agents": ["escalation"]}
        store.save_workflow_state(RUN, state)
        assert live.restore_workflow_state(RUN) == store.restore_workflow_state(RUN) == state
        store.mark_audit_complete(RUN, {"flagged": 1})
        shown, kept = live.restore_workflow_state(RUN), store.restore_workflow_state(RUN)
        assert shown | {"completed_at": None} == kept | {"completed_at": None}


@pytest.mark.redis
def test_the_table_is_the_truth(tmp_path: Path, live: LiveState):
    """What Redis holds is never read by the store, and what the table refuses is not shown."""
    with MirroredStore.mirrored(f"sqlite:///{tmp_path / 'audit.sqlite'}", live) as store:
        live.save_workflow_state(RUN, {"workflow_status": "completed"})
        assert store.restore_workflow_state(RUN) == {}
        with pytest.raises(BadUsage, match="workflow status"):
            store.save_workflow_state(RUN, {"workflow_status": "invented"})
        assert live.restore_workflow_state(RUN) == {"workflow_status": "completed"}
