"""Signed checkpoints of the trail as text: C2SP signed notes, tlog checkpoints, verifier keys.

Formats: https://c2sp.org/signed-note and https://c2sp.org/tlog-checkpoint. A checkpoint is three
lines (origin, tree size, root), an empty line, and a line for each signature::

    audit-trail-5f2c81d0
    1042
    4YTxr5W…=

    — audit-trail-5f2c81d0 Zm9vYmF…=

What is read here is read strictly: a text that would not be written this way is refused, so that
no byte of a note can change unnoticed.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from audit_pipeline.model.merkle import HASH_BYTES

ED25519 = b"\x01"
"""The algorithm's byte in keys and key hashes."""

PUBLIC_KEY_BYTES, SIGNATURE_BYTES, KEY_HASH_BYTES = 32, 64, 4
_SIGNATURE = re.compile(r"— ([^\s+]+) ([A-Za-z0-9+/]+={0,2})")


class NoteInvalid(ValueError):
    """A text is no signed note, no checkpoint or no key; the message says what is wrong."""


def decoded(text: str, what: str) -> bytes:
    """Base64 in its one canonical spelling."""
    try:
        found = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as fault:
        raise NoteInvalid(f"{what} is not base64") from fault
    if encoded(found) != text:
        raise NoteInvalid(f"{what} is not canonical base64")
    return found


def encoded(value: bytes) -> str:
    """Base64."""
    return base64.b64encode(value).decode()


@dataclass(frozen=True)
class VerifierKey:
    """An Ed25519 public key with the name of who signs; `str` gives its vkey line."""

    name: str
    public_key: bytes

    @property
    def key_hash(self) -> bytes:
        """Four bytes that tell keys of one name apart."""
        named = self.name.encode() + b"\n" + ED25519 + self.public_key
        return hashlib.sha256(named).digest()[:KEY_HASH_BYTES]

    @property
    def key_id(self) -> str:
        """`name+hash`: what the database keeps beside its copy of a checkpoint."""
        return f"{self.name}+{self.key_hash.hex()}"

    def __str__(self) -> str:
        return f"{self.key_id}+{encoded(ED25519 + self.public_key)}"

    @classmethod
    def parse(cls, line: str) -> "VerifierKey":
        """The key of a vkey line.

        Raises:
            NoteInvalid: it is none.
        """
        name, _, rest = line.strip().partition("+")
        key_hash, _, key = rest.partition("+")
        raw = decoded(key, "the key")
        if not name or re.search(r"\s", name) or len(raw) != 1 + PUBLIC_KEY_BYTES:
            raise NoteInvalid(f"{line.strip()[:80]!r} is no vkey (name+hash+base64)")
        if raw[:1] != ED25519:
            raise NoteInvalid(f"{name}: the key is not Ed25519")
        parsed = cls(name, raw[1:])
        if parsed.key_hash.hex() != key_hash:
            raise NoteInvalid(f"{name}: the key does not fit its hash {key_hash[:16]!r}")
        return parsed


@dataclass(frozen=True)
class Signature:
    """One signature line of a note: who, the hash of which key, and 64 bytes."""

    name: str
    key_hash: bytes
    signature: bytes

    def __str__(self) -> str:
        return f"— {self.name} {encoded(self.key_hash + self.signature)}"

    @classmethod
    def of(cls, name: str, key_hash: str, signature: str) -> "Signature":
        """From hexadecimal digits and base64.

        Raises:
            ValueError: they are none.
        """
        return cls(name, bytes.fromhex(key_hash), decoded(signature, "the signature"))

    def is_of(self, key: VerifierKey) -> bool:
        """Whether it claims to be made with this key."""
        return (self.name, self.key_hash) == (key.name, key.key_hash)


@dataclass(frozen=True)
class Note:
    """A signed text. `body` ends in a newline, and the signatures are over its UTF-8 bytes."""

    body: str
    signatures: tuple[Signature, ...]

    def __str__(self) -> str:
        return self.body + "\n" + "".join(f"{line}\n" for line in self.signatures)

    @classmethod
    def parse(cls, raw: bytes) -> "Note":
        """The note that these bytes spell.

        Raises:
            NoteInvalid: they spell none.
        """
        try:
            text = raw.decode()
        except UnicodeDecodeError as fault:
            raise NoteInvalid("it is not UTF-8") from fault
        if re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text):
            raise NoteInvalid("it has control characters")
        body, gap, lines = text.rpartition("\n\n")
        if not gap or not body or not lines.endswith("\n"):
            raise NoteInvalid("it is no signed note: text, an empty line, signatures")
        return cls(body + "\n", tuple(_signature(line) for line in lines[:-1].split("\n")))


def _signature(line: str) -> Signature:
    found = _SIGNATURE.fullmatch(line)
    if found is None:
        raise NoteInvalid("a signature line is not '— name base64'")
    raw = decoded(found[2], "a signature")
    if len(raw) != KEY_HASH_BYTES + SIGNATURE_BYTES:
        raise NoteInvalid("a signature is not 68 bytes long")
    return Signature(found[1], raw[:KEY_HASH_BYTES], raw[KEY_HASH_BYTES:])


@dataclass(frozen=True)
class Head:
    """A state of a trail: the root over its first `tree_size` entries; `str` is what is signed."""

    origin: str
    tree_size: int
    root_hash: bytes

    def __str__(self) -> str:
        return f"{self.origin}\n{self.tree_size}\n{encoded(self.root_hash)}\n"

    @classmethod
    def parse(cls, body: str) -> "Head":
        """The state that the body of a note names.

        Raises:
            NoteInvalid: it names none.
        """
        lines = body.split("\n")
        if len(lines) != 4 or lines[3] or not lines[0]:  # noqa: PLR2004 - three lines and an end
            raise NoteInvalid("it is no checkpoint: origin, tree size, root")
        origin, size, root, _ = lines
        if not re.fullmatch("0|[1-9][0-9]{0,17}", size):
            raise NoteInvalid(f"its tree size is {size[:30]!r}")
        root_hash = decoded(root, "its root")
        if len(root_hash) != HASH_BYTES:
            raise NoteInvalid("its root is not 32 bytes long")
        return cls(origin, int(size), root_hash)


def keys_of(text: str) -> list[VerifierKey]:
    """The keys of a file of vkey lines; empty lines and those that begin with # are none.

    Raises:
        NoteInvalid: a line is no vkey.
    """
    lines: Sequence[str] = [line.strip() for line in text.splitlines()]
    return [VerifierKey.parse(line) for line in lines if line and not line.startswith("#")]
