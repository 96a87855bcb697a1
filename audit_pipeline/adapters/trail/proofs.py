"""Proofs for somebody who trusts a checkpoint and nothing else, as JSON documents.

Hashes are hexadecimal. An inclusion proof's leaf is SHA-256 over a zero byte and the entry as
canonical JSON (sorted keys, no spaces, UTF-8), so that it can be checked without this program.
"""

from collections.abc import Sequence

from audit_pipeline.adapters.trail.verify import Verified
from audit_pipeline.model.alignment import Fault, Kind
from audit_pipeline.model.checkpoint import Head, Note
from audit_pipeline.model.errors import BadUsage
from audit_pipeline.model.merkle import (
    consistency_holds,
    consistency_proof,
    inclusion_holds,
    inclusion_proof,
)

Proof = dict[str, object]


def prove_entry(
    found: Verified, number: int, document: object, head: Head, note: Note
) -> tuple[Proof, list[Fault]]:
    """That entry `number` is the one under the checkpoint; and what is wrong with that.

    Args:
        found: the leaves, as a verification read them.
        document: what the entry says.
        head: the checkpoint's state; `note` is the same, signed.

    Raises:
        BadUsage: the checkpoint does not cover the entry.
    """
    leaves = _covered(found.leaves, head)
    if not 1 <= number <= len(leaves):
        raise BadUsage(f"entry {number} is not under the checkpoint of {head.tree_size} entries")
    steps = inclusion_proof(leaves, number - 1)
    leaf = leaves[number - 1]
    holds = inclusion_holds(leaf, number - 1, head.tree_size, steps, head.root_hash)
    proof: Proof = {
        "kind": "inclusion",
        "number": number,
        "document": document,
        "leaf_hash": leaf.hex(),
        "leaf_index": number - 1,
        "tree_size": head.tree_size,
        "root_hash": head.root_hash.hex(),
        "proof": [step.hex() for step in steps],
        "checkpoint": str(note),
        "holds": holds,
    }
    said = f"entry {number:,}: the proof does not lead to the root of the checkpoint"
    return proof, [] if holds else [Fault(Kind.UNPLACED, said, (number,))]


def prove_growth(
    found: Verified, old: Head, old_note: Note, new: Head, new_note: Note
) -> tuple[Proof, list[Fault]]:
    """That the checkpoint `old` is the beginning of `new`; and what is wrong with that.

    Raises:
        BadUsage: the old one is the longer one, or is of an empty trail.
    """
    if not 1 <= old.tree_size <= new.tree_size:
        raise BadUsage(
            f"the older checkpoint covers {old.tree_size} entries and the newer {new.tree_size}"
        )
    leaves = _covered(found.leaves, new)
    steps = consistency_proof(leaves, old.tree_size) if len(leaves) == new.tree_size else []
    holds = old.origin == new.origin and consistency_holds(
        old.tree_size, new.tree_size, steps, old.root_hash, new.root_hash
    )
    proof: Proof = {
        "kind": "consistency",
        "old_size": old.tree_size,
        "old_root_hash": old.root_hash.hex(),
        "tree_size": new.tree_size,
        "root_hash": new.root_hash.hex(),
        "proof": [step.hex() for step in steps],
        "old_checkpoint": str(old_note),
        "checkpoint": str(new_note),
        "holds": holds,
    }
    said = f"the checkpoint of {old.tree_size:,} entries is not the beginning of this trail"
    return proof, [] if holds else [Fault(Kind.FORKED, said, (old.tree_size,))]


def _covered(leaves: Sequence[bytes], head: Head) -> Sequence[bytes]:
    return leaves[: head.tree_size]
