"""Entity resolution: which vendor a text means, how that was decided, and what it looks like.

Source: the specification's entity resolver and fuzzy vendor matcher. The knowledge graph is
`gold.vendors`; a merge is never silent, each text's row says by which method it was made.
"""

import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rapidfuzz import fuzz, process

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

# Letters and digits that are drawn alike (a subset of Unicode's confusables that occurs in vendor
# names), each mapped to the Latin letter it passes for.
_LOOKS_LIKE = str.maketrans(
    {
        "0": "o", "1": "l", "3": "e", "5": "s", "8": "b", "|": "l", "!": "l", "i": "l",
        "а": "a", "в": "b", "е": "e", "к": "k", "м": "m", "н": "h", "о": "o", "р": "p",
        "с": "c", "т": "t", "у": "y", "х": "x", "і": "l", "ѕ": "s", "ԁ": "d", "ɡ": "g",
        "α": "a", "ο": "o", "ρ": "p", "ν": "v", "ι": "l", "κ": "k",
    }
)  # fmt: skip


@dataclass(frozen=True)
class VendorEntity:
    """What one vendor key was resolved to.

    Attributes:
        method: `alias` (a name in the knowledge graph), `prefix` (begins with one), `fuzzy`
            (close to one), or `own` (an entity of its own, named by its key).
        similarity: 0 to 100.
        skeleton: the key as the eye reads it; equal skeletons of unequal keys are look-alikes.
    """

    vendor_key: str
    vendor_id: str
    vendor_name: str
    method: str
    similarity: int
    skeleton: str


def skeleton(text: str) -> str:
    """The text as the eye reads it: look-alike characters made equal, spaces dropped."""
    plain = unicodedata.normalize("NFKC", text.casefold()).translate(_LOOKS_LIKE)
    return plain.replace("rn", "m").replace("vv", "w").replace(" ", "")


def fuzzy_match_vendor(
    key: str, names: "Mapping[str, str]", similarity_min: int
) -> tuple[str, int] | None:
    """The name closest to `key`, and how close it is; None below `similarity_min` (0 to 100).

    Word order does not count; a look-alike spelling is close, which is why AN-08 looks at keys.
    """
    best = process.extractOne(
        key, names.keys(), scorer=fuzz.token_sort_ratio, score_cutoff=similarity_min
    )
    return None if best is None else (best[0], round(best[1]))


def resolve_vendors(
    keys: "Iterable[str]",
    graph: "Sequence[tuple[str, str, Sequence[str]]]",
    similarity_min: int,
    prefix_letters_min: int,
) -> list[VendorEntity]:
    """One entity for every vendor key.

    Args:
        keys: vendor keys, any order, unique.
        graph: (vendor_id, vendor_name, keys of its name and aliases) of `gold.vendors`.
        similarity_min: 0 to 100, below which a fuzzy match is not made.
        prefix_letters_min: a name in the graph must have this many letters to match as a prefix.

    Returns:
        In the order of the keys, sorted; each key resolved without regard to the others, so that
        the answer does not depend on which days are audited.
    """
    by_key: dict[str, str] = {}
    names: dict[str, str] = {}
    for vendor_id, vendor_name, alias_keys in sorted(graph):
        names[vendor_id] = vendor_name
        for alias in alias_keys:
            by_key.setdefault(alias, vendor_id)
    prefixes = sorted(
        (k for k in by_key if len(k) >= prefix_letters_min), key=lambda k: (-len(k), k)
    )
    by_first: dict[str, list[str]] = {}
    for prefix in prefixes:
        by_first.setdefault(prefix[:prefix_letters_min], []).append(prefix)

    def resolve(key: str) -> tuple[str, str, int]:
        if key in by_key:
            return by_key[key], "alias", 100
        for prefix in by_first.get(key[:prefix_letters_min], ()):
            if key.startswith(prefix + " "):
                return by_key[prefix], "prefix", 100
        close = fuzzy_match_vendor(key, by_key, similarity_min)
        if close is not None:
            return by_key[close[0]], "fuzzy", close[1]
        return f"name:{key}", "own", 100

    entities: list[VendorEntity] = []
    for key in sorted(set(keys)):
        vendor_id, method, similarity = resolve(key)
        name = names.get(vendor_id, key)
        entities.append(VendorEntity(key, vendor_id, name, method, similarity, skeleton(key)))
    return entities
