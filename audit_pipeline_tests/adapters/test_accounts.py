"""Accounts in the store: what changes one is in the trail, what ends a sign-in ends it."""

import datetime as dt
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import event, func, select

from audit_pipeline.adapters.store import Store, accounts, login_failures
from audit_pipeline.adapters.store.accounts import Session, User
from audit_pipeline.adapters.store.schema import LOGIN_FAILURES, REFRESH_TOKENS, SESSIONS
from audit_pipeline.model.errors import BadUsage
from audit_pipeline.model.person import Role

pytestmark = pytest.mark.slow

NOON = dt.datetime(2025, 3, 1, 12, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
MINUTE = dt.timedelta(minutes=1)


class Clock:
    """What time it is told to be."""

    now = NOON

    def __call__(self) -> dt.datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(
    params=["sqlite", pytest.param("postgres", marks=[pytest.mark.postgres, pytest.mark.slow])]
)
def store(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Store]:
    """An empty store of each kind."""
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_url")
    else:
        url = f"sqlite:///{tmp_path / 'store.db'}"
    with Store.open(url, clock=clock) as opened:
        yield opened


def add(store: Store, name: str = "ann", role: Role = Role.REVIEWER) -> User:
    with store.writing() as writer:
        return accounts.add_user(writer, name, role, "hash")


def begin(store: Store, user: User, lives: dt.timedelta = HOUR) -> Session:
    with store.writing() as writer:
        return accounts.begin_session(writer, user, "192.0.2.7", lives)


def holds(store: Store, session: Session, now: dt.datetime = NOON) -> bool:
    with store.reading() as connection:
        found = accounts.session_of(connection, session.session_id)
    return found is not None and found.holds(now)


def renew(store: Store, token: str) -> Session | None:
    with store.writing() as writer:
        return accounts.use_refresh_token(writer, token)


def issue(store: Store, session: Session) -> str:
    with store.writing() as writer:
        return accounts.issue_refresh_token(writer, session)


@pytest.mark.parametrize(
    ("name", "user_id"),
    [
        ("Ann.Lee@Example.com", "ann.lee@example.com"),
        ("\uff21nn", "ann"),
        ("\u212aim", "kim"),
        ("a", "a"),
        ("x" * 64, "x" * 64),
    ],
)
def test_a_name_has_one_spelling(name: str, user_id: str) -> None:
    assert accounts.user_id_of(name) == user_id


@pytest.mark.parametrize("name", ["", "x" * 65, "ann lee", "аnn", "ann\n", "a/b", "é", "a\x00"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(BadUsage, match="1 to 64 of the signs"):
        accounts.user_id_of(name)


def test_an_account_is_made_once(store: Store) -> None:
    with store.writing() as writer:
        made = accounts.add_user(
            writer, "Ann", Role.REVIEWER, "hash", "root", display_name=" Ann L ", cardholder=" A L "
        )
    assert (made.user_id, made.display_name, made.cardholder) == ("ann", "Ann L", "A L")
    with pytest.raises(BadUsage, match="ann has an account already"):
        add(store, "ANN", Role.ADMIN)
    with store.reading() as connection:
        assert accounts.users(connection) == [made]
        assert accounts.credentials(connection, "ann") == (made, "hash")
        assert accounts.credentials(connection, "bob") is None


def test_nobody_has_an_account_at_first(store: Store) -> None:
    with store.reading() as connection:
        assert not accounts.has_users(connection)
    add(store)
    with store.reading() as connection:
        assert accounts.has_users(connection)


def test_every_change_is_in_the_trail(store: Store) -> None:
    add(store)
    with store.writing() as writer:
        accounts.set_role(writer, "ann", Role.ADMIN, "root")
        accounts.set_cardholder(writer, "ann", "A LEE", "root")
        accounts.set_cardholder(writer, "ann", "  ", "root")
        accounts.set_disabled(writer, "ann", "root", disabled=True)
        accounts.set_disabled(writer, "ann", "root", disabled=False)
        accounts.set_password(writer, "ann", "secret hash", "ann")
        accounts.revoke_all(writer, "ann")
        assert writer.urgent
    events = [entry.event for entry in store.trail()]
    assert [(one.agent_name, one.tool_called, one.input_data) for one in events] == [
        ("desk", "add_user", {"user_id": "ann", "role": "reviewer", "cardholder": None}),
        ("reviewer:root", "set_role", {"user_id": "ann", "before": "reviewer", "role": "admin"}),
        (
            "reviewer:root",
            "set_cardholder",
            {"user_id": "ann", "before": None, "cardholder": "A LEE"},
        ),
        (
            "reviewer:root",
            "set_cardholder",
            {"user_id": "ann", "before": "A LEE", "cardholder": None},
        ),
        ("reviewer:root", "lock_user", {"user_id": "ann"}),
        ("reviewer:root", "unlock_user", {"user_id": "ann"}),
        ("reviewer:ann", "set_password", {"user_id": "ann"}),
        ("desk", "end_sessions", {"user_id": "ann"}),
    ]


def test_nobody_is_changed_who_is_not_there(store: Store) -> None:
    with store.writing() as writer:
        for change in (
            lambda: accounts.set_role(writer, "bob", Role.ADMIN),
            lambda: accounts.set_disabled(writer, "bob", disabled=True),
            lambda: accounts.set_password(writer, "bob", "hash"),
            lambda: accounts.set_cardholder(writer, "bob", None),
            lambda: accounts.revoke_all(writer, "bob"),
        ):
            with pytest.raises(BadUsage, match="nobody here is called bob"):
                change()
    assert list(store.trail()) == []


def test_a_rehash_does_not_undo_another_password(store: Store) -> None:
    add(store)
    with store.writing() as writer:
        accounts.keep_rehashed(writer, "ann", "hash", "newer hash")
        accounts.keep_rehashed(writer, "ann", "hash", "too late")
        found = accounts.credentials(writer.connection, "ann")
    assert found is not None
    assert found[1] == "newer hash"
    assert found[0].token_version == 1, "sign-ins go on"


def test_a_sign_in_holds_until_something_ends_it(store: Store) -> None:
    user = add(store)
    one, other = begin(store, user), begin(store, user)
    assert holds(store, one, NOON + HOUR - MINUTE)
    assert not holds(store, one, NOON + HOUR)
    assert one.csrf_token != other.csrf_token
    with store.writing() as writer:
        accounts.revoke_session(writer, one.session_id)
    assert (holds(store, one), holds(store, other)) == (False, True)
    with store.reading() as connection:
        assert accounts.session_of(connection, "unknown") is None


def test_a_lock_ends_sign_ins_for_good(store: Store) -> None:
    session = begin(store, add(store))
    with store.writing() as writer:
        accounts.set_disabled(writer, "ann", disabled=True)
        assert accounts.credentials(writer.connection, "ann") is None
    assert not holds(store, session)
    with store.writing() as writer:
        accounts.set_disabled(writer, "ann", disabled=False)
        assert accounts.credentials(writer.connection, "ann") is not None
    assert not holds(store, session), "unlocked, but not signed in again"


def test_another_password_ends_all_sign_ins_but_the_new_one(store: Store) -> None:
    session = begin(store, add(store))
    with store.writing() as writer:
        user = accounts.set_password(writer, "ann", "another")
    assert (holds(store, session), holds(store, begin(store, user))) == (False, True)


def test_an_administrator_ends_all_sign_ins(store: Store) -> None:
    user, bob = add(store), add(store, "bob")
    mine, his = begin(store, user), begin(store, bob)
    with store.writing() as writer:
        accounts.revoke_all(writer, "ann", "root")
    assert (holds(store, mine), holds(store, his)) == (False, True)


def test_a_sign_in_is_looked_up_by_one_statement(store: Store) -> None:
    session = begin(store, add(store))
    said: list[str] = []
    with store.reading() as connection:
        event.listen(
            connection.engine,
            "before_cursor_execute",
            lambda _c, _k, statement, *_: said.append(statement),
        )
        found = accounts.session_of(connection, session.session_id)
        assert found == session
        assert len(said) == 1
        if connection.dialect.name == "sqlite":
            asked = f"EXPLAIN QUERY PLAN {said[0]}"
            plan = connection.exec_driver_sql(asked, (session.session_id,)).all()
            assert all("SEARCH" in row[3] for row in plan), plan


def test_sign_ins_that_ended_are_forgotten_with_their_tokens(store: Store, clock: Clock) -> None:
    user = add(store)
    old = begin(store, user)
    issue(store, old)
    his = begin(store, add(store, "bob"))
    clock.now += 2 * HOUR
    new = begin(store, user)
    with store.reading() as connection:
        kept = connection.scalars(select(SESSIONS.c.session_id)).all()
        assert sorted(kept) == sorted([his.session_id, new.session_id])
        assert connection.scalar(select(func.count()).select_from(REFRESH_TOKENS)) == 0


def test_a_refresh_token_is_used_once(store: Store) -> None:
    session = begin(store, add(store))
    first = issue(store, session)
    assert renew(store, first) == session
    second = issue(store, session)
    assert renew(store, first) is None
    assert renew(store, second) is None, "the sign-in has ended"
    assert not holds(store, session)
    assert renew(store, "unknown") is None
    with store.reading() as connection:
        kept = connection.scalars(select(REFRESH_TOKENS.c.token_sha256)).all()
    assert len(kept) == 2
    assert {len(digest) for digest in kept} == {64}
    assert not {first, second} & set(kept)


def test_a_refresh_token_ends_with_its_sign_in(store: Store, clock: Clock) -> None:
    token = issue(store, begin(store, add(store)))
    clock.now += HOUR
    assert renew(store, token) is None


def test_tries_of_several_processes_are_counted_together(store: Store) -> None:
    """Each process has its own connections, and its own lock for its threads."""
    with store.reading() as connection:
        url = connection.engine.url.render_as_string(hide_password=False)
    stores = [Store.open(url, clock=lambda: NOON) for _ in range(4)]

    def reserve(number: int) -> bool:
        with stores[number % 4].writing() as writer:
            return login_failures.reserve_try(writer, "ann", f"192.0.2.{number}") is not None

    with ThreadPoolExecutor(24) as pool:
        reserved = list(pool.map(reserve, range(24)))
    for one in stores:
        one.close()
    assert sum(reserved) == 10


def test_ten_failures_in_a_quarter_of_an_hour(store: Store, clock: Clock) -> None:
    """The tenth is the last one; the window slides, and old failures are pruned."""

    def reserve(account: str = "ann", peer: str = "192.0.2.7") -> str | None:
        with store.writing() as writer:
            return login_failures.reserve_try(writer, account, peer)

    for _ in range(10):
        assert reserve() is not None
        clock.now += MINUTE
    assert reserve() is None
    assert reserve("bob") is None, "from the same address"
    assert reserve("ann", "192.0.2.8") is None, "the same account"
    other = reserve("bob", "192.0.2.8")
    assert other is not None
    with store.reading() as connection:
        wait = login_failures.wait_of(connection, "ann", "192.0.2.9", clock.now)
        assert wait == 5 * MINUTE
        assert login_failures.wait_of(connection, "bob", "192.0.2.9", clock.now) == dt.timedelta()
    clock.now += wait
    assert reserve() is not None
    assert reserve() is None
    with store.writing() as writer:
        login_failures.forgive(writer, other)
        count = writer.connection.scalar(select(func.count()).select_from(LOGIN_FAILURES))
    assert count == 10, "the one that is too old is gone, and the one that was right"
