"""Merkle trees as in RFC 6962: roots, trees that grow, and the two proofs.

Leaf hashes go in (`model.trail.leaf_hash` makes those of the trail); a hash is 32 bytes. The
algorithms are those of RFC 6962, section 2.1, and of RFC 9162, section 2.1; what checks a proof
refuses every proof that they would not have made.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()


def node(left: bytes, right: bytes) -> bytes:
    """The hash over two subtrees; its prefix tells it from a leaf's."""
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass
class Peaks:
    """A tree that can grow: the roots of its complete subtrees, the largest first.

    Attributes:
        size: how many leaves it has.
        hashes: one for each bit that is set in `size`.
    """

    size: int = 0
    hashes: list[bytes] = field(default_factory=list[bytes])

    def __post_init__(self) -> None:
        if self.size < 0 or len(self.hashes) != self.size.bit_count():
            raise ValueError(f"{len(self.hashes)} peaks for a tree of {self.size} leaves")
        if any(len(peak) != HASH_BYTES for peak in self.hashes):
            raise ValueError("a peak is not 32 bytes long")

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Append leaf hashes, in order."""
        sha256, peaks, bits = hashlib.sha256, list[bytes](), self.size
        level = list(leaves)
        self.size += len(level)
        while level or bits:  # one level of the tree after the other, from the leaves up
            if bits & 1:
                level.insert(0, self.hashes.pop())
            if len(level) & 1:
                peaks.append(level.pop())
            each = iter(level)
            level = [
                sha256(b"\x01" + left + right).digest()
                for left, right in zip(each, each, strict=True)
            ]
            bits >>= 1
        self.hashes = peaks[::-1]

    def root(self) -> bytes:
        """The root over all leaves."""
        if not self.hashes:
            return EMPTY_ROOT
        whole = self.hashes[-1]
        for peak in reversed(self.hashes[:-1]):
            whole = node(peak, whole)
        return whole

    def copy(self) -> "Peaks":
        """Another one that grows apart from this."""
        return Peaks(self.size, list(self.hashes))


def root(leaves: Iterable[bytes]) -> bytes:
    """The root over leaf hashes."""
    tree = Peaks()
    tree.extend(leaves)
    return tree.root()


def _left_size(size: int) -> int:
    """The size of the left subtree: the largest power of two below `size`, which is above 1."""
    return 1 << (size - 1).bit_length() - 1


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """What shows that leaf `index` (from 0) is in the tree over `leaves`.

    Raises:
        ValueError: there is no such leaf.
    """
    if not 0 <= index < len(leaves):
        raise ValueError(f"no leaf {index} in a tree of {len(leaves)}")
    begin, end = 0, len(leaves)
    path: list[bytes] = []
    while end - begin > 1:
        middle = begin + _left_size(end - begin)
        if index < middle:
            path.append(root(leaves[middle:end]))
            end = middle
        else:
            path.append(root(leaves[begin:middle]))
            begin = middle
    return path[::-1]


def inclusion_holds(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], expected_root: bytes
) -> bool:
    """Whether the proof leads from leaf `index` (from 0) to the root of the tree of `size`."""
    if not 0 <= index < size or not _are_hashes(leaf, expected_root, *proof):
        return False
    place, last, reached = index, size - 1, leaf
    for step in proof:
        if last == 0:
            return False
        if place & 1 or place == last:
            reached = node(step, reached)
            while place and not place & 1:
                place >>= 1
                last >>= 1
        else:
            reached = node(reached, step)
        place >>= 1
        last >>= 1
    return last == 0 and reached == expected_root


def consistency_proof(leaves: Sequence[bytes], size: int) -> list[bytes]:
    """What shows that the tree over `leaves` begins with the one over its first `size` leaves.

    Empty where the two are the same tree.

    Raises:
        ValueError: `size` is not between 1 and the number of leaves.
    """
    if not 1 <= size <= len(leaves):
        raise ValueError(f"no tree of {size} begins one of {len(leaves)}")
    begin, end = 0, len(leaves)
    path: list[bytes] = []
    while size != end:
        middle = begin + _left_size(end - begin)
        if size <= middle:
            path.append(root(leaves[middle:end]))
            end = middle
        else:
            path.append(root(leaves[begin:middle]))
            begin = middle
    if begin:
        path.append(root(leaves[begin:end]))
    return path[::-1]


def consistency_holds(
    size: int, larger: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes
) -> bool:
    """Whether the proof shows that the tree of `size` is the beginning of the `larger` one.

    About an empty tree there is nothing to show: such a proof never holds.
    """
    if not 1 <= size <= larger:
        return False
    if size == larger:
        return not proof and old_root == new_root
    if not proof or not _are_hashes(old_root, new_root, *proof):
        return False
    steps = list(proof)
    if size & (size - 1) == 0:
        steps.insert(0, old_root)
    place, last = size - 1, larger - 1
    while place & 1:
        place >>= 1
        last >>= 1
    old = new = steps[0]
    for step in steps[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            old, new = node(step, old), node(step, new)
            while place and not place & 1:
                place >>= 1
                last >>= 1
        else:
            new = node(new, step)
        place >>= 1
        last >>= 1
    return last == 0 and old == old_root and new == new_root


def _are_hashes(*values: bytes) -> bool:
    return all(len(value) == HASH_BYTES for value in values)
