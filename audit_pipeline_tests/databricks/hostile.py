"""Gold rows that two engines could read in two ways, made by Hypothesis."""

import datetime as dt
from collections.abc import Callable
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

Row = dict[str, Any]
T = TypeVar("T")

# What lower case, spaces, word boundaries, classes of characters and escapes disagree on.
PIECES = (
    *"ß ẞ İ ı Σ ς ΟΔΟΣ Σ. ŉ ǰ ǅ ﬁ ﬃ և Ⅷ ① ² ٣ ൫ 𝟙 漢字 é e\u0301 ñ Å ﷺ ª".split(" "),
    *"👩‍👩‍👧 🇩🇪 ☕ \u202e \u200b \u2060 \ufeff \u00ad \u0378 \ue000 \U000e0041 \U0001f9ff".split(
        " "
    ),
    *("\u00a0", "\u3000", "\u2003", "\u1680", "\u0085", "\t", "\x0b", "\x0c", "\x1c", "\n", "\r"),
    *("\u2028", " ", "  ", "_", "-", ".", ",", "'", '"', "\\", "$1", "\\1", "%", "{}", "[", "&&"),
    *("SQ *", "TST*", "*ADS123", "AMZN MKTP*1A2B3", "GmbH", " inc", "LLC.", "№ 12", "123", "00"),
    *("approved", "éapproved", "approved_", "not approved", "go ahead", "Re: ", "fw:", "AW: re:"),
    *("2,500.00", "2500.00", "1,234", "99.9", "x" * 30, "rn", "vv", "0l1", "@small.example", "a+b"),
)
# What Java 17 knows: characters that were assigned later are letters to DuckDB only.
others = st.text(st.characters(exclude_categories=["Cs", "Cn"]), max_size=3)
texts = st.lists(st.sampled_from(PIECES) | others, max_size=5).map("".join)
# A JSON file holds no half of a surrogate pair, and no text the code point 0.
plain_texts = texts.map(lambda text: text.replace("\x00", "").encode("utf-8", "ignore").decode())

amounts = st.one_of(
    st.sampled_from(
        [
            "0.01",
            "-0.01",
            "9.99",
            "10.00",
            "100.00",
            "512.00",
            "1000.00",
            "2499.99",
            "2500.00",
            "4096.00",
            "8192.00",
            "1234567.89",
            "99999999.99",
            "9999999999999.99",
        ]
    ),
    st.integers(-500_000, 2_000_000).map(lambda cents: f"{cents / 100:.2f}"),
)
# Midnight, the last second, a leap day, and both days on which summer time turns.
instants = st.one_of(
    st.sampled_from(
        [
            "2025-03-09T02:30:00Z",
            "2025-03-09T01:59:59-05:00",
            "2025-03-30T01:00:00+00:00",
            "2025-03-30T02:30:00+01:00",
            "2025-03-31T23:59:59Z",
            "2025-04-01T00:00:00Z",
            "2025-04-01",
            "2025-03-31T24:00:00Z",
            "2025-03-15T12:00:00.123456Z",
        ]
    ),
    st.integers(0, 30 * 24 * 60).map(
        lambda minutes: (
            (dt.datetime(2025, 3, 12) + dt.timedelta(minutes=minutes)).isoformat() + "Z"  # noqa: DTZ001
        )
    ),
)


def drawn(strategy: st.SearchStrategy[T], number: int, of_seed: int = 0) -> list[T]:
    """So many examples of a strategy, the same ones for the same seed."""
    examples: list[T] = []

    def keep(example: T) -> None:
        examples.append(example)

    quick = settings(
        max_examples=number,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    test: Callable[[], None] = seed(of_seed)(quick(given(strategy)(keep)))
    test()
    return examples


people = (
    st.sampled_from(["ada BIRCH", "Ada Birch", "ΑΔΑ ΣΙΓΜΑΣ", "İpek ß", "", "dora east"])
    | plain_texts
)
senders = st.sampled_from(
    [
        "Dora East <dora.east@small.example>",
        "ada.birch@SMALL.example",
        "x@smaII.example",
        "nobody",
        "cfo@sma11.example",
        "İ@ß.example",
        "a b@c\x0bd",
    ]
)
lists = st.lists(plain_texts, max_size=3)
CELLS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "recent_transactions": {
        "vendor": plain_texts,
        "amount": amounts,
        "date": instants,
        "source": st.sampled_from(["credit_card", "bank", "cash", "CREDIT_CARD"]),
        "domain": plain_texts,
        "currency": st.sampled_from(["USD", "EUR", "usd"]),
        "vendor_id": plain_texts,
    },
    "credit_cards": {
        "vendor": plain_texts,
        "amount": amounts,
        "date": instants,
        "card_number": st.sampled_from(["****1111", "**** 2222\n", "12", "٣٣٣٣", "4444 "]),
        "cardholder": people,
        "category": plain_texts,
    },
    "bank_accounts": {
        "payee": plain_texts,
        "amount": amounts,
        "date": instants,
        "transaction_type": st.sampled_from(["debit", "CREDIT", "card_payment", "Refund", "ß"]),
        "running_balance": amounts,
    },
    "receipts": {"vendor": plain_texts, "amount": amounts, "date": instants, "cardholder": people},
    "emails": {
        "subject": plain_texts,
        "sender": senders,
        "date": instants,
        "body": plain_texts,
        "thread_id": plain_texts,
        "related_transactions": lists,
    },
    "calendar_events": {"title": plain_texts, "date": instants, "attendees": lists},
    "vendors": {"vendor_name": plain_texts, "aliases": lists},
}
KEYS = {"receipts": "receipt_id", "emails": "email_id", "calendar_events": "event_id"}


@st.composite
def edits(draw: st.DrawFn) -> tuple[str, float, str, Any, str]:
    """A cell of a table: which row (a share of them), its new value, what becomes of the row."""
    table = draw(st.sampled_from(sorted(CELLS)))
    column = draw(st.sampled_from(sorted(CELLS[table])))
    value = draw(st.one_of(st.none(), *[CELLS[table][column]] * 6))
    return (
        table,
        draw(st.floats(0, 1)),
        column,
        value,
        draw(st.sampled_from(["put", "add", "copy"])),
    )


def disturbed(tables: dict[str, list[Row]], number: int, of_seed: int = 0) -> dict[str, list[Row]]:
    """The rows with so many cells changed, half of them in rows that are added to their like.

    A row that is added has the same instant as its like, under another id or under the same one.
    """
    found = {name: [dict(row) for row in rows] for name, rows in tables.items()}
    for place, (table, share, column, value, how) in enumerate(drawn(edits(), number, of_seed)):
        rows = found[table]
        at = round(share * (len(rows) - 1))
        row = rows[at] if how == "put" else dict(rows[at])
        if how != "put":
            rows.append(row)
        if how == "add" and table != "vendors":
            key = KEYS.get(table, "txn_id")
            row[key] = f"{row.get(key)}+{place}"
        row[column] = value
    return found
