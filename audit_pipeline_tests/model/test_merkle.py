"""Merkle trees: the published vectors of RFC 6962, and the RFC's own recursive definition."""

import base64
import hashlib
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_pipeline.model import merkle

VECTORS = Path(__file__).parents[3] / "shared" / "data" / "rfc6962_vectors"
VECTOR_COUNT = 196
IN_CI = bool(os.environ.get("CI"))

leaves_of = st.lists(st.integers(0, 255), min_size=0, max_size=70).map(
    lambda numbers: [hashlib.sha256(bytes([n])).digest() for n in numbers]
)


def recursive_root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = largest_power_below(len(leaves))
    return hashlib.sha256(
        b"\x01" + recursive_root(leaves[:k]) + recursive_root(leaves[k:])
    ).digest()


def largest_power_below(n: int) -> int:
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def recursive_path(m: int, leaves: list[bytes]) -> list[bytes]:
    """PATH of section 2.1.1."""
    if len(leaves) == 1:
        return []
    k = largest_power_below(len(leaves))
    if m < k:
        return [*recursive_path(m, leaves[:k]), recursive_root(leaves[k:])]
    return [*recursive_path(m - k, leaves[k:]), recursive_root(leaves[:k])]


def recursive_proof(m: int, leaves: list[bytes], *, whole: bool = True) -> list[bytes]:
    """PROOF and SUBPROOF of section 2.1.2."""
    if m == len(leaves):
        return [] if whole else [recursive_root(leaves)]
    k = largest_power_below(len(leaves))
    if m <= k:
        return [*recursive_proof(m, leaves[:k], whole=whole), recursive_root(leaves[k:])]
    return [*recursive_proof(m - k, leaves[k:], whole=False), recursive_root(leaves[:k])]


def test_the_published_vectors() -> None:
    """Every one of them, the bad ones too."""
    if not VECTORS.exists():
        (pytest.fail if IN_CI else pytest.skip)(f"no vectors in {VECTORS}")
    checked = 0
    wrong: list[str] = []
    for file in sorted(VECTORS.rglob("*.json")):
        if not file.is_file():
            continue
        case = json.loads(file.read_text())
        proof = [base64.b64decode(step) for step in case["proof"] or ()]
        if "leafIdx" in case:
            holds = merkle.inclusion_holds(
                base64.b64decode(case["leafHash"] or ""),
                case["leafIdx"],
                case["treeSize"],
                proof,
                base64.b64decode(case["root"] or ""),
            )
        else:
            holds = merkle.consistency_holds(
                case["size1"],
                case["size2"],
                proof,
                base64.b64decode(case["root1"] or ""),
                base64.b64decode(case["root2"] or ""),
            )
        checked += 1
        if holds is case["wantErr"]:
            wrong.append(str(file.relative_to(VECTORS)))
    assert wrong == []
    assert checked == VECTOR_COUNT


@given(leaves_of)
def test_roots_are_the_recursive_ones(leaves: list[bytes]) -> None:
    assert merkle.root(leaves) == recursive_root(leaves)


@given(leaves_of, st.data())
def test_a_tree_that_grows_in_pieces_has_the_same_root(
    leaves: list[bytes], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(leaves)))
    tree = merkle.Peaks()
    tree.extend(leaves[:cut])
    begun = tree.copy()
    tree.extend(leaves[cut:])
    assert tree.root() == recursive_root(leaves)
    assert begun.root() == recursive_root(leaves[:cut])
    assert merkle.Peaks(tree.size, tree.hashes).root() == tree.root()


@given(leaves_of.filter(len), st.data())
def test_inclusion_is_the_recursive_path_and_holds_for_that_leaf_only(
    leaves: list[bytes], data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    proof = merkle.inclusion_proof(leaves, index)
    root, size = recursive_root(leaves), len(leaves)
    assert proof == recursive_path(index, leaves)
    assert merkle.inclusion_holds(leaves[index], index, size, proof, root)
    other = hashlib.sha256(b"other").digest()
    assert not merkle.inclusion_holds(other, index, size, proof, root)
    assert not merkle.inclusion_holds(leaves[index], index, size, [*proof, other], root)
    assert not merkle.inclusion_holds(leaves[index], size, size, proof, root)
    if proof:
        assert not merkle.inclusion_holds(leaves[index], index, size, proof[:-1], root)
        short = [*proof[:-1], proof[-1][:-1]]
        assert not merkle.inclusion_holds(leaves[index], index, size, short, root)


@given(leaves_of.filter(len), st.data())
def test_consistency_is_the_recursive_proof_and_holds_for_these_roots_only(
    leaves: list[bytes], data: st.DataObject
) -> None:
    size = data.draw(st.integers(1, len(leaves)))
    proof = merkle.consistency_proof(leaves, size)
    old, new = recursive_root(leaves[:size]), recursive_root(leaves)
    assert proof == recursive_proof(size, leaves)
    assert merkle.consistency_holds(size, len(leaves), proof, old, new)
    other = hashlib.sha256(b"other").digest()
    assert not merkle.consistency_holds(size, len(leaves), proof, other, new)
    assert not merkle.consistency_holds(size, len(leaves), proof, old, other)
    assert not merkle.consistency_holds(size, len(leaves), [*proof, other], old, new)
    for at in range(len(proof)):
        bent = [*proof[:at], other, *proof[at + 1 :]]
        assert not merkle.consistency_holds(size, len(leaves), bent, old, new)


def test_what_no_tree_has() -> None:
    leaves = [hashlib.sha256(bytes([n])).digest() for n in range(5)]
    for index in (-1, 5):
        with pytest.raises(ValueError, match="no leaf"):
            merkle.inclusion_proof(leaves, index)
    for size in (0, 6):
        with pytest.raises(ValueError, match="no tree"):
            merkle.consistency_proof(leaves, size)
    for size, hashes in ((-1, []), (3, leaves[:1]), (1, [b"short"])):
        with pytest.raises(ValueError, match="peak"):
            merkle.Peaks(size, hashes)


def test_every_small_tree_grows_into_every_larger_one() -> None:
    """Both proofs for all sizes up to 20: a shape that random lists seldom have is among them."""
    leaves = [hashlib.sha256(bytes([n])).digest() for n in range(20)]
    roots = [recursive_root(leaves[:size]) for size in range(len(leaves) + 1)]
    for larger in range(1, len(leaves) + 1):
        for size in range(1, larger + 1):
            steps = merkle.consistency_proof(leaves[:larger], size)
            assert merkle.consistency_holds(size, larger, steps, roots[size], roots[larger])
            if size < larger:
                cut = steps[:-1]
                assert not merkle.consistency_holds(size, larger, cut, roots[size], roots[larger])
        for index in range(larger):
            steps = merkle.inclusion_proof(leaves[:larger], index)
            assert merkle.inclusion_holds(leaves[index], index, larger, steps, roots[larger])
