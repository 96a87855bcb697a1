"""What only the desk is told by the environment; the rest of its settings are the audit's."""

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from audit_pipeline.model.errors import BadUsage

LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]")
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class Options:
    """How the desk is reached.

    Attributes:
        hosts: the names that it answers to, beside those of this machine, without a port.
        origins: sites of others whose scripts may use the API, with tokens; none by default.
        proxies: networks whose word for the address of the person counts.
        is_behind_proxy: a proxy in front of it speaks TLS.
        key_path: the file of the secret under which tokens are signed; None: the desk's own.
    """

    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    proxies: tuple[Network, ...] = ()
    is_behind_proxy: bool = False
    key_path: Path | None = None

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> "Options":
        """The options of this process.

        Raises:
            BadUsage: lists every setting that is wrong, with what it may be.
        """
        wrong: list[str] = []
        hosts = _words(env, "AUDIT_DESK_HOSTS")
        wrong += [
            f"AUDIT_DESK_HOSTS={host}: names of hosts, without a port"
            for host in hosts
            if not _HOST.fullmatch(host.lower())
        ]
        origins = _words(env, "AUDIT_DESK_ORIGINS")
        wrong += [
            f"AUDIT_DESK_ORIGINS={origin}: origins as https://host[:port]; no *"
            for origin in origins
            if not _is_origin(origin)
        ]
        proxies: list[Network] = []
        for proxy in _words(env, "AUDIT_DESK_PROXIES"):
            try:
                proxies.append(ipaddress.ip_network(proxy))
            except ValueError:
                wrong.append(f"AUDIT_DESK_PROXIES={proxy}: addresses or networks, as 10.0.0.0/8")
        behind = env.get("AUDIT_DESK_BEHIND_PROXY") or "0"
        if behind not in ("0", "1"):
            wrong.append(f"AUDIT_DESK_BEHIND_PROXY={behind}: 0 or 1")
        if wrong:
            raise BadUsage("wrong settings:\n" + "\n".join(f"  - {line}" for line in wrong))
        key = env.get("AUDIT_DESK_KEY")
        return cls(
            hosts=tuple(host.lower() for host in hosts),
            origins=origins,
            proxies=tuple(proxies),
            is_behind_proxy=behind == "1",
            key_path=Path(key).absolute() if key else None,
        )

    def answers_to(self, host: str) -> bool:
        """Whether a Host header, with or without a port, names this desk."""
        name = re.sub(r":[0-9]{1,5}\Z", "", host.lower())
        return name in LOOPBACK_HOSTS or name in self.hosts

    def is_proxy(self, address: str) -> bool:
        """Whether the word of this address counts."""
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self.proxies)


def is_loopback(address: str) -> bool:
    """An address or a name of this machine."""
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _words(env: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(word for word in re.split(r"[,\s]+", env.get(name) or "") if word)


def _is_origin(text: str) -> bool:
    try:
        url = urlsplit(text)
        _ = url.port  # one that is none raises
    except ValueError:
        return False
    return (
        url.scheme in ("http", "https")
        and bool(url.hostname)
        and not {"*", "@"} & set(text)
        and text == f"{url.scheme}://{url.netloc}"
    )
