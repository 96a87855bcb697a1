"""Tokens that were not issued here, or do not hold any more, are nobody's."""

import base64
import datetime as dt
import hmac
import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from audit_pipeline.adapters.store import accounts
from audit_pipeline.adapters.store.accounts import Session
from audit_pipeline.model.errors import BadUsage
from audit_pipeline.review import tokens
from audit_pipeline.review.tokens import CLAIMS, TokenInvalid, key_of
from audit_pipeline_tests.review import doors
from audit_pipeline_tests.review.doors import LIVES, Door

door = doors.door

HOUR = 3_600
Forge = Callable[[Door, Session], str]


def claims_of(door: Door, session: Session) -> dict[str, Any]:
    return jwt.decode(door.token(session), options={"verify_signature": False})


def signed(door: Door, claims: dict[str, Any], **headers: Any) -> str:
    return jwt.encode(claims, door.desk.key, algorithm="HS256", headers=headers)


def with_claims(**changed: Any) -> Forge:
    """Signed by the desk's own key; None leaves a claim out."""

    def forge(door: Door, session: Session) -> str:
        claims = claims_of(door, session) | changed
        return signed(door, {name: value for name, value in claims.items() if value is not None})

    return forge


def later(**changed: int) -> Forge:
    def forge(door: Door, session: Session) -> str:
        claims = claims_of(door, session)
        return signed(door, claims | {name: claims[name] + by for name, by in changed.items()})

    return forge


def part(document: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()


def unsigned(door: Door, session: Session) -> str:
    return f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(claims_of(door, session))}."


def signed_by_another(door: Door, session: Session) -> str:
    return jwt.encode(claims_of(door, session), b"x" * 32, algorithm="HS256")


def signed_by_rsa(door: Door, session: Session) -> str:
    key = rsa.generate_private_key(65_537, 2_048)
    return jwt.encode(claims_of(door, session), key, algorithm="RS256")


def rsa_in_the_header(door: Door, session: Session) -> str:
    """The confusion: verified as RS256, whose public key would be our secret."""
    _, body, signature = door.token(session).split(".")
    return f"{part({'alg': 'RS256', 'typ': 'JWT'})}.{body}.{signature}"


def signed_with_a_public_key(door: Door, session: Session) -> str:
    public = rsa.generate_private_key(65_537, 2_048).public_key()
    pem = public.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    said = f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part(claims_of(door, session))}"
    signature = hmac.digest(pem, said.encode(), "sha256")
    return f"{said}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def another_person(door: Door, session: Session) -> str:
    head, _, signature = door.token(session).split(".")
    return f"{head}.{part(claims_of(door, session) | {'sub': 'admin'})}.{signature}"


def hs512(door: Door, session: Session) -> str:
    return jwt.encode(claims_of(door, session), door.desk.key * 2, algorithm="HS512")


def truncated(door: Door, session: Session) -> str:
    return door.token(session)[:-1]


def without_signature(door: Door, session: Session) -> str:
    return door.token(session).rpartition(".")[0] + "."


def revoked(door: Door, session: Session) -> str:
    with door.desk.store.writing() as writer:
        accounts.revoke_session(writer, session.session_id)
    return door.token(session)


def of_a_locked_person(door: Door, session: Session) -> str:
    with door.desk.store.writing() as writer:
        accounts.set_disabled(writer, session.user.user_id, disabled=True)
    return door.token(session)


def of_an_older_password(door: Door, session: Session) -> str:
    with door.desk.store.writing() as writer:
        accounts.set_password(writer, session.user.user_id, "another")
    return door.token(session)


def of_a_session_that_ended(door: Door, session: Session) -> str:
    token = door.token(session)
    with door.desk.store.writing() as writer:
        ended = accounts.begin_session(writer, session.user, "x", -LIVES)
    return with_claims(sid=ended.session_id)(door, session) if token else token


def a_refresh_token(door: Door, session: Session) -> str:
    with door.desk.store.writing() as writer:
        return accounts.issue_refresh_token(writer, session)


def naming_a_key(door: Door, session: Session) -> str:
    return signed(door, claims_of(door, session), kid="../../dev/null")


def naming_an_address(door: Door, session: Session) -> str:
    return signed(door, claims_of(door, session), jku="https://evil.example/keys")


FORGED: dict[str, Forge] = {
    "unsigned": unsigned,
    "signed by another": signed_by_another,
    "signed by RSA": signed_by_rsa,
    "RSA in the header": rsa_in_the_header,
    "signed with a public key": signed_with_a_public_key,
    "HS512": hs512,
    "of another person": another_person,
    "of another person, signed": with_claims(sub="admin"),
    "expired": later(exp=-25 * HOUR),
    "not yet valid": later(nbf=HOUR),
    "issued later": later(iat=HOUR),
    "of another issuer": with_claims(iss="another"),
    "for another audience": with_claims(aud="another"),
    "for two audiences": with_claims(aud=[tokens.AUDIENCE, "another"]),
    "of an unknown session": with_claims(sid="00000000-0000-4000-8000-000000000000"),
    "of another version": with_claims(ver=2),
    "whose version is true": with_claims(ver=True),
    "whose session is a number": with_claims(sid=1),
    "beyond any clock": with_claims(exp=10**30, iat=0.5),
    "of a revoked session": revoked,
    "of a session that ended": of_a_session_that_ended,
    "of a locked person": of_a_locked_person,
    "of an older password": of_an_older_password,
    "a refresh token": a_refresh_token,
    "truncated": truncated,
    "without its signature": without_signature,
    "naming a key": naming_a_key,
    "naming an address": naming_an_address,
    "too long": lambda *_: "a" * 5_000,
    "no token": lambda *_: "a.b",
    **{f"without {name}": with_claims(**{name: None}) for name in CLAIMS},
}


def test_a_genuine_token_is_somebody(door: Door) -> None:
    """The control: what the forgeries start from is let in."""
    session = door.session("ann")
    again = signed(door, claims_of(door, session))
    for token in (door.token(session), again):
        answer = door.client(Authorization=f"Bearer {token}").get("/api/v1/me")
        assert answer.json()["user_id"] == "ann"
    assert set(claims_of(door, session)) == set(CLAIMS)
    lives = claims_of(door, session)["exp"] - claims_of(door, session)["iat"]
    assert lives <= LIVES.total_seconds(), "it ends with its session"


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
def test_a_forged_token_is_nobody(door: Door, forge: Forge) -> None:
    """As a bearer token and as a cookie, with one and the same answer."""
    door.add("admin")
    session = door.session("ann")
    token = forge(door, session)
    answer = door.client(Authorization=f"Bearer {token}").get("/api/v1/me")
    assert (answer.status_code, answer.json()["message"]) == (401, "sign in first")
    assert answer.headers["www-authenticate"] == "Bearer"
    cookie = door.client(Cookie=f"__Host-session={token}")
    assert cookie.get("/account").headers["location"].startswith("/login")


def test_what_is_no_ascii_is_no_token() -> None:
    for text in ("é.é.é", "\udc80", "", "..", "eyJ.eyJ.x"):
        with pytest.raises(TokenInvalid):
            tokens.read(b"k" * 32, text)


def test_the_key_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    file = tmp_path / "new" / "desk.key"
    key = key_of(file, may_create=True)
    assert len(bytes.fromhex(key.decode())) == 32
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    key_of.cache_clear()
    assert key_of(file, may_create=True) == key
    assert key_of(tmp_path / "another.key", may_create=True) != key


def test_a_key_that_is_none_is_refused(tmp_path: Path) -> None:
    short = tmp_path / "short"
    short.write_bytes(b"x" * 31 + b"\n")
    with pytest.raises(BadUsage, match="fewer than 32 bytes"):
        key_of(short, may_create=True)
    with pytest.raises(BadUsage, match="No such file"):
        key_of(tmp_path / "missing", may_create=False)


def test_a_desk_takes_the_key_that_it_is_told(door: Door, tmp_path: Path) -> None:
    file = tmp_path / "told"
    file.write_text("k" * 40)
    assert door.with_options(key_path=file).desk.key == b"k" * 40


def test_the_expiry_of_a_token_is_a_day(door: Door) -> None:
    user = door.add("ann")
    with door.desk.store.writing() as writer:
        session = accounts.begin_session(writer, user, "x", dt.timedelta(days=7))
    claims = claims_of(door, session)
    assert claims["exp"] - claims["iat"] == 24 * HOUR
