"""Document search by words, for the few most suspicious charges of a day.

Source: the specification's semantic document search ("the top few only"). Documents go into a
full-text index (SQLite's FTS5, in memory) in the order of their days, and a question is asked when
those up to its audit date are in: no answer depends on anything later. Why: docs/decisions/0009.

Texts are data. A word of a question is one quoted string to the index, whatever stands in it.
"""

import datetime as dt
import math
import re
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from audit_pipeline.model.untrusted import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

STRENGTH_MIN = 40
"""Of 100, as for any document (documents.sql): the name of a person alone does not reach it."""
FOUND_PER_QUESTION = 3
QUESTIONS_A_THREAD_MIN, THREADS_MAX = 200, 4
"""Each thread fills an index of its own, which only many questions are worth."""
CANDIDATES = 24
"""The best by BM25, of which those with the most of the question are taken."""
WORDS_MAX = 32
"""The first ones of a question; a vendor, a category, a person and an amount have a dozen."""
WORD_CHARACTERS_MAX = 64

_ROUNDING = 1e-9
_THOUSANDS = re.compile(r"(?<=[0-9]),(?=[0-9]{3}(?![0-9]))")


@dataclass(frozen=True)
class Document:
    """One text that can be found: a mail, a receipt, a calendar event."""

    source: str
    row_id: str
    written_on: dt.date
    text: str


@dataclass(frozen=True)
class Question:
    """What is asked about one suspicious charge."""

    audit_on: dt.date
    transaction_id: str
    text: str


@dataclass(frozen=True)
class Found:
    """A document for a question.

    Attributes:
        strength: how much of the question the document has, 0 to 100: the share of its words, each
            counted by its rarity. A word that one document of eight has counts three (bits).
    """

    audit_on: dt.date
    transaction_id: str
    source: str
    row_id: str
    quote: str
    strength: int


def search_documents(
    questions: "Sequence[Question]", documents: "Sequence[Document]"
) -> list[Found]:
    """The documents that have most of each question, among those written by its audit date.

    Returns:
        Up to FOUND_PER_QUESTION per question, best first, by audit date and in the order of the
        questions; the same in any order of the documents.
    """
    if not questions or not documents:
        return []
    ordered = sorted(documents, key=lambda d: (d.written_on, d.source, d.row_id, d.text))
    asked = sorted(questions, key=lambda q: q.audit_on)
    size = max(QUESTIONS_A_THREAD_MIN, -(-len(asked) // THREADS_MAX))
    shares = [asked[at : at + size] for at in range(0, len(asked), size)]
    with ThreadPoolExecutor(len(shares)) as threads:
        answers = threads.map(lambda share: _answered(share, ordered), shares)
        return [found for share in answers for found in share]


def _answered(asked: "Sequence[Question]", ordered: "Sequence[Document]") -> list[Found]:
    """What is found for questions in the order of their audit dates."""
    found: list[Found] = []
    there = 0
    with closing(sqlite3.connect(":memory:")) as connection:
        index = _Index(connection)
        for question in asked:
            start = there
            while there < len(ordered) and ordered[there].written_on <= question.audit_on:
                there += 1
            index.add(start, (document.text for document in ordered[start:there]))
            for place, strength in index.ask(question.text):
                document = ordered[place]
                found.append(
                    Found(
                        question.audit_on,
                        question.transaction_id,
                        document.source,
                        document.row_id,
                        document.text,
                        strength,
                    )
                )
    return found


class _Index:
    """Texts by number, and which of them have most of a question."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._size = 0
        self._holders: dict[str, int] = {}
        self._connection = connection
        connection.execute(
            "CREATE VIRTUAL TABLE texts USING fts5"
            "(words, content = '', tokenize = 'unicode61 remove_diacritics 2')"
        )

    def add(self, first: int, texts: "Iterable[str]") -> None:
        """Add texts that are numbered from `first` on."""
        rows = [(first + n, _searchable(text)) for n, text in enumerate(texts)]
        if rows:
            self._connection.executemany("INSERT INTO texts (rowid, words) VALUES (?, ?)", rows)
            self._size += len(rows)
            self._holders.clear()

    def ask(self, question: str) -> list[tuple[int, int]]:
        """Number and strength of the best texts, best first."""
        bits = {word: self._bits(word) for word in _words(question)}
        total = sum(bits.values())
        needed = STRENGTH_MIN / 100 * total - _ROUNDING
        asked = [word for word in _needed(bits, needed) if self._holding(word)]
        if not asked:
            return []
        candidates = self._connection.execute(
            "SELECT rowid FROM texts WHERE texts MATCH ? ORDER BY rank, rowid LIMIT ?",
            (" OR ".join(asked), CANDIDATES),
        )
        has = {place: 0.0 for (place,) in candidates}
        within = f"({', '.join(map(str, has))})"
        for word, worth in bits.items():
            holders = self._connection.execute(
                f"SELECT rowid FROM texts WHERE texts MATCH ? AND rowid IN {within}", (word,)
            )
            for (place,) in holders:
                has[place] += worth
        # Sorting is stable: of equal strength, the first is the better by BM25.
        best = sorted(has, key=lambda place: -round(has[place], 6))
        return [
            (place, round(100 * has[place] / total))
            for place in best[:FOUND_PER_QUESTION]
            if has[place] >= needed
        ]

    def _bits(self, word: str) -> float:
        """The word's rarity; one that no text has is as rare as one that a single text has."""
        return math.log2((self._size + 1) / max(1, self._holding(word)))

    def _holding(self, word: str) -> int:
        """How many texts have the word, or words side by side such as the parts of an amount."""
        if word not in self._holders:
            (count,) = self._connection.execute(
                "SELECT count(*) FROM texts WHERE texts MATCH ?", (word,)
            ).fetchone()
            self._holders[word] = count
        return self._holders[word]


def _needed(bits: "dict[str, float]", needed: float) -> list[str]:
    """The words of which a text must have one to have `needed` bits; the commonest fall away.

    What is left matches few texts, so that the size of the index hardly matters.
    """
    words = sorted(bits, key=lambda word: (bits[word], word))
    without = 0.0
    while words and without + bits[words[0]] < needed:
        without += bits[words.pop(0)]
    return words


def _searchable(text: str) -> str:
    """What a person sees of the text, amounts without separators of thousands."""
    return _THOUSANDS.sub("", visible(text))


def _words(question: str) -> list[str]:
    """The words of two letters or digits and more, once each, as FTS5 strings."""
    words: dict[str, None] = {}
    for word in _searchable(question).lower().split():
        if sum(map(str.isalnum, word)) > 1 and len(word) <= WORD_CHARACTERS_MAX:
            words[f'"{word.replace(chr(34), chr(34) * 2)}"'] = None
        if len(words) == WORDS_MAX:
            break
    return list(words)
