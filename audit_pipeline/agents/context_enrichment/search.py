"""Document search by meaning of words, for the few most suspicious charges of a day.

Source: the specification's semantic document search ("the top few only"). Documents and question
are compared as TF-IDF vectors; how rare a word is, is learned from the documents before the month,
so that a day audited alone and a year audited at once rank the same.
"""

import datetime as dt
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

SIMILARITY_MIN = 0.2
"""Of 1: below it two texts share common words only."""
FOUND_PER_QUESTION = 3


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
    """A document for a question; `strength` is the similarity, 0 to 100."""

    audit_on: dt.date
    transaction_id: str
    source: str
    row_id: str
    quote: str
    strength: int


def search_documents(
    questions: "Sequence[Question]", documents: "Sequence[Document]"
) -> list[Found]:
    """The documents most like each question, among those written by its audit date.

    Returns:
        Up to FOUND_PER_QUESTION per question, best first, in the order of the questions.
    """
    if not questions or not documents:
        return []
    from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer

    by_month: dict[dt.date, list[Question]] = defaultdict(list)
    for question in questions:
        by_month[question.audit_on.replace(day=1)].append(question)
    ordered = sorted(documents, key=lambda d: (d.written_on, d.source, d.row_id))
    written_on = np.array([document.written_on for document in ordered], "datetime64[D]")
    vectorizer: Any = CountVectorizer()
    try:
        counts = vectorizer.fit_transform([document.text for document in ordered])
    except ValueError:  # no document has a word of two letters
        return []
    found: list[Found] = []
    for month in sorted(by_month):
        asked = by_month[month]
        known = counts[: np.searchsorted(written_on, np.datetime64(month))]
        words = np.flatnonzero(known.getnnz(axis=0))
        if not len(words):
            continue
        weights: Any = TfidfTransformer(sublinear_tf=True).fit(known[:, words])
        until = max(question.audit_on for question in asked)
        there = counts[: np.searchsorted(written_on, np.datetime64(until), side="right")]
        vectors = weights.transform(there[:, words])
        texts = vectorizer.transform([question.text for question in asked])
        similar = (weights.transform(texts[:, words]) @ vectors.T).tocsr()
        for row, question in enumerate(asked):
            places = slice(similar.indptr[row], similar.indptr[row + 1])
            at, alike = similar.indices[places], np.round(similar.data[places], 4)
            there_by_then = written_on[at] <= np.datetime64(question.audit_on)
            good = (similar.data[places] >= SIMILARITY_MIN) & there_by_then
            at, alike = at[good], alike[good]
            best = np.lexsort((at, -alike))[:FOUND_PER_QUESTION]
            found += [
                Found(
                    question.audit_on,
                    question.transaction_id,
                    ordered[place].source,
                    ordered[place].row_id,
                    ordered[place].text,
                    round(100 * likeness),
                )
                for place, likeness in zip(at[best].tolist(), alike[best].tolist(), strict=True)
            ]
    return found
