"""What the audit says to Databricks and DuckDB spells otherwise: the way back of its dialect."""

import re
from collections.abc import Callable
from typing import Any

from sqlglot import exp

from audit_pipeline.adapters.databricks.regex import BOUNDARY


def _get(call: exp.Anonymous) -> exp.Expr:
    """`get(array, i)` counts from 0; beyond the end it is null in both."""
    array, at = call.expressions
    place = exp.Add(this=exp.paren(at), expression=exp.Literal.number(1))
    return exp.Anonymous(this="LIST_EXTRACT", expressions=[array, place])


def _format_number(call: exp.Anonymous) -> exp.Expr:
    """`format_number(x, 2)`: thousands in groups, that many decimals."""
    number, decimals = call.expressions
    shape = exp.Literal.string(f"{{:,.{decimals.name}f}}")
    return exp.Anonymous(this="FORMAT", expressions=[shape, exp.cast(number, "DOUBLE")])


def _conv(call: exp.Anonymous) -> exp.Expr:
    """`conv(text, 16, 10)`: a number in another base, as a text."""
    text, base, target = call.expressions
    if (base.name, target.name) != ("16", "10"):
        raise NotImplementedError(f"conv from {base.name} to {target.name}")
    prefixed = exp.DPipe(this=exp.Literal.string("0x"), expression=text, safe=True)
    return exp.cast(exp.cast(prefixed, "BIGINT"), "VARCHAR")


FUNCTIONS: dict[str, Callable[[exp.Anonymous], exp.Expr]] = {
    "GET": _get,
    "FORMAT_NUMBER": _format_number,
    "CONV": _conv,
}
"""By name in capitals."""


def said_otherwise(node: exp.Expr) -> exp.Expr:
    """The node as DuckDB says it; itself where both say the same."""
    if isinstance(node, exp.Anonymous) and node.name.upper() in FUNCTIONS:
        return FUNCTIONS[node.name.upper()](node)
    rewrite = _REWRITES.get(type(node))
    return node if rewrite is None else rewrite(node)


def _pattern(node: Any) -> exp.Expr:
    # RE2 looks neither ahead nor behind, and its own boundary is what was meant.
    if BOUNDARY not in node.name:
        return node
    return exp.Literal.string(node.name.replace(BOUNDARY, r"\b"))


def _replacement(node: Any) -> exp.Expr:
    r"""`$1` in Java's replacements, where `\$` is a dollar."""
    said = node.args.get("replacement")
    if isinstance(said, exp.Literal):
        text = re.sub(r"(?<!\\)\$(\d)", r"\\\1", said.name).replace(r"\$", "$")
        node.set("replacement", exp.Literal.string(text))
    return node


def _reversed(node: Any) -> exp.Expr:
    """Of a list, which a text is not: here only lists are joined after it."""
    if not isinstance(node.parent, exp.ArrayToString):
        return node
    return exp.Anonymous(this="LIST_REVERSE", expressions=[node.this])


def _quantile(node: Any) -> exp.Expr:
    """`percentile_disc(p) WITHIN GROUP (ORDER BY x)`, which DuckDB takes with a literal p only."""
    names = {exp.PercentileDisc: "QUANTILE_DISC", exp.PercentileCont: "QUANTILE_CONT"}
    name = names.get(type(node.this))
    if name is None:
        return node
    (ordered,) = node.expression.expressions
    return exp.Anonymous(this=name, expressions=[ordered.this, node.this.this])


def _bytes(node: Any) -> exp.Expr:
    # A letter for each byte, so that levenshtein counts bytes, as DuckDB's does anyhow.
    return node.this.this if isinstance(node.this, exp.Encode) else node


_REWRITES: dict[type[exp.Expr], Callable[[Any], exp.Expr]] = {
    exp.Literal: _pattern,
    exp.RegexpReplace: _replacement,
    exp.Reverse: _reversed,
    exp.WithinGroup: _quantile,
    exp.Decode: _bytes,
}
