"""A desk over an empty store, and people of each role who are signed in to it."""

import datetime as dt
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from audit_pipeline.adapters.state import LiveState
from audit_pipeline.adapters.store import Store, accounts
from audit_pipeline.adapters.store.accounts import Session, User
from audit_pipeline.model.person import Role
from audit_pipeline.review import passwords, tokens
from audit_pipeline.review.access import COOKIE, CSRF_HEADER
from audit_pipeline.review.app import create_app
from audit_pipeline.review.desk import Desk
from audit_pipeline.review.options import Options
from audit_pipeline.settings import Settings, load_rules, rules_text

PASSWORD = "a horse, a battery"
HOST = "localhost"
ORIGIN = f"https://{HOST}"
LIVES = dt.timedelta(hours=1)


@cache
def password_hash() -> str:
    """Of PASSWORD; made once, it takes its time."""
    return passwords.hashed(PASSWORD)


@cache
def empty_store() -> bytes:
    """Of SQLite; migrating a new one takes longer than most tests here."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "empty.sqlite"
        Store.open(f"sqlite:///{file}").close()
        return file.read_bytes()


@dataclass(frozen=True)
class Door:
    """The way into one desk."""

    desk: Desk
    app: FastAPI

    @classmethod
    def to(cls, desk: Desk) -> "Door":
        """A new application over a desk."""
        return cls(desk, create_app(desk))

    def with_options(self, **options: Any) -> "Door":
        """Another application over the same store, reached otherwise."""
        return Door.to(replace(self.desk, options=replace(self.desk.options, **options)))

    def client(self, peer: str = "192.0.2.7", **headers: str) -> TestClient:
        """A browser, or a program, that nobody has signed in with."""
        return TestClient(
            self.app,
            base_url=ORIGIN,
            headers=headers,
            client=(peer, 50_000),
            follow_redirects=False,
        )

    def add(self, name: str, role: Role = Role.REVIEWER) -> User:
        """An account with PASSWORD."""
        with self.desk.store.writing() as writer:
            return accounts.add_user(writer, name, role, password_hash())

    def session(self, name: str, role: Role = Role.REVIEWER) -> Session:
        """A sign-in; the account is made where there is none."""
        store = self.desk.store
        with store.reading() as connection:
            known = {user.user_id: user for user in accounts.users(connection)}
        user = known.get(name) or self.add(name, role)
        with store.writing() as writer:
            return accounts.begin_session(writer, user, "192.0.2.7", LIVES)

    def token(self, session: Session) -> str:
        """The access token of a sign-in."""
        return tokens.issue(self.desk.key, session)

    def browser(self, session: Session, *, with_csrf: bool = True) -> TestClient:
        """A browser that is signed in."""
        client = self.client()
        client.headers["Cookie"] = f"{COOKIE}={self.token(session)}"
        if with_csrf:
            client.headers[CSRF_HEADER] = session.csrf_token
        return client

    def program(self, session: Session) -> TestClient:
        """A program that is signed in."""
        return self.client(Authorization=f"Bearer {self.token(session)}")


@contextmanager
def opened(folder: Path) -> Iterator[Door]:
    """To a desk whose store is empty, in this folder."""
    settings = Settings.from_env({"AUDIT_DATA_DIR": str(folder / "data"), "ENVIRONMENT": "test"})
    settings.data_dir.mkdir()
    (settings.data_dir / "audit.sqlite").write_bytes(empty_store())
    with Store.open(settings.store_url) as store:
        yield Door.to(Desk(settings, store, load_rules(rules_text(None)), LiveState(), Options()))


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    """To a desk whose store is empty."""
    with opened(tmp_path) as made:
        yield made
