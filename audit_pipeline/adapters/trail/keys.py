"""The keys of checkpoints: Ed25519, in a file that only its owner may read."""

import secrets
from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from audit_pipeline.adapters.trail.folder import write_once
from audit_pipeline.model.checkpoint import (
    ED25519,
    Note,
    NoteInvalid,
    Signature,
    VerifierKey,
    decoded,
    encoded,
    keys_of,
)
from audit_pipeline.model.errors import BadUsage, TrailBroken

PRIVATE = "PRIVATE+KEY"
SEED_BYTES = 32


class Signer:
    """A private key, and the public keys whose checkpoints it will extend beside its own."""

    def __init__(
        self, name: str, private: Ed25519PrivateKey, trusted: Sequence[VerifierKey] = ()
    ) -> None:
        self._private = private
        self.key = VerifierKey(name, private.public_key().public_bytes_raw())
        self.trusted = (self.key, *trusted)

    def sign(self, body: str) -> Note:
        """The signed note of a text that ends in a newline."""
        signature = self._private.sign(body.encode())
        return Note(body, (Signature(self.key.name, self.key.key_hash, signature),))

    def text(self) -> str:
        """The private key as its file holds it."""
        seed = self._private.private_bytes_raw()
        return f"{PRIVATE}+{self.key.key_id}+{encoded(ED25519 + seed)}\n"

    @classmethod
    def parse(cls, text: str) -> "Signer":
        """The key of a file: the private one first, then vkey lines of those before it.

        Raises:
            NoteInvalid: it holds no such key.
        """
        first, _, rest = text.partition("\n")
        private, _, line = first.partition("+KEY+")
        if private != "PRIVATE":
            raise NoteInvalid(f"it does not begin with {PRIVATE}")
        name, _, coded = line.partition("+")
        key_hash, _, seed64 = coded.partition("+")
        seed = _seed(seed64)
        signer = cls(name, Ed25519PrivateKey.from_private_bytes(seed), keys_of(rest))
        if signer.key.key_hash.hex() != key_hash:
            raise NoteInvalid("the private key does not fit its hash")
        return signer

    @classmethod
    def new(cls) -> "Signer":
        """A new key with a name of its own; the name is also the trail's origin."""
        return cls(f"audit-trail-{secrets.token_hex(4)}", Ed25519PrivateKey.generate())


def _seed(text: str) -> bytes:
    raw = decoded(text, "the private key")
    if len(raw) != 1 + SEED_BYTES or raw[:1] != ED25519:
        raise NoteInvalid("the private key is not Ed25519")
    return raw[1:]


def signer_of(path: Path, *, may_create: bool) -> Signer:
    """The private key in a file; made there at its first use, readable by its owner only.

    Raises:
        TrailBroken: the file is not there, and may not be created; or it holds no key.
    """
    if may_create and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_once(path, Signer.new().text().encode(), 0o600)
    try:
        return Signer.parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError as fault:
        raise TrailBroken(
            f"the signing key {path} is gone, and there are checkpoints that were signed with it; "
            "put it back, or name it in AUDIT_SIGNING_KEY"
        ) from fault
    except (NoteInvalid, UnicodeDecodeError) as fault:
        raise TrailBroken(f"the signing key {path} cannot be read: {fault}") from fault


def is_signed_by(note: Note, keys: Sequence[VerifierKey]) -> VerifierKey | None:
    """The first of the keys that signed the note; None where none did.

    Raises:
        NoteInvalid: a line claims to be of one of the keys and is not.
    """
    for key in keys:
        for signature in note.signatures:
            if not signature.is_of(key):
                continue
            try:
                public = Ed25519PublicKey.from_public_bytes(key.public_key)
                public.verify(signature.signature, note.body.encode())
            except InvalidSignature as fault:
                raise NoteInvalid(f"the signature of {key.key_id} is broken") from fault
            return key
    return None


def trusted_keys(given: str | None, folder: Path) -> list[VerifierKey]:
    """The keys to check with: a vkey, a file of them, or those beside the checkpoints.

    Raises:
        BadUsage: what was given is neither.
    """
    path = folder / "keys" if given is None else Path(given)
    try:
        if given is not None and not path.exists():
            return [VerifierKey.parse(given)]
        return keys_of(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    except (NoteInvalid, OSError, UnicodeDecodeError) as fault:
        raise BadUsage(f"{given or path}: no key and no file of keys: {fault}") from fault
