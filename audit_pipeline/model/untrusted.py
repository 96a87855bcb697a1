"""Text from outside is data: shown as it looks, masked before it leaves, fenced off from orders.

Vendor names, emails and memos come from strangers. `visible` takes out what a person would not
see, `masked` what a model, a log or the trail must not, `fenced` tells a model which part of its
prompt is quoted.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise

SEPARATORS_MAX = 3
"""Signs between two digits of one card number, beside white space."""

WHITE_SPACE_MAX = 16
"""Between two digits of one card number: a line break and its indent."""

SECRET_CHARACTERS_MIN = 8
"""A shorter secret would also be found where it is an ordinary word."""

_ISSUERS: tuple[tuple[int, int, frozenset[int]], ...] = tuple(
    (low, high, frozenset(lengths))
    for low, high, lengths in (
        (4, 4, (13, 16, 19)),  # Visa
        (51, 55, (16,)),  # Mastercard
        (2221, 2720, (16,)),  # Mastercard
        (34, 34, (15,)),  # American Express
        (37, 37, (15,)),
        (300, 305, (14,)),  # Diners Club
        (3095, 3095, (14,)),
        (36, 36, (14,)),
        (38, 39, (14,)),
        (3528, 3589, (16, 17, 18, 19)),  # JCB
        (6011, 6011, (16, 17, 18, 19)),  # Discover
        (644, 649, (16, 17, 18, 19)),
        (65, 65, (16, 17, 18, 19)),
        (62, 62, (16, 17, 18, 19)),  # UnionPay
        (81, 81, (16, 17, 18, 19)),
        (5018, 5020, tuple(range(13, 20))),  # Maestro, Dankort
        (5038, 5038, tuple(range(13, 20))),
        (5893, 5893, tuple(range(13, 20))),
        (6304, 6304, tuple(range(13, 20))),
        (6759, 6763, tuple(range(13, 20))),
        (2200, 2204, (16, 17, 18, 19)),  # Mir
        (506099, 506198, (16, 18, 19)),  # Verve
        (508500, 508999, (16,)),  # RuPay
        (9792, 9792, (16,)),  # Troy
        (637, 639, (16,)),  # InstaPayment
    )
)
"""Ranges of leading digits, and how long the numbers are that they begin (ISO/IEC 7812)."""

_DIGITS_MIN, _DIGITS_MAX = 13, 19

# Glued to its digits, such a word makes them the number of a document.
_DOCUMENT = re.compile(r"(?:INV|INVOICE|PO|ORD|ORDER|REF|TXN|DOC|BILL)[-_#/:]?\Z", re.IGNORECASE)
_DOCUMENT_CHARACTERS_MAX = 8

_DAY = re.compile(r"(?:19|20)[0-9]{2}[-/.](?:0[1-9]|1[0-2])[-/.](?:0[1-9]|[12][0-9]|3[01])")

_SECRETS = (
    re.compile(
        r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY[A-Z ]{0,10}-----"
        r".*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY[A-Z ]{0,10}-----|\Z)",
        re.DOTALL,
    ),
    # bounded: of a run without a point, each eyJ would be read to its end
    re.compile(r"\beyJ[A-Za-z0-9_-]{8,2000}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"),
    re.compile(r"(?<![A-Za-z0-9])[sr]k[-_][A-Za-z0-9_-]{12,}"),
    re.compile(
        r"(?<![A-Za-z0-9])(?:gh[oprsu]|github_pat|glpat|xox[abeoprs])[-_][A-Za-z0-9_-]{12,}"
    ),
    re.compile(r"(?<![A-Za-z0-9])(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{16}(?![A-Za-z0-9])"),
    re.compile(r"(?<![A-Za-z0-9])AIza[A-Za-z0-9_-]{30,}"),
    re.compile(r"(?<=://)[^\s/:@]{0,100}:[^\s/@]{1,200}(?=@)"),
    re.compile(r"(?i)(?<=\bbearer)\s+[A-Za-z0-9._~+/-]{8,}=*"),
    re.compile(r"(?i)(?<=\bbasic)\s+[A-Za-z0-9+/]{16,}=*"),
)

# The name is kept and the value goes: quoted up to its quote, else up to white space.
_NAMED_SECRET = re.compile(
    r"(?i)(?P<name>(?:pass(?:word|wd|phrase)|pwd|secret(?:[_ -]?(?:access[_ -]?)?key)?"
    r"|(?:api|access|private)[_ -]?key|(?:access|auth|refresh|api)[_ -]?token"
    r"|client[_ -]?secret)[\"']?\s{0,3}(?::=|[:=])\s{0,3})"
    r"(?P<value>\"[^\"\n]{1,400}\"?|'[^'\n]{1,400}'?|[^\s\"',;}]{1,400})"
)
_MASK = "[secret]"


def masked(text: str, secrets: Sequence[str] = ()) -> str:
    """`text` without card numbers and secrets.

    A card number is 13 to 19 digits, of any script and however separated, that an issuer's
    range begins and Luhn's check digit ends; `****` and its last four digits stay. Of secrets,
    nothing stays. The two lines of a fence always stay.

    Args:
        secrets: the ones that are known, e.g. the configured key; of 8 characters or more, and
            found in any case.
    """
    known = [
        re.compile(re.escape(secret), re.IGNORECASE)
        for secret in sorted(secrets, key=len, reverse=True)
        if len(secret) >= SECRET_CHARACTERS_MIN
    ]
    pieces: list[str] = []
    done = 0
    for start, end in _fence_lines(text):
        pieces += [_masked(text[done:start], known), text[start:end]]
        done = end
    return "".join([*pieces, _masked(text[done:], known)])


def _masked(text: str, known: Sequence[re.Pattern[str]]) -> str:
    for pattern in known:
        text = pattern.sub(_MASK, text)
    for pattern in _SECRETS:
        text = pattern.sub(_kept_space, text)
    text = _NAMED_SECRET.sub(_named, text)
    return _without_cards(text)


def _kept_space(found: re.Match[str]) -> str:
    return f" {_MASK}" if found[0][0].isspace() else _MASK


def _named(found: re.Match[str]) -> str:
    value = found["value"]
    quote = value[0] if value[0] in "\"'" else ""
    end = quote if len(value) > 1 and value.endswith(quote) else ""
    return f"{found['name']}{quote}{_MASK}{end}"


# ---- card numbers


class _Group:
    """Digits without anything between them: where they stand, and what they are in ASCII."""

    __slots__ = ("digits", "end", "start")

    def __init__(self, start: int, end: int, digits: str) -> None:
        self.start = start
        self.end = end
        self.digits = digits


def _without_cards(text: str) -> str:
    pieces: list[str] = []
    done = 0
    for groups in _neighbours(text):
        days = _days(text, groups)
        first = 0
        while first < len(groups):
            last = _card_from(text, groups, first, days)
            if last is None:
                first += 1
                continue
            digits = "".join(group.digits for group in groups[first : last + 1])
            pieces += [text[done : groups[first].start], "****", digits[-4:]]
            done = groups[last].end
            first = last + 1
    return "".join(pieces) + text[done:] if pieces else text


def _neighbours(text: str) -> Iterator[list[_Group]]:
    """Groups of digits with nothing between them that could not stand in a card number."""
    run: list[_Group] = []
    for group in _groups(text):
        if run and not _separates(text[run[-1].end : group.start]):
            yield run
            run = []
        run.append(group)
    if run:
        yield run


def _groups(text: str) -> Iterator[_Group]:
    start = -1
    digits: list[str] = []
    for at, character in enumerate(text):
        if character.isdigit():  # full-width, Arabic, circled, superscript ones too
            if not digits:
                start = at
            digits.append(str(unicodedata.digit(character)))
        elif digits:
            yield _Group(start, at, "".join(digits))
            digits = []
    if digits:
        yield _Group(start, len(text), "".join(digits))


def _separates(between: str) -> bool:
    seen = [character for character in between if not _hidden(character)]
    signs = [character for character in seen if not character.isspace()]
    return (
        len(signs) <= SEPARATORS_MAX
        and len(seen) - len(signs) <= WHITE_SPACE_MAX
        and not any(character.isalnum() for character in signs)
    )


def _days(text: str, groups: Sequence[_Group]) -> set[int]:
    """Starts of the groups that begin a calendar day: 2025-01-31 is no part of a card number."""
    start, end = groups[0].start, groups[-1].end
    return {start + found.start() for found in _DAY.finditer(text[start:end])}


def _card_from(text: str, groups: Sequence[_Group], first: int, days: set[int]) -> int | None:
    """The last group of the longest card number that begins with group `first`."""
    start = groups[first].start
    if start in days:
        return None
    digits = ""
    found: int | None = None
    for last in range(first, len(groups)):
        if groups[last].start in days:
            break
        digits += groups[last].digits
        if len(digits) > _DIGITS_MAX:
            break
        if is_card_number(digits) and _one_number(text, groups[first : last + 1]):
            found = last
    if found == first and _DOCUMENT.search(text[max(0, start - _DOCUMENT_CHARACTERS_MAX) : start]):
        return None
    return found


def _one_number(text: str, groups: Sequence[_Group]) -> bool:
    """Written as one number: not the cells of a row, nor amounts with their cents."""
    sizes = [len(group.digits) for group in groups]
    if tuple(sizes) in _SIZES or (set(sizes[:-1]) <= {sizes[0]} and sizes[-1] <= sizes[0]):
        return True
    between = {text[a.end : b.start] for a, b in pairwise(groups)}
    listed = any(character in _LISTS for separator in between for character in separator)
    return not listed or (len(between) == 1 and between == {"."})


_LISTS = frozenset(".,;|\t\n\r\uff0c\uff0e\u060c")
"""What stands between numbers in a list or a table, and within amounts."""

_SIZES = {(4, 6, 5), (4, 6, 4), (6, 4, 5), (6, 13)}
"""How American Express, Diners Club and Maestro print their numbers."""


@lru_cache(maxsize=4096)
def _lengths(beginning: str) -> frozenset[int]:
    """How long card numbers are that begin with these digits, six or fewer."""
    return frozenset(
        length
        for low, high, lengths in _ISSUERS
        if low <= int(beginning[: len(str(low))]) <= high
        for length in lengths
    )


_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
"""A digit's double, its own digits added."""


def is_card_number(digits: str) -> bool:
    """13 to 19 ASCII digits that an issuer's range begins and Luhn's check digit ends."""
    if not _DIGITS_MIN <= len(digits) <= _DIGITS_MAX or len(digits) not in _lengths(digits[:6]):
        return False
    doubled = sum(_DOUBLED[int(digit)] for digit in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + doubled) % 10 == 0


# ---- what a person would not see

_INVISIBLE = frozenset(
    chr(code)
    for low, high in (
        (0x034F, 0x034F),  # combining grapheme joiner
        (0x115F, 0x1160),  # Hangul fillers
        (0x17B4, 0x17B5),  # Khmer inherent vowels
        (0x180B, 0x180F),  # Mongolian variation selectors
        (0x2800, 0x2800),  # Braille blank
        (0x3164, 0x3164),
        (0xFE00, 0xFE0F),  # variation selectors
        (0xFFA0, 0xFFA0),
        (0xE0000, 0xE0FFF),  # tags, and the other variation selectors
    )
    for code in range(low, high + 1)
)
_LINE_ENDS = {"\r\n": "\n", "\r": "\n", "\x85": "\n", "\u2028": "\n", "\u2029": "\n"}
_LINE_END = re.compile("|".join(_LINE_ENDS))
_PLAIN = re.compile(r"[\t\n\x20-\x7e]*")


def _hidden(character: str) -> bool:
    # control, format, surrogate, private use, unassigned
    return character in _INVISIBLE or (
        unicodedata.category(character).startswith("C") and character not in "\n\t\r\x85"
    )


def visible(text: str) -> str:
    r"""What a person sees of `text`, in NFKC: equal looks, equal letters.

    Control, format, bidirectional, zero-width and tag characters, variation selectors, fillers,
    surrogates and unassigned code points are gone; tabs stay, and every line end is `\n`.
    """
    if _PLAIN.fullmatch(text):  # nearly all text is, and to look at every character is slow
        return text
    text = _LINE_END.sub(lambda found: _LINE_ENDS[found[0]], text)
    while True:
        shown = unicodedata.normalize("NFKC", "".join(c for c in text if not _hidden(c)))
        if shown == text:
            return shown
        text = shown


def in_one_line(text: str, characters_max: int) -> str:
    """`text` for a sentence of ours: one line, nothing hidden, cut with an ellipsis.

    Unlike `visible` it leaves letters as they are, since a look-alike is told by them.
    """
    line = " ".join("".join(c for c in text if not _hidden(c)).split())
    return line if len(line) <= characters_max else f"{line[: characters_max - 1]}…"


# ---- quoted


def nonce_of(*texts: str) -> str:
    """32 letters that none of the texts can contain: their own digest.

    Unlike a random number it is the same for the same texts, so that an answer to them can be
    found again. Letters only, so that no part of it looks like a card number.
    """
    digest = hashlib.sha256()
    for text in texts:
        content = text.encode("utf-8", "surrogatepass")
        digest.update(len(content).to_bytes(8, "big") + content)
    return digest.hexdigest()[:32].translate(_LETTERS)


_LETTERS = str.maketrans("0123456789", "ghijklmnop")


_FENCE_LINE = re.compile(
    r"^<<<(?P<side>BEGIN|END) DATA (?P<nonce>[0-9A-Za-z]{16,100})>>>$", re.MULTILINE
)


def _fence_lines(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of the lines that begin and end a fence, with the line ends towards its text.

    What looks like one within a fence is text: it cannot name the nonce.
    """
    lines = list(_FENCE_LINE.finditer(text))
    last = {line["nonce"]: at for at, line in enumerate(lines) if line["side"] == "END"}
    nonce = ""
    done = 0
    for at, line in enumerate(lines):
        begins = not nonce and line["side"] == "BEGIN" and last.get(line["nonce"], -1) > at
        ends = line["side"] == "END" and line["nonce"] == nonce
        if begins:
            nonce, done = line["nonce"], line.end() + 1
            yield line.start(), done
        elif ends:
            nonce = ""
            yield max(done, line.start() - 1), line.end()


def fenced(text: str, nonce: str) -> str:
    """`visible(text)` between two lines that name the nonce, which the text cannot.

    Args:
        nonce: 16 to 100 letters or digits, best from `nonce_of`.

    Raises:
        ValueError: the nonce could be guessed or is not plain ASCII.
    """
    if not re.fullmatch("[0-9A-Za-z]{16,100}", nonce):
        raise ValueError("a nonce is 16 to 100 ASCII letters and digits")
    inside = visible(text)
    found = re.compile(re.escape(nonce), re.IGNORECASE)
    while found.search(inside):
        inside = found.sub("[delimiter]", inside)
    return f"<<<BEGIN DATA {nonce}>>>\n{inside}\n<<<END DATA {nonce}>>>"
