"""A statement of Databricks SQL: parsed, and its words for the tables that it names."""

import re

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from audit_pipeline_tests.databricks.local_warehouse.engine import SqlError

DIALECT = "databricks"


def parse(statement: str) -> exp.Expr:
    """The tree of one statement.

    Raises:
        SqlError: it is not Databricks SQL, is empty, or is more than one statement.
    """
    try:
        trees = [tree for tree in sqlglot.parse(statement, read=DIALECT) if tree is not None]
    except SqlglotError as error:
        # sqlglot underlines the place in the colours of a terminal
        raise syntax_error(re.sub(r"\x1b\[\d+m", "", str(error))) from error
    if not trees:
        raise syntax_error("Syntax error, unexpected empty statement.")
    if len(trees) > 1:
        # as the real one, which takes one statement a request: nothing can be appended to one
        raise syntax_error(f"Syntax error at or near '{trees[1].sql(DIALECT)[:40]}': extra input.")
    return trees[0]


def syntax_error(message: str) -> SqlError:
    """PARSE_SYNTAX_ERROR."""
    return SqlError("PARSE_SYNTAX_ERROR", message, "42601")


def unsupported(what: str) -> SqlError:
    """A statement that this warehouse does not know, though a real one may."""
    return SqlError("UNSUPPORTED_FEATURE", f"The local warehouse does not support {what}.", "0A000")
