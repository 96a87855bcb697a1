"""The document search: a full-text index that knows nothing later than the question."""

import datetime as dt
import math
import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_pipeline.agents.context_enrichment import search
from audit_pipeline.agents.context_enrichment.search import (
    FOUND_PER_QUESTION,
    STRENGTH_MIN,
    Document,
    Question,
    search_documents,
)
from audit_pipeline_tests.books_of import day

LIBRARY = [
    Document("gold.emails.body", "boat", day(3), "the harbour invoice for the sailing boat"),
    Document("gold.emails.body", "lunch", day(4), "lunch menu of the canteen"),
    Document("gold.receipts.vendor", "fuel", day(5), "fuel for the sailing boat"),
    Document("gold.emails.body", "late", day(45), "sailing boat again"),
]


def mails(*texts: str, on: dt.date | None = None) -> list[Document]:
    """Mails of one day, called d0, d1 and so on."""
    return [Document("s", f"d{n}", on or day(1), text) for n, text in enumerate(texts)]


def asked(text: str, library: Sequence[Document] = LIBRARY, on: int = 40) -> list[str]:
    return [one.row_id for one in search_documents([Question(day(on), "t", text)], library)]


def strengths(text: str, library: Sequence[Document], on: int = 40) -> dict[str, int]:
    found = search_documents([Question(day(on), "t", text)], library)
    return {one.row_id: one.strength for one in found}


# ── what is found ─────────────────────────────────────────────────────────────────────────────────


def test_search_ranks_documents_by_what_they_have_of_the_question() -> None:
    found = search_documents([Question(day(40), "t", "sailing boat fuel")], LIBRARY)
    assert [one.row_id for one in found] == ["fuel", "boat"]
    assert (found[0].audit_on, found[0].transaction_id, found[0].source, found[0].quote) == (
        day(40),
        "t",
        "gold.receipts.vendor",
        "fuel for the sailing boat",
    )


def test_strength_is_the_share_of_the_question_by_rarity() -> None:
    """Of three texts two have `sailing` and `boat`, one has `fuel`: log2(4/2) twice, log2(4/1)."""
    assert strengths("sailing boat fuel", LIBRARY) == {"fuel": 100, "boat": 50}


def test_a_word_that_no_text_has_counts_as_the_rarest() -> None:
    """Else a question whose vendor nobody mentions would be answered by its person alone."""
    library = mails("ann lee", "ann lee", "bob", "bob", "zoe", "zoe", "eve")
    assert strengths("ann lee", library) == {"d0": 100, "d1": 100}
    assert strengths("ann lee zyzzyva", library) == {"d0": 57, "d1": 57}
    assert strengths("ann lee zyzzyva quixote", library) == {"d0": 40, "d1": 40}
    assert strengths("ann lee zyzzyva quixote xylem", library) == {}


@pytest.mark.parametrize("words", [3, 4])
def test_two_words_of_five_are_enough_and_two_of_six_are_not(words: int) -> None:
    question = " ".join(["ann", "lee", *("zyx", "wvu", "tsr", "qpo")[:words]])
    assert asked(question, mails("ann lee")) == (["d0"] if words == 3 else [])


def test_of_equals_the_shorter_is_first_and_then_the_earlier() -> None:
    """BM25, then the order of the days."""
    long = "boat " + " ".join(f"word{n}" for n in range(40))
    library = [*mails(long), *mails("boat", on=day(3)), Document("s", "e", day(2), "boat")]
    assert [one.quote for one in search_documents([Question(day(40), "t", "boat")], library)] == [
        "boat",
        "boat",
        long,
    ]
    assert asked("boat", library)[:2] == ["e", "d0"]


def test_an_amount_is_its_digits_side_by_side() -> None:
    library = mails("paid 512.30 today", "30 times 512", "paid 1,512.30", "paid 512.31", "nothing")
    assert asked("512.30", library) == ["d0"]
    assert asked("1512.30", library) == ["d2"]
    assert asked("1,512.30", library) == ["d2"]


def test_accents_and_case_and_hidden_characters_do_not_matter() -> None:
    library = mails("Zoë's CAFÉ", "nothing", "ＳＡＩＬ ing", "zo\u200be\u202e cafe")
    assert set(asked("zoe cafe", library)) == {"d0", "d3"}
    assert set(asked("Zo\u200bE CAFÉ", library)) == {"d0", "d3"}
    assert asked("sail", library) == ["d2"]


def test_search_finds_a_few_at_most() -> None:
    many = mails(*["sailing boat"] * 9)
    assert asked("sailing boat", many) == [f"d{n}" for n in range(FOUND_PER_QUESTION)]


@pytest.mark.parametrize(
    ("text", "library"),
    [
        ("sailing", []),
        ("", LIBRARY),
        ("zebra", LIBRARY),
        ("a b c", mails("a b c")),
        ("sailing", mails("")),
        ("sailing", mails("sailing", on=day(41))),
    ],
)
def test_search_finds_nothing_where_nothing_is(text: str, library: list[Document]) -> None:
    """No words, unknown words, single letters, or no document yet."""
    assert asked(text, library) == []
    assert search_documents([], library) == []


# ── what was there ────────────────────────────────────────────────────────────────────────────────


def test_search_sees_nothing_later_than_the_question() -> None:
    assert "late" not in asked("sailing boat", on=44)
    assert "late" in asked("sailing boat", on=45)


def test_later_documents_change_neither_an_answer_nor_its_strength() -> None:
    question = [Question(day(40), "t", "sailing boat fuel")]
    later = [*LIBRARY, *mails(*["sailing boat fuel"] * 5, on=day(41))]
    asked_later = [*question, Question(day(60), "u", "sailing boat")]
    alone = search_documents(question, LIBRARY[:3])
    assert alone
    assert search_documents(question, later) == alone
    assert search_documents(asked_later, later)[: len(alone)] == alone


def test_a_question_does_not_depend_on_the_others_nor_on_any_order() -> None:
    questions = [Question(day(n), f"t{n}", "sailing boat") for n in range(2, 60)]
    all_found = search_documents(questions, LIBRARY)
    alone = [one for question in questions for one in search_documents([question], LIBRARY)]
    assert all_found == alone
    assert {one.row_id for one in all_found} == {"boat", "fuel", "late"}
    assert search_documents(questions[::-1], LIBRARY[::-1]) == all_found


# ── the oracle ────────────────────────────────────────────────────────────────────────────────────

WORDS = st.sampled_from(["boat", "fuel", "rope", "sail", "mast", "keel", "Anna", "of"])
TEXTS = st.lists(WORDS, max_size=6).map(" ".join)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(TEXTS, st.integers(0, 5)), max_size=search.CANDIDATES),
    TEXTS,
    st.integers(0, 5),
)
def test_the_search_is_that_of_plain_python(
    texts: list[tuple[str, int]], question: str, on: int
) -> None:
    library = [Document("s", f"d{n}", day(at), text) for n, (text, at) in enumerate(texts)]
    there = {d.row_id: set(d.text.lower().split()) for d in library if d.written_on <= day(on)}
    bits = {
        word: math.log2((len(there) + 1) / max(1, sum(word in held for held in there.values())))
        for word in question.lower().split()
    }
    expected = {
        row_id: 100 * sum(bits[word] for word in held & bits.keys()) / sum(bits.values())
        for row_id, held in there.items()
        if held & bits.keys()
    }
    enough = sorted((x for x in expected.values() if x > STRENGTH_MIN - 1e-6), reverse=True)
    found = strengths(question, library, on)
    assert all(abs(found[row_id] - expected[row_id]) < 0.51 for row_id in found)
    assert len(found) == min(FOUND_PER_QUESTION, len(enough))
    for strength, share in zip(found.values(), enough, strict=False):
        assert abs(strength - share) < 0.51


def test_the_words_that_are_left_out_lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Common words are not looked up, since a text that has only those could not be strong."""
    chance = random.Random(5)
    words = [f"word{n}" for n in range(60)]
    weights = [1 / (n + 1) for n in range(60)]
    library = mails(*(" ".join(chance.choices(words, weights, k=12)) for _ in range(300)))
    questions = [" ".join(chance.sample(words, 6)) for _ in range(40)]
    left_out: list[int] = []
    needed_words = search._needed

    def counted(bits: dict[str, float], needed: float) -> list[str]:
        kept = needed_words(bits, needed)
        left_out.append(len(bits) - len(kept))
        return kept

    monkeypatch.setattr(search, "CANDIDATES", len(library))
    monkeypatch.setattr(search, "_needed", counted)
    found = [list(strengths(text, library).values()) for text in questions]
    assert sum(map(bool, left_out)) > 20
    assert sum(map(bool, found)) > 20
    monkeypatch.setattr(search, "_needed", lambda bits, _: list(bits))
    assert [list(strengths(text, library).values()) for text in questions] == found


# ── hostile text ──────────────────────────────────────────────────────────────────────────────────

HOSTILE = [
    '" OR *',
    '"" OR "boat"*',
    "NEAR(boat fuel, 10)",
    "words:boat",
    "words : boat",
    "{words}: boat",
    "boat AND NOT fuel",
    "^boat",
    "boat*",
    "boat + fuel",
    "'; DROP TABLE texts; --",
    "boat\x00fuel",
    "\x00",
    "\ud800 boat",
    "((((((((((boat",
    '"' * 999,
    "rank MATCH 'x'",
    "😀 \u202eboat\u202c \u200b",
    "boat " * 10_000,
    " ".join(f"word{n}" for n in range(10_000)),
    "x" * 1_000_000,
    "a.b" * 300_000,
    "-boat",
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_questions_are_words(text: str) -> None:
    """None fails, none finds a text that has only the beginning of its word."""
    library = [*LIBRARY, *mails("boathouse", "prefix", "fuelled")]
    assert set(asked(text, library)) <= {"boat", "fuel"}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("boat*", ["boat"]),
        ("NEAR(boat", ["near boat"]),
        ("boat NOT fuel", ["boat not fuel"]),
        ("words:boat", ["words boat"]),
        ('boat"', ["boat"]),
        ("fuel OR boat", ["fuel or boat"]),
    ],
)
def test_an_operator_is_a_word_like_others(text: str, found: list[str]) -> None:
    library = mails("boat", "boathouse", "near boat", "boat not fuel", "words boat", "fuel or boat")
    quotes = [one.quote for one in search_documents([Question(day(40), "t", text)], library)]
    assert quotes[:1] == found


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_documents_are_text(text: str) -> None:
    """They neither fail nor keep others from being found."""
    library = [*mails(text), *LIBRARY]
    assert "lunch" in asked("canteen lunch", library)
    assert strengths("zebra", library) == {}


@pytest.mark.parametrize(
    "text", ['zz"OR"boat', 'zz"OR"boat"*', '"boat"NOT"fuel', 'zz"OR"words":"boat']
)
def test_a_quote_does_not_end_its_word(text: str) -> None:
    """Else what stands after it would be read as FTS5's language."""
    assert asked(text, mails("boat", "boathouse", "nothing")) == []
