"""Databricks SQL as text: its literals, names and parameter markers, without parsing the rest.

Spark and Sail read Databricks SQL themselves. What is written for them stays as it was written,
but for the few words that are replaced here.
"""

import re
from collections.abc import Callable, Sequence

from audit_pipeline_tests.databricks.local_warehouse.engine import CATALOG, SqlError
from audit_pipeline_tests.databricks.local_warehouse.parameters import Parameter

_UNTOUCHED = r"""'(?:[^'\\]|\\.)*' | "(?:[^"\\]|\\.)*" | `[^`]*` | --[^\n]* | /\*.*?\*/"""
"""Text literals (also those in double quotes), quoted names, comments."""

_ESCAPES = str.maketrans({"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\0": "\\0"})
_NUMBERS = ("TINYINT", "SMALLINT", "INT", "BIGINT", "FLOAT", "DOUBLE")


def replaced(statement: str, pattern: str, by: Callable[[re.Match[str]], str]) -> str:
    """The statement with each match of a pattern replaced, outside of literals and comments."""
    flags = re.VERBOSE | re.DOTALL | re.IGNORECASE
    whole = re.compile(f"(?P<untouched>{_UNTOUCHED}) | {pattern}", flags)
    return whole.sub(lambda match: match["untouched"] or by(match), statement)


def with_literals(statement: str, parameters: Sequence[Parameter]) -> str:
    """The statement with each marker replaced by a literal, as Databricks does it.

    Raises:
        SqlError: a marker has no parameter.
    """
    if not parameters:
        return statement
    named = {p.name.lower(): p for p in parameters if p.name}
    in_order = iter([p for p in parameters if not p.name])

    def literal(match: re.Match[str]) -> str:
        name = match["name"]
        parameter = named.get(name.lower()) if name else next(in_order, None)
        if parameter is None:
            said = f"Found the unbound parameter: {name or '?'}."
            raise SqlError("UNBOUND_SQL_PARAMETER", said, "42P02")
        return literal_of(parameter)

    # a::INT is a cast and a:b a path into JSON: a marker has nothing right before its colon
    return replaced(statement, r"(?<![\w:)\]]):(?P<name>[A-Za-z_]\w*) | \?", literal)


def literal_of(parameter: Parameter) -> str:
    """A parameter as a literal of its own type."""
    base = parameter.type.partition("<")[0]
    if base in ("ARRAY", "MAP"):
        inside = ", ".join(literal_of(element) for element in parameter.elements)
        return f"{base.lower()}({inside})"
    if parameter.text is None or base == "VOID":
        return "NULL"
    text = "'" + parameter.text.translate(_ESCAPES) + "'"
    if base == "STRING":
        return text
    if base in ("INT", "BIGINT") and re.fullmatch(r"-?\d+", parameter.text):
        # LIMIT takes a number and no cast
        return parameter.text + ("L" if base == "BIGINT" else "")
    return f"CAST({text} AS {parameter.type})"


def in_catalog(statement: str, catalog: str) -> str:
    """The statement with `main.schema.table` named as in the catalog that an engine has."""
    name = rf"(?<![\w.`:])(?:{CATALOG}|`{CATALOG}`)\s*\.\s*(?=[\w`])"
    # before the pattern for quoted names, so that `main` is found too
    whole = re.compile(f"({name}) | {_UNTOUCHED}", re.VERBOSE | re.DOTALL | re.IGNORECASE)
    return whole.sub(lambda match: f"{catalog}." if match[1] else match[0], statement)


def split_error(said: str) -> SqlError | None:
    """An error that already speaks as Databricks does: `[CLASS] message SQLSTATE: 42P01`."""
    match = re.search(r"\[([A-Z][A-Z0-9_.]+)\]\s*(.*?)\s*SQLSTATE: (\w{5})", said, re.DOTALL)
    return SqlError(match[1], match[2], match[3]) if match else None
