r"""Java's regular expressions for RE2's, which DuckDB matches with.

Both are written alike and mean other things: `\s` knows a vertical tab in Java, `\b` knows the
letters of all alphabets, `.` stops at five kinds of line end, `$` stands before a last one too,
and `\p{C}` holds the code points that are not assigned yet.
"""

import re

WORD = "0-9A-Za-z_"
SPACE = r"\t\n\f\r "
BOUNDARY = f"(?:(?<=[{WORD}])(?![{WORD}])|(?<![{WORD}])(?=[{WORD}]))"
OUTSIDE = {
    r"\s": f"[{SPACE}]",
    r"\S": f"[^{SPACE}]",
    r"\d": "[0-9]",
    r"\D": "[^0-9]",
    r"\w": f"[{WORD}]",
    r"\W": f"[^{WORD}]",
    r"\b": BOUNDARY,
    ".": r"[^\n]",
    "$": r"\z",
}
INSIDE = {r"\s": SPACE, r"\d": "0-9", r"\w": WORD}
OTHER = r"\p{Cc}\p{Cf}\p{Cs}\p{Co}"
PART = re.compile(r"\\p\{\^?\w+\}|\\p\w|\\x\{[0-9A-Fa-f]+\}|\\.|\(\?|&&|.", re.DOTALL)
# What both read alike: punctuation that is escaped, and these.
LETTERS = {r"\t", r"\n", r"\f", r"\r", r"\z"}


def java_regex(pattern: str) -> str:
    """The pattern that matches in Java what this one matches in RE2.

    Raises:
        ValueError: a part of it is not known to be read alike.
    """
    said: list[str] = []
    parts = PART.findall(pattern)
    is_inside = False
    for place, part in enumerate(parts):
        before = parts[place - 1] if place else ""
        if part == "(?" and parts[place + 1 : place + 2] != [":"]:
            raise ValueError(f"a group of another kind than (?:…) in {pattern}")
        if is_inside and part in ("[", "&&"):
            raise ValueError(f"{part} within a class, which Java reads as its own, in {pattern}")
        said.append(_said(part, pattern, is_inside=is_inside))
        if part == "[" and not is_inside:
            is_inside = True
        elif part == "]" and is_inside and before not in ("[", "^"):
            is_inside = False
    return "".join(said)


def java_replacement(replacement: str) -> str:
    r"""The replacement text: `\1` is `$1` in Java, where a `$` of its own is escaped."""
    return re.sub(r"\\(\d)", r"$\1", replacement.replace("$", r"\$"))


def _said(part: str, pattern: str, *, is_inside: bool) -> str:
    known = INSIDE if is_inside else OUTSIDE
    if part in known:
        return known[part]
    if part == r"\p{C}":
        return OTHER if is_inside else f"[{OTHER}]"
    is_known = (
        not part.startswith("\\")
        or part.startswith((r"\p", r"\x{"))
        or part in LETTERS
        or not part[1].isalnum()
    )
    if not is_known:
        raise ValueError(f"{part} in {pattern}")
    return part
