"""What is kept of a password, and that a wrong one and an unknown person look alike."""

import pytest
from pwdlib.hashers.argon2 import Argon2Hasher

from audit_pipeline.model.errors import BadUsage
from audit_pipeline.review import passwords

PASSWORD = "a horse, a battery"


def test_only_the_right_password_is_right() -> None:
    known = passwords.hashed(PASSWORD)
    assert known.startswith("$argon2id$")
    assert PASSWORD not in known
    assert passwords.hashed(PASSWORD) != known, "each has its own salt"
    assert passwords.verified(PASSWORD, known) == (True, None)
    for wrong in ("", PASSWORD + " ", PASSWORD.upper(), "nobody's", "\udc80\x00"):
        assert passwords.verified(wrong, known) == (False, None)


def test_it_may_be_typed_on_any_keyboard() -> None:
    known = passwords.hashed("caf\u00e9 au lait chaud")
    assert passwords.verified("cafe\u0301 au lait chaud", known)[0]


@pytest.mark.parametrize("length", [0, 11, 1_025])
def test_one_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(BadUsage, match="12 to 1,024 characters"):
        passwords.hashed("x" * length)


@pytest.mark.parametrize("length", [12, 1_024])
def test_both_ends_of_the_lengths_are_allowed(length: int) -> None:
    assert passwords.verified("x" * length, passwords.hashed("x" * length))[0]
    assert not passwords.verified("x" * 1_025, passwords.hashed("x" * length))[0]


def test_who_has_no_account_costs_as_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """One hash is computed too, under the same parameters; it is never right."""
    computed: list[str] = []
    real = Argon2Hasher.verify

    def counted(self: Argon2Hasher, password: bytes, known: str) -> bool:
        computed.append(known)
        return real(self, password, known)

    monkeypatch.setattr(Argon2Hasher, "verify", counted)
    known = passwords.hashed(PASSWORD)
    for password in (PASSWORD, "nobody's", "", "x" * 5_000):
        assert passwords.verified(password, None) == (False, None)
    passwords.verified("wrong", known)
    parameters = {one.rpartition("$")[0].rpartition("$")[0] for one in computed}
    assert (len(computed), len(parameters)) == (5, 1)


def test_older_parameters_are_replaced() -> None:
    old = Argon2Hasher(time_cost=1, memory_cost=8_192).hash(PASSWORD.encode())
    is_right, newer = passwords.verified(PASSWORD, old)
    assert is_right
    assert newer is not None
    assert passwords.verified(PASSWORD, newer) == (True, None)
    assert passwords.verified("wrong", old) == (False, None)
