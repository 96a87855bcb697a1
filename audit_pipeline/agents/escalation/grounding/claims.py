"""What a text claims: its numbers and dates in any form, and every other piece as it stands."""

import datetime as dt
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from audit_pipeline.agents.escalation.grounding.words import (
    CARDINALS,
    CURRENCIES,
    MONTHS,
    MULTIPLES,
    NUMBER_WORDS,
    ORDINALS,
    SCALES,
    VAGUE,
)

NUMBER_CHARACTERS_MAX = 24
"""What is longer is an id; and Decimal is exact to 28 digits."""

NUMBER_WORDS_MAX = 12

Day = tuple[int | None, int, int | None]
"""Year, month, day: without the year in `12 March`, without the day in `March 2025`."""

_LEFT = "(\"'“\u2018"
_RIGHT = ".,;:!?)\"'”’"
_DASHES = "-–—"
SPLITS = re.compile(r"[-–,;()\"“”]+")
_NUMBER = re.compile(
    r"(?P<sign>[-+]?)(?P<before>US\$|USD|[$€£¥])?"
    r"(?P<digits>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)"
    r"(?P<unit>%|[kKmMxX×]|bn|st|nd|rd|th)?(?P<after>USD|[$€£¥])?(?P<word>-[a-z]{2,})?",
    re.ASCII,
)
_UNITS = {
    "k": Decimal(1000),
    "m": Decimal(10**6),
    "bn": Decimal(10**9),
    "%": Decimal("0.01"),
}
_FOLLOWING = {
    **SCALES,
    **{word: Decimal(1000) for word in ("k", "grand")},
    **{word: Decimal(10**6) for word in ("m", "mn")},
    **{word: Decimal(10**9) for word in ("b", "bn")},
    **{word: Decimal("0.01") for word in ("%", "percent", "pct", "cent", "cents")},
    **{word: Decimal("0.0001") for word in ("basis", "bps")},
    "lakh": Decimal(10**5),
    "crore": Decimal(10**7),
    "trillion": Decimal(10**12),
}
"""What the word after a number makes of it."""

_NUMERIC_DATES = (
    (re.compile(r"(\d{4})([-/.])(\d{1,2})\2(\d{1,2})", re.ASCII), ((1, 3, 4),)),
    (re.compile(r"(\d{1,2})([-/.])(\d{1,2})\2(\d{4}|\d{2})", re.ASCII), ((4, 3, 1), (4, 1, 3))),
    (re.compile(r"(\d{4})([-/])(\d{2})", re.ASCII), ((1, 3, 0),)),
    (re.compile(r"(\d{1,2})(/)(\d{1,2})", re.ASCII), ((0, 3, 1), (0, 1, 3))),
)
"""Forms, and where year, month and day stand in their readings; 0 where there is none."""

_DAY_OF_MONTH = re.compile(r"(\d{1,2})(?:st|nd|rd|th)?", re.ASCII)
_YEAR = re.compile(r"(?:19|20|21)?\d{2}", re.ASCII)


@dataclass(frozen=True)
class Piece:
    """What stands between white space, without the punctuation around it."""

    text: str
    opens: bool
    ends: bool
    """Punctuation follows it."""
    stops: bool
    """A sentence ends with it."""


@dataclass(frozen=True)
class Claim:
    """What a run of pieces says: a number, a date in its readings, or neither."""

    said: str
    pieces: Sequence[Piece]
    value: Decimal | None = None
    ordinal: bool = False
    currency: str = ""
    readings: tuple[Day, ...] | None = None


def pieces_of(shown: str) -> Iterator[Piece]:
    """What stands between white space and dashes of `visible` text, without what surrounds it."""
    opens = True
    for chunk in shown.replace("’", "'").replace("−", "-").replace("—", " ").split():
        text = chunk.lstrip(_LEFT)
        bare = text.rstrip(_RIGHT)
        tail = text[len(bare) :]
        if not any(character.isdigit() for character in bare):
            bare = bare.strip(_DASHES + "." + _LEFT)
        elif bare.startswith("–"):
            bare = "-" + bare[1:]
        stops = any(sign in tail for sign in ".!?:")
        from_on, dash, to_on = bare.partition("–")
        if dash and readings_of(from_on) and readings_of(to_on):
            yield Piece(from_on, opens, ends=True, stops=False)
            bare = to_on
        if bare or chunk == "-":  # alone, it may be a minus
            yield Piece(bare or chunk, opens, bool(tail), stops)
        opens = stops or (opens and not bare)


# ---- what a text says


def claims_of(pieces: Sequence[Piece]) -> Iterator[Claim]:
    """Dates and numbers with all of their pieces, and each other piece by itself."""
    at = 0
    while at < len(pieces):
        claim = _date(pieces, at) or _amount(pieces, at) or _worded(pieces, at)
        if claim is None:
            claim = Claim(pieces[at].text, pieces[at : at + 1])
        yield claim
        at += len(claim.pieces)


def _claim(
    pieces: Sequence[Piece],
    start: int,
    end: int,
    *,
    value: Decimal | None = None,
    ordinal: bool = False,
    currency: str = "",
    readings: tuple[Day, ...] | None = None,
) -> Claim:
    own = pieces[start:end]
    said = " ".join(piece.text for piece in own)
    return Claim(said, own, value, ordinal, currency, readings)


def _date(pieces: Sequence[Piece], at: int) -> Claim | None:
    readings = readings_of(pieces[at].text)
    if readings is not None:
        return _claim(pieces, at, at + 1, readings=readings)
    return _written_date(pieces, at)


def readings_of(text: str) -> tuple[Day, ...] | None:
    """The days that digits and separators may mean; none for those that are no calendar day."""
    for form, orders in _NUMERIC_DATES:
        if len(text) <= NUMBER_CHARACTERS_MAX and (match := form.fullmatch(text)):
            parts = [("" if not at else match[at] for at in order) for order in orders]
            days = [_day(*part) for part in parts]
            return tuple(day for day in days if day is not None)
    return None


def _day(year: str, month: str, day: str) -> Day | None:
    """Empty for what is not told; None for what is no calendar day."""
    told = f"20{year}" if len(year) == 2 else year  # noqa: PLR2004 - digits
    try:
        dt.date(int(told or 2000), int(month), int(day or 1))  # 2000 had a 29 February
    except ValueError:
        return None
    return (int(told) if told else None, int(month), int(day) if day else None)


def _written_date(pieces: Sequence[Piece], at: int) -> Claim | None:
    """`12 March 2025`, `12th of March`, `March 12, 2025`, `March 2025`."""
    texts = [piece.text.lower() for piece in pieces[at : at + 4]]
    texts += [""] * (4 - len(texts))
    day = year = ""
    month = used = 0
    if (found := _DAY_OF_MONTH.fullmatch(texts[0])) and not pieces[at].stops:
        skipped = 1 + (texts[1] == "of")
        if month := MONTHS.get(texts[skipped], 0):
            day, used = found[1], skipped + 1
    elif month := MONTHS.get(texts[0], 0):
        if found := _DAY_OF_MONTH.fullmatch(texts[1]):
            day, used = found[1], 2
        elif len(texts[1]) == 4 and _YEAR.fullmatch(texts[1]):  # noqa: PLR2004 - digits
            year, used = texts[1], 2
    if not used:
        return None
    if not year and used < len(texts) and _YEAR.fullmatch(texts[used]):
        before = pieces[at + used - 1]
        whole = len(texts[used]) == 4  # noqa: PLR2004 - digits
        if not before.ends or before.text.lower() in MONTHS or (whole and not before.stops):
            year, used = texts[used], used + 1
    known = _day(year, str(month), day)
    return _claim(pieces, at, at + used, readings=() if known is None else (known,))


def _amount(pieces: Sequence[Piece], at: int) -> Claim | None:
    """`-1,240.00`, `$1.2k`, `12 %`, `3rd`, `4x`, `30-day`, `1.2 million`."""
    text = pieces[at].text
    match = _NUMBER.fullmatch(text) if len(text) <= NUMBER_CHARACTERS_MAX else None
    if match is None or re.match(r"0\d", match["digits"]):
        return None
    value = Decimal(match["digits"].replace(",", ""))
    unit = (match["unit"] or "").lower()
    value *= _UNITS.get(unit, Decimal(1))
    negative = match["sign"] == "-" or _says_minus(pieces, at)
    end = at + 1
    factor, end = _factor(pieces, end)
    value *= factor
    return _claim(
        pieces,
        at,
        end,
        value=-value if negative else value,
        ordinal=unit in ("st", "nd", "rd", "th"),
        currency=currency_of(match["before"] or match["after"] or ""),
    )


def _factor(pieces: Sequence[Piece], end: int) -> tuple[Decimal, int]:
    """What follows a number that ends before piece `end`, and where that ends."""
    texts = [piece.text.lower() for piece in pieces[end : end + 2]]
    if not texts or pieces[end - 1].ends:
        return Decimal(1), end
    if texts in (["per", "cent"], ["per", "mille"]):
        return Decimal("0.01" if texts[1] == "cent" else "0.001"), end + 2
    factor = _FOLLOWING.get(texts[0])
    return (Decimal(1), end) if factor is None else (factor, end + 1)


def currency_of(text: str) -> str:
    """The code of a sign, of a code and of a word in small letters: Sterling is a name."""
    return CURRENCIES.get(text.lower(), "") if text in (text.lower(), text.upper()) else ""


def _says_minus(pieces: Sequence[Piece], at: int) -> bool:
    return at > 0 and pieces[at - 1].text.lower() in ("-", "minus", "negative")


def _worded(pieces: Sequence[Piece], at: int) -> Claim | None:
    """`twelve`, `twenty-five`, `one thousand two hundred and forty`, `third`, `twice`, `dozens`."""
    words: list[str] = []
    beside: list[str] = []
    end = at
    while end < len(pieces) and len(words) < NUMBER_WORDS_MAX:
        own = pieces[end].text.split("-")
        joins = bool(words) and own == ["and"] and end + 1 < len(pieces)
        if joins:
            own = pieces[end + 1].text.split("-")
        numeric = [word.lower() for word in own if _is_number_word(word.lower())]
        if not numeric or (joins and words[-1] not in SCALES):
            break
        words += numeric
        beside = [word for word in own if not _is_number_word(word.lower())]
        end += 1 + joins
        if beside or pieces[end - 1].ends:
            break
    if not words or (words == ["one"] and at and pieces[at - 1].text.lower() in ("this", "that")):
        return None
    value = _value(words)
    if value is None or any(not (word.isascii() and word.islower()) for word in beside):
        return _claim(pieces, at, end, readings=())
    factor, end = _factor(pieces, end)
    value *= -factor if _says_minus(pieces, at) else factor
    return _claim(pieces, at, end, value=value, ordinal=words[-1] in ORDINALS)


def _is_number_word(word: str) -> bool:
    return any(word in table for table in (CARDINALS, SCALES, MULTIPLES, ORDINALS, VAGUE))


def _value(words: Sequence[str]) -> Decimal | None:
    """Of `two hundred forty thousand`; None of `dozens` and `two forty`, which are no numbers."""
    total = group = Decimal(0)
    below, scale_below = Decimal(100), Decimal(10**12)
    for word in words:
        if word in ("hundred", "dozen"):
            value = (group or 1) * SCALES[word]
            if below == 0 and group == 0:
                return None
            group, below = value, Decimal(100 if word == "hundred" else 0)
        elif word in SCALES:
            if SCALES[word] >= scale_below:
                return None
            total, group = total + (group or 1) * SCALES[word], Decimal(0)
            below, scale_below = Decimal(100), SCALES[word]
        else:
            value = NUMBER_WORDS.get(word)
            if value is None or value >= below:
                return None
            group += value
            below = Decimal(10 if value >= 20 and value % 10 == 0 else 0)  # noqa: PLR2004 - tens
    return total + group
