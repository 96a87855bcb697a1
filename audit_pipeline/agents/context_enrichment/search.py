"""Document search by meaning of words, for the few most suspicious charges of a day.

Source: the specification's semantic document search ("the top few only"). Documents and question
are compared as TF-IDF vectors; how rare a word is, is learned from the documents before the month,
so that a day audited alone and a year audited at once rank the same.
"""

import datetime as dt
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

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
    from sklearn.feature_extraction.text import TfidfVectorizer

    by_month: dict[dt.date, list[Question]] = defaultdict(list)
    for question in questions:
        by_month[question.audit_on.replace(day=1)].append(question)
    ordered = sorted(documents, key=lambda d: (d.written_on, d.source, d.row_id))
    found: list[Found] = []
    for month in sorted(by_month):
        known = [document.text for document in ordered if document.written_on < month]
        if not any(text.strip() for text in known):
            continue
        try:
            vectorizer = TfidfVectorizer(sublinear_tf=True, min_df=1).fit(known)
        except ValueError:  # no document has a word of two letters
            continue
        vectors = vectorizer.transform([document.text for document in ordered])
        for question in by_month[month]:
            similar = (vectors @ vectorizer.transform([question.text]).T).toarray().ravel()
            ranked = sorted(
                (
                    (-round(float(similar[at]), 4), at)
                    for at, document in enumerate(ordered)
                    if document.written_on <= question.audit_on and similar[at] >= SIMILARITY_MIN
                )
            )
            found += [
                Found(
                    question.audit_on,
                    question.transaction_id,
                    ordered[at].source,
                    ordered[at].row_id,
                    ordered[at].text,
                    round(-100 * negative),
                )
                for negative, at in ranked[:FOUND_PER_QUESTION]
            ]
    return found
