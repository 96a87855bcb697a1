"""Signed notes are read strictly: a text that would not be written this way is refused."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_pipeline.adapters.trail.keys import Signer, is_signed_by
from audit_pipeline.model.checkpoint import Head, Note, NoteInvalid, Signature, VerifierKey, keys_of

SIGNER = Signer.parse(
    "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz\n"
)
"""The key pair of the Go implementation's documentation: another program's keys are read."""

PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
HEAD = Head("PeterNeumann", 1042, bytes(range(32)))
NOTE = SIGNER.sign(str(HEAD))


def test_a_published_key_pair_fits() -> None:
    assert str(SIGNER.key) == PETER
    assert Signer.parse(SIGNER.text()).key == SIGNER.key
    assert SIGNER.text().startswith("PRIVATE+KEY+PeterNeumann+c74f20a3+AYEK")


def test_a_checkpoint_comes_back() -> None:
    raw = str(NOTE).encode()
    assert raw.decode().split("\n")[:4] == [
        "PeterNeumann",
        "1042",
        base64.b64encode(bytes(range(32))).decode(),
        "",
    ]
    read = Note.parse(raw)
    assert (read, Head.parse(read.body)) == (NOTE, HEAD)
    assert is_signed_by(read, [SIGNER.key]) == SIGNER.key


def test_no_bit_of_a_checkpoint_can_change() -> None:
    """Every bit of every byte: refused, or no signature of the key."""
    raw = str(NOTE).encode()
    for at in range(len(raw)):
        for bit in range(8):
            bent = bytearray(raw)
            bent[at] ^= 1 << bit
            try:
                note = Note.parse(bytes(bent))
                accepted = is_signed_by(note, [SIGNER.key]) is not None
            except NoteInvalid:
                continue
            assert not accepted, f"byte {at}, bit {bit}: {bytes(bent)!r}"


@given(st.binary(max_size=300))
def test_any_bytes_are_a_note_or_refused(raw: bytes) -> None:
    try:
        note = Note.parse(raw)
    except NoteInvalid:
        return
    assert str(note).encode() == raw


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("log\n5\n", "no checkpoint"),
        ("\n5\nAAAA\n", "no checkpoint"),
        ("log\n05\nAAAA\n", "tree size"),
        ("log\n-5\nAAAA\n", "tree size"),
        ("log\n5\nAAAA\n", "32 bytes"),
        ("log\n5\n%%\n", "not base64"),
        ("log\n5\nAAB=\n", "not canonical"),
        ("log\n5\nAAAA\nmore\n", "no checkpoint"),
    ],
)
def test_bodies_that_are_no_checkpoint(body: str, says: str) -> None:
    with pytest.raises(NoteInvalid, match=says):
        Head.parse(body)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"\xff\n\n", "UTF-8"),
        (b"a\tb\n\n\xe2\x80\x94 n AAAA\n", "control"),
        (b"no signatures\n", "no signed note"),
        (b"text\n\n\xe2\x80\x94 n AAAA", "no signed note"),
        (b"text\n\n- n AAAA\n", "signature line"),
        (b"text\n\n\xe2\x80\x94 n AAAA\n", "68 bytes"),
    ],
)
def test_bytes_that_are_no_note(raw: bytes, says: str) -> None:
    with pytest.raises(NoteInvalid, match=says):
        Note.parse(raw)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("", "no vkey"),
        ("a b+00000000+" + "A" * 44, "no vkey"),
        (PETER.replace("c74f20a3", "c74f20a4"), "does not fit its hash"),
        ("n+00000000+" + base64.b64encode(b"\x02" + bytes(32)).decode(), "not Ed25519"),
    ],
)
def test_lines_that_are_no_key(line: str, says: str) -> None:
    with pytest.raises(NoteInvalid, match=says):
        VerifierKey.parse(line)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "does not begin"),
        (SIGNER.text().replace("c74f20a3", "c74f20a4"), "does not fit its hash"),
        ("PRIVATE+KEY+n+00000000+AAAA\n", "not Ed25519"),
    ],
)
def test_texts_that_are_no_private_key(text: str, says: str) -> None:
    with pytest.raises(NoteInvalid, match=says):
        Signer.parse(text)


def test_a_file_of_keys() -> None:
    assert keys_of(f"# ours\n\n{PETER}\n") == [SIGNER.key]


def test_a_signature_is_made_of_what_the_database_keeps() -> None:
    (line,) = NOTE.signatures
    text = base64.b64encode(line.signature).decode()
    assert Signature.of("PeterNeumann", "c74f20a3", text) == line


def test_a_signature_counts_for_its_key_only() -> None:
    other = Signer.new()
    assert is_signed_by(NOTE, [other.key]) is None
    forged = Note(NOTE.body, (Signature("PeterNeumann", SIGNER.key.key_hash, bytes(64)),))
    with pytest.raises(NoteInvalid, match="broken"):
        is_signed_by(forged, [SIGNER.key])
    both = Note(NOTE.body, (*other.sign(NOTE.body).signatures, *NOTE.signatures))
    assert is_signed_by(Note.parse(str(both).encode()), [SIGNER.key]) == SIGNER.key
