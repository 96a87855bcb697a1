"""Grounding: what of a generated explanation does not resolve to the evidence.

The gate is closed: a piece of text is a number, a date or a word of the evidence, an ordinary
lower-case word, or refused. It checks pieces and not what is said of them: who paid whom, and a
lower-case claim that no list here knows, are beyond it. So severity never depends on the text, and
where anything is refused the template stands.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise

from audit_pipeline.agents.escalation.grounding.claims import (
    SPLITS,
    Claim,
    Day,
    Piece,
    claims_of,
    currency_of,
    pieces_of,
    readings_of,
)
from audit_pipeline.agents.escalation.grounding.words import (
    ABBREVIATIONS,
    CALENDAR,
    DECISIONS,
    OPENERS,
    PHRASE_WORDS_MAX,
)
from audit_pipeline.model.untrusted import visible

EXPLANATION_CHARACTERS_MAX = 400
_LETTERS = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")
_ROMAN = re.compile(r"(?=..)m{0,3}(?:cm|cd|d?c{0,3})(?:xc|xl|l?x{0,3})(?:ix|iv|v?i{0,3})", re.ASCII)
_MARKUP = ("<", ">", "`", "](", "![")


@dataclass
class _Evidence:
    pieces: set[str] = field(default_factory=set[str])
    words: set[str] = field(default_factory=set[str])
    numbers: set[Decimal] = field(default_factory=set[Decimal])
    ordinals: set[Decimal] = field(default_factory=set[Decimal])
    neighbours: set[tuple[Decimal, Decimal]] = field(default_factory=set[tuple[Decimal, Decimal]])
    days: set[Day] = field(default_factory=set[Day])
    currencies: set[str] = field(default_factory=set[str])


def ungrounded(text: str, facts: Iterable[str], says: Iterable[str] = ()) -> tuple[str, ...]:
    """The parts of a generated explanation that do not resolve to the evidence, in its order.

    Numbers and dates must equal one of the evidence, in whatever form they are written; sums and
    differences of them do not. Ids, addresses and all else that is neither number nor plain word
    must occur exactly, names in any case. Refused whatever the evidence says: decisions, advice
    and accusations, markup, what cannot be seen, more than 400 characters.

    Args:
        text: the explanation.
        facts: texts of the evidence: its cells, the filled sentences of the rules, field names.
            `$` is taken for the books' currency unless they name another one.
        says: the rules' sentences with their placeholders; what these call approved may be called
            so in the same words. Never a text from outside.

    Returns:
        Pieces of the text as `visible` shows it, or what is wrong with the whole; empty where all
        is grounded.
    """
    if len(text) > EXPLANATION_CHARACTERS_MAX:
        return (f"more than {EXPLANATION_CHARACTERS_MAX} characters",)
    facts = list(facts)
    found: list[str] = []
    shown = visible(text)
    if shown != unicodedata.normalize("NFKC", text):
        found.append("invisible characters")
    found += [sign for sign in _MARKUP if sign in shown]
    found += [
        f"U+{ord(sign):04X}"
        for sign in sorted(set(text))
        if (sign in "\n\t" or unicodedata.category(sign) == "No")
        and not any(sign in fact for fact in facts)
    ]
    evidence = _evidence_of(facts)
    pieces = list(pieces_of(shown))
    for claim in claims_of(pieces):
        if not _resolves(claim, evidence):
            found.append(claim.said)
    found += _run_together(pieces, evidence)
    found += _decisions(pieces, [list(pieces_of(visible(sentence))) for sentence in says])
    return tuple(dict.fromkeys(found))


# ---- what the evidence says


def _evidence_of(facts: Iterable[str]) -> _Evidence:
    evidence = _Evidence()
    for fact in facts:
        claims = list(claims_of(list(pieces_of(visible(fact)))))
        for claim in claims:
            _learn(evidence, claim)
        evidence.neighbours.update((a, b) for a, b, _ in _neighbours(claims))
    return evidence


def _learn(evidence: _Evidence, claim: Claim) -> None:
    evidence.pieces.add(claim.said)
    if claim.value is not None:
        (evidence.ordinals if claim.ordinal else evidence.numbers).add(claim.value)
    for year, month, day in claim.readings or ():
        evidence.days |= {(year, month, day), (None, month, day)} | {(year, month, None)}
    if claim.currency:
        evidence.currencies.add(claim.currency)
    for piece in claim.pieces:
        if found := readings_of(piece.text.partition("T")[0]):  # a time stamp's
            evidence.days.update(found)
            evidence.days.update((None, month, day) for _, month, day in found)
        for word in _LETTERS.findall(piece.text):
            evidence.words |= {word.casefold(), word.removesuffix("'s").casefold()}
            evidence.words.update(word.casefold().split("'"))
        if piece.text == piece.text.upper() and (code := currency_of(piece.text)):
            evidence.currencies.add(code)


# ---- whether the one follows from the other


def _resolves(claim: Claim, evidence: _Evidence) -> bool:
    if claim.value is not None:  # also where it is written alike: there may be a "minus" before it
        known = evidence.numbers | evidence.ordinals if claim.ordinal else evidence.numbers
        return claim.value in known and (not claim.currency or _is_own(claim.currency, evidence))
    if claim.said in evidence.pieces:
        return True
    if claim.readings is not None:
        return any(day in evidence.days for day in claim.readings)
    [piece] = claim.pieces
    if code := currency_of(piece.text):
        return _is_own(code, evidence)
    if piece.text.lower() in ABBREVIATIONS:
        return True
    words = [word for word in SPLITS.split(piece.text) if word]
    ordinary = (_is_ordinary(word, opens=piece.opens and at == 0) for at, word in enumerate(words))
    # a capital letter makes the whole piece a name or an id: TXN-abcd
    return all(ordinary) or all(_is_known(word, evidence) for word in words)


def _is_own(code: str, evidence: _Evidence) -> bool:
    return code in evidence.currencies if evidence.currencies else code == "USD"


def _is_known(word: str, evidence: _Evidence) -> bool:
    return _LETTERS.fullmatch(word) is not None and (
        word.casefold() in evidence.words or word.removesuffix("'s").casefold() in evidence.words
    )


def _is_ordinary(word: str, *, opens: bool) -> bool:
    """A lower-case word of ASCII letters that is no name and no number, or a sentence's opener."""
    plain = word.replace("'", "")
    if not (plain.isascii() and plain.isalpha()):
        return False
    if opens and word[0].isupper() and plain[1:] == plain[1:].lower():
        return plain.lower() in OPENERS
    return (
        plain.islower()
        and plain not in CALENDAR
        and (plain == "mix" or not _ROMAN.fullmatch(plain))
    )


def _run_together(pieces: Sequence[Piece], evidence: _Evidence) -> Iterator[str]:
    """Numbers that read as one, `1 240.00`, and words that are spelled, `a p p r o v e`."""
    for a, b, said in _neighbours(list(claims_of(pieces))):
        if (a, b) not in evidence.neighbours:
            yield said
    for at in range(len(pieces) - 2):
        texts = [piece.text for piece in pieces[at : at + 3]]
        if all(len(text) == 1 and text.isalpha() for text in texts):
            yield " ".join(texts)


def _neighbours(claims: Sequence[Claim]) -> Iterator[tuple[Decimal, Decimal, str]]:
    """Two numbers with nothing but white space between them, and how they are written."""
    for a, b in pairwise(claims):
        if a.value is not None and b.value is not None and not a.pieces[-1].ends:
            yield a.value, b.value, f"{a.said} {b.said}"


def _decisions(pieces: Sequence[Piece], own: Iterable[Sequence[Piece]]) -> Iterator[str]:
    """Phrases of `DECISIONS`, also halved, that our sentences do not have in the same words."""
    allowed = " ".join(word for sentence in own for word in (".", *_words(sentence), "."))
    words = [".", *_words(pieces), "."]
    for at in range(1, len(words) - 1):
        for end in range(at + 1, min(at + PHRASE_WORDS_MAX, len(words) - 1) + 1):
            phrase = tuple(words[at:end])
            halves = ("".join(phrase),) if len(phrase) == 2 else phrase  # noqa: PLR2004
            if phrase in DECISIONS or halves in DECISIONS:
                said = " ".join(words[at - 1 : end + 1])
                if f" {said} " not in allowed:
                    yield " ".join(phrase)


def _words(pieces: Sequence[Piece]) -> Iterator[str]:
    for piece in pieces:
        yield from re.findall(r"[^\W\d_]+", piece.text.replace("'", "").lower())
        if piece.stops:
            yield "."
