"""How the desk is told from where it is reached."""

from pathlib import Path

import pytest

from audit_pipeline.model.errors import BadUsage
from audit_pipeline.review.options import Options, is_loopback


def test_nothing_is_open_by_default() -> None:
    assert Options.from_env({}) == Options()
    assert Options().answers_to("localhost:1")
    assert not Options().answers_to("testserver")
    assert not Options().is_proxy("127.0.0.1")


def test_what_is_set_is_read() -> None:
    options = Options.from_env(
        {
            "AUDIT_DESK_HOSTS": "Desk.Example, audit",
            "AUDIT_DESK_ORIGINS": "https://bi.example http://[::1]:3000,http://localhost:3000",
            "AUDIT_DESK_PROXIES": "10.0.0.0/8 2001:db8::1",
            "AUDIT_DESK_BEHIND_PROXY": "1",
            "AUDIT_DESK_KEY": "some.key",
        }
    )
    assert options.answers_to("DESK.example:443")
    assert options.answers_to("audit")
    assert len(options.origins) == 3
    assert [options.is_proxy(peer) for peer in ("10.1.2.3", "2001:db8::1")] == [True, True]
    assert [options.is_proxy(peer) for peer in ("11.1.2.3", "unknown")] == [False, False]
    assert options.is_behind_proxy
    assert options.key_path == Path.cwd() / "some.key"


@pytest.mark.parametrize(
    "origin",
    [
        "*",
        "https://*.example",
        "https://a/",
        "bi.example",
        "https://u:p@a",
        "https://a:x",
        "https://[",
        "ftp://a",
        "null",
    ],
)
def test_an_origin_that_is_none_or_everybody_is_refused(origin: str) -> None:
    with pytest.raises(BadUsage, match="AUDIT_DESK_ORIGINS"):
        Options.from_env({"AUDIT_DESK_ORIGINS": origin})


def test_every_mistake_is_told_at_once() -> None:
    wrong = {
        "AUDIT_DESK_HOSTS": "desk.example:443 *",
        "AUDIT_DESK_ORIGINS": "*",
        "AUDIT_DESK_PROXIES": "proxy 10.0.0.1/8",
        "AUDIT_DESK_BEHIND_PROXY": "yes",
    }
    with pytest.raises(BadUsage) as refused:
        Options.from_env(wrong)
    assert len(str(refused.value).splitlines()) == 7
    assert all(name in str(refused.value) for name in wrong)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_this_machine(address: str) -> None:
    assert is_loopback(address)


@pytest.mark.parametrize("address", ["192.0.2.7", "::", "desk.example", ""])
def test_another_machine(address: str) -> None:
    assert not is_loopback(address)
