"""Rewrites of what is made of one row: numbers, texts, days and the places of a list."""

from collections.abc import Callable
from typing import TypeAlias

from sqlglot import exp

from audit_pipeline.adapters.databricks.regex import java_regex, java_replacement

Rewrite: TypeAlias = Callable[[exp.Expr], exp.Expr]

# Unicode's category Zs, all of which DuckDB's trim() takes off; Spark's takes off U+0020 only.
SPACES = " \u00a0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u202f\u205f\u3000"
# The two letters whose lower case depends on their neighbours or is two letters in Java.
LOWERED = {"İ": "i", "Σ": "σ"}
_DOUBLES = (exp.Ln, exp.Exp, exp.Sqrt, exp.Log, exp.Pow, exp.Div)


class NoTranslation(ValueError):
    """A construct of DuckDB's SQL that has no known equal in Databricks SQL."""


def cast(value: exp.Expr, to: str) -> exp.Expr:
    """CAST(value AS to)."""
    return exp.Cast(this=value, to=exp.DataType.build(to, dialect="databricks"))


def call(name: str, *arguments: exp.Expr) -> exp.Expr:
    """name(arguments)."""
    return exp.Anonymous(this=name, expressions=list(arguments))


def _text(node: exp.Expr, what: str) -> str:
    if not isinstance(node, exp.Literal) or not node.is_string:
        raise NoTranslation(f"{what} must be a literal: {node.sql('duckdb')}")
    return node.name


def division(node: exp.Expr) -> exp.Expr:
    """DuckDB divides doubles, whatever the two are; Spark would divide decimals as such."""
    left = node.this.unnest()
    is_double = isinstance(left, _DOUBLES) or (
        isinstance(left, exp.Cast) and left.is_type(exp.DType.DOUBLE)
    )
    if is_double:
        return node
    return exp.Div(this=cast(node.this, "double"), expression=node.expression)


def rounded(node: exp.Expr) -> exp.Expr:
    """DuckDB rounds 1.005 × 100, Spark the decimal 1.005: 1.00 and 1.01."""
    decimals = node.args.get("decimals")
    if decimals is None:
        return node
    if not isinstance(decimals, exp.Literal) or decimals.is_string:
        raise NoTranslation(f"round() to a computed place: {node.sql('duckdb')}")
    scale = exp.Literal.number("1" + "0" * int(decimals.name))
    whole = exp.Round(this=exp.Mul(this=exp.paren(node.this, copy=False), expression=scale))
    return exp.paren(exp.Div(this=whole, expression=scale.copy()))


def logarithm(node: exp.Expr) -> exp.Expr:
    """log2() is the only one with a base."""
    if node.expression is None or node.this.name != "2":
        raise NoTranslation(f"only log2 and ln: {node.sql('duckdb')}")
    return call("LOG2", node.expression)


def lower(node: exp.Expr) -> exp.Expr:
    """Letter by letter in DuckDB; Java's final Σ is ς, and its İ an i with a dot above."""
    plain = exp.Translate(
        this=node.this,
        from_=exp.Literal.string("".join(LOWERED)),
        to=exp.Literal.string("".join(LOWERED.values())),
    )
    return exp.Lower(this=plain)


def upper(node: exp.Expr) -> exp.Expr:
    """Refused: DuckDB's ß is one letter ẞ, Java's is SS, and a hundred more are like it."""
    raise NoTranslation(f"upper() writes one ß or two letters S; use lower(): {node.sql()}")


def trim(node: exp.Expr) -> exp.Expr:
    """DuckDB takes off the spaces of all alphabets."""
    if node.args.get("expression") is not None:
        return node
    spaces = "".join(f"\\u{ord(space):04x}" for space in SPACES)
    return exp.Trim(this=node.this, expression=exp.var(f"'{spaces}'"), position="BOTH")


def levenshtein(node: exp.Expr) -> exp.Expr:
    """DuckDB counts bytes of UTF-8, Spark letters: as Latin-1 every byte is a letter."""

    def as_bytes(text: exp.Expr) -> exp.Expr:
        utf8 = call("ENCODE", text, exp.Literal.string("UTF-8"))
        return call("DECODE", utf8, exp.Literal.string("ISO-8859-1"))

    return call("LEVENSHTEIN", as_bytes(node.this), as_bytes(node.expression))


def split(node: exp.Expr) -> exp.Expr:
    """The separator is a regular expression in Spark."""
    separator = _text(node.expression, "the separator of string_split()")
    if not separator:
        raise NoTranslation(f"string_split() into letters: {node.sql('duckdb')}")
    escaped = "".join(c if c.isalnum() or c in " ,;:/" else f"[{c}]" for c in separator)
    if "[^]" in escaped or "[\\]" in escaped:
        raise NoTranslation(f"a separator that no class can hold: {separator}")
    return call("SPLIT", node.this, exp.Literal.string(escaped))


def _pattern(node: exp.Expr) -> exp.Expr:
    try:
        return exp.Literal.string(java_regex(_text(node, "a regular expression")))
    except ValueError as error:
        raise NoTranslation(str(error)) from error


def _joined(node: exp.Expr) -> exp.Expr:
    # A long pattern is put together from literals.
    if isinstance(node, exp.DPipe):
        left, right = _joined(node.left), _joined(node.right)
        return exp.Literal.string(_text(left, "a pattern") + _text(right, "a pattern"))
    return node


def regexp_replace(node: exp.Expr) -> exp.Expr:
    """Spark replaces every match; where the first one is meant, an anchor must say so."""
    flags = _text(node.args.get("modifiers") or exp.Literal.string(""), "the flags")
    pattern = _pattern(_joined(node.expression))
    if flags not in ("", "g"):
        raise NoTranslation(f"the flags {flags!r} of regexp_replace()")
    if not flags and not (pattern.name.startswith("^") or pattern.name.endswith("\\z")):
        raise NoTranslation(f"regexp_replace() of the first match only: {node.sql('duckdb')}")
    replacement = java_replacement(_text(node.args["replacement"], "a replacement"))
    return call("REGEXP_REPLACE", node.this, pattern, exp.Literal.string(replacement))


def regexp(name: str) -> Rewrite:
    """A function of a pattern, and of a group where it has one."""

    def rewrite(node: exp.Expr) -> exp.Expr:
        group = node.args.get("group")
        arguments = [node.this, _pattern(_joined(node.expression))]
        if not isinstance(node, exp.RegexpLike):
            arguments.append(group if group is not None else exp.Literal.number(0))
        return call(name, *arguments)

    return rewrite


def bracket(node: exp.Expr) -> exp.Expr:
    """An element of a list: beyond the end DuckDB says NULL, where brackets raise in Spark."""
    # sqlglot counts from 0 already where it sees that the place is a number, and only there.
    (place,) = node.expressions
    if isinstance(place, exp.Slice):
        first, last = place.this, place.expression
        if not (isinstance(first, exp.Literal) and isinstance(last, exp.Literal)):
            raise NoTranslation(f"a slice that is not of two numbers: {node.sql('duckdb')}")
        length = int(last.name) - int(first.name) + 1
        return call("SLICE", node.this, first, exp.Literal.number(length))
    if isinstance(place, exp.Literal) and place.is_int:
        return call("GET", node.this, place)
    if not (
        isinstance(place, exp.Add)
        and isinstance(place.left, exp.Cast)
        and place.left.to.is_type(*exp.DataType.INTEGER_TYPES)
        and place.right.is_int
    ):
        raise NoTranslation(f"a place that is not cast to an integer: {node.sql('duckdb')}")
    return call("GET", node.this, place.left if place.right.name == "0" else place)


def weekday(node: exp.Expr) -> exp.Expr:
    """Monday is 1 (sqlglot says Sunday is 2)."""
    return exp.paren(exp.Add(this=call("WEEKDAY", node.this), expression=exp.Literal.number(1)))


def days_between(node: exp.Expr) -> exp.Expr:
    """DuckDB counts midnights; Spark's DATEDIFF(DAY, …) of instants counts full days."""
    if node.text("unit").upper() not in ("DAY", "DAYS"):
        raise NoTranslation(f"date_diff() in other units than days: {node.sql('duckdb')}")
    return call("DATEDIFF", cast(node.this, "date"), cast(node.expression, "date"))


def seconds(node: exp.Expr) -> exp.Expr:
    """With their fraction, which UNIX_TIMESTAMP cuts off."""
    micros = call("UNIX_MICROS", cast(node.this, "timestamp"))
    return exp.paren(exp.Div(this=cast(micros, "double"), expression=exp.Literal.number(1_000_000)))


def formatted(node: exp.Expr) -> exp.Expr:
    """Thousands and decimals: Spark's FORMAT_STRING is C's printf."""
    decimals = {"{:,}": 0, "{:,.2f}": 2, "{:.1f}": 1}.get(node.name)
    if decimals is None or len(node.expressions) != 1:
        raise NoTranslation(f"the format {node.name}")
    said = call("FORMAT_NUMBER", node.expressions[0], exp.Literal.number(decimals))
    if "," in node.name:
        return said
    return call("REPLACE", said, exp.Literal.string(","), exp.Literal.string(""))


def contained(node: exp.Expr) -> exp.Expr:
    """Not found beside a NULL is false in DuckDB, NULL in Spark."""
    return call("ARRAY_CONTAINS", call("ARRAY_COMPACT", node.this), node.expression)


def typed(node: exp.Expr) -> exp.Expr:
    """Casts: an instant of gold is Databricks' TIMESTAMP; a hexadecimal number has a function."""
    to = node.args["to"]
    if to.is_type(exp.DType.TIMESTAMPNTZ):
        return cast(node.this, "timestamp")
    if isinstance(node.this, exp.DPipe) and node.this.left.name == "0x":
        bases = [exp.Literal.number(16), exp.Literal.number(10)]
        return exp.Cast(this=call("CONV", node.this.right, *bases), to=to)
    return node
