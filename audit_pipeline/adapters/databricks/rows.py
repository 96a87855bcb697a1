"""Rewrites of what is made of many rows: lists, percentiles, windows and QUALIFY."""

from sqlglot import exp

from audit_pipeline.adapters.databricks.values import NoTranslation, call, cast


def ordered_list(node: exp.Expr) -> exp.Expr:
    """A list in an order: collect_list() knows none, and leaves NULL out; pairs do neither."""
    inner = node.this
    if isinstance(node.parent, exp.ArraySort):
        return node
    keys: list[exp.Expr] = []
    value = inner
    if isinstance(inner, exp.Order):
        value = inner.this
        for key in inner.expressions:
            if key.args.get("desc"):
                raise NoTranslation(f"a list in falling order: {node.sql('duckdb')}")
            keys.append(key.this)
    if not keys:
        raise NoTranslation(f"a list in no order: {node.sql('duckdb')}")
    named = [exp.alias_(key.copy(), f"key_{i}") for i, key in enumerate(keys)]
    pair = call("STRUCT", *named, exp.alias_(value.copy(), "value"))
    pairs = call("ARRAY_SORT", call("COLLECT_LIST", pair))
    return call("TRANSFORM", pairs, exp.var("pair -> pair.value"))


def array_sort(node: exp.Expr) -> exp.Expr:
    """A list that is sorted at once needs no order; its NULLs need the pairs all the same."""
    if not isinstance(node.this, exp.ArrayAgg):
        return node
    inner, collect = node.this.this, "COLLECT_LIST"
    if isinstance(inner, exp.Distinct):
        (inner,), collect = inner.expressions, "COLLECT_SET"
    pairs = call(collect, call("STRUCT", exp.alias_(inner.copy(), "value")))
    node.set("this", call("TRANSFORM", pairs, exp.var("pair -> pair.value")))
    return node


def percentile(node: exp.Expr) -> exp.Expr:
    """Interpolated percentiles, one or a list of them."""
    return call("PERCENTILE", node.this, node.expression)


def percentile_disc(node: exp.Expr) -> exp.Expr:
    """A percentile that is one of the values, as a double; in a window, see `window`."""
    if isinstance(node.parent, exp.Window):
        return node
    order = exp.Order(expressions=[exp.Ordered(this=node.this, nulls_first=False)])
    return exp.WithinGroup(this=call("PERCENTILE_DISC", node.expression), expression=order)


def average(node: exp.Expr) -> exp.Expr:
    """Of decimals, too, DuckDB makes a double."""
    return exp.Avg(this=cast(node.this, "double"))


def rows_of(node: exp.Expr) -> exp.Expr:
    """One row for each element; Spark makes them in a column of their own only."""
    around = node.parent
    if around is not None and not isinstance(around, exp.Alias | exp.Select):
        raise NoTranslation(f"unnest() within an expression: {around.sql('duckdb')}")
    return node


def as_planned(node: exp.Expr) -> exp.Expr:
    """Spark decides by itself what is made once: MATERIALIZED is not a word of its."""
    node.set("materialized", None)
    return node


def window(node: exp.Expr) -> exp.Expr:
    """Spark has no median in a window whose frame moves: it is taken of the sorted list."""
    if isinstance(node.this, exp.PercentileDisc):
        place = f"CAST(CEIL({node.this.expression.sql('databricks')} * SIZE(seen)) AS INT) - 1"
        return _of_seen(node, node.this.this, f"GET(seen, {place})")
    if isinstance(node.this, exp.Anonymous):
        middle = _middle("seen")
        strayed = f"ARRAY_SORT(TRANSFORM(seen, one -> ABS(one - {middle})))"
        median = f"GET(TRANSFORM(ARRAY({strayed}), strays -> {_middle('strays')}), 0)"
        return _of_seen(node, node.this.expressions[0], median)
    return _full_window(node)


def _middle(numbers: str) -> str:
    low, high = (
        f"GET({numbers}, (SIZE({numbers}) - 1) DIV 2)",
        f"GET({numbers}, SIZE({numbers}) DIV 2)",
    )
    return f"(CAST({low} AS DOUBLE) + {high}) / 2"


def _of_seen(window: exp.Expr, value: exp.Expr, sql: str) -> exp.Expr:
    window.set("this", call("COLLECT_LIST", value))
    whole = _full_window(window)
    seen = call("ARRAY", call("ARRAY_SORT", whole.copy() if whole is window else whole))
    answers = call("TRANSFORM", seen, exp.var(f"seen -> {sql}"))
    return call("GET", answers, exp.Literal.number(0))


def _full_window(node: exp.Expr) -> exp.Expr:
    # A named window with a frame of its own: Spark knows a bare name only.
    name, select = node.alias, node.find_ancestor(exp.Select)
    if not name or not node.args.get("spec") or select is None:
        return node
    (named,) = [w for w in select.args.get("windows") or [] if w.this.name == name]
    full = named.copy()
    for part in ("this", "spec"):
        full.set(part, node.args[part])
    full.set("alias", None)
    full.set("over", "OVER")
    return full


def by_name(node: exp.Expr) -> exp.Expr:
    """Functions that sqlglot has no class for."""
    if node.name.lower() == "list_reverse":
        return call("REVERSE", *node.expressions)
    if node.name.lower() == "mad" and isinstance(node.parent, exp.Window):
        return node
    raise NoTranslation(f"no known equal in Databricks SQL: {node.sql('duckdb')}")


def without_qualify(select: exp.Select) -> exp.Expr:
    """Databricks has QUALIFY; the open-source Spark on which parity is proven has not."""
    qualify = select.args["qualify"].pop().this
    ranks: list[exp.Expr] = []
    for window in list(qualify.find_all(exp.Window)):
        name = f"rank_{len(ranks)}"
        ranks.append(exp.alias_(window.copy(), name))
        window.replace(exp.column(name))
    if len(ranks) != len(list(qualify.find_all(exp.Column))) or select.args.get("distinct"):
        raise NoTranslation(f"QUALIFY of more than windows: {qualify.sql('duckdb')}")
    names: list[exp.Expr] = [exp.column(p.alias_or_name, quoted=False) for p in select.selects]
    if select.is_star:
        names = [exp.Star(except_=[exp.to_identifier(rank.alias) for rank in ranks])]
    outer = exp.Select(expressions=names)
    for part in ("with_", "order", "limit"):
        outer.set(part, select.args.get(part))
        select.set(part, None)
    order = outer.args.get("order")
    if order is not None and any(key.this.name not in select.named_selects for key in order):
        raise NoTranslation(f"QUALIFY and an order by what is not selected: {order.sql('duckdb')}")
    select.set("expressions", [*select.expressions, *ranks])
    return outer.from_(select.subquery("ranked")).where(qualify)
