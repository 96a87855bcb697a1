"""A workpaper for paper: A4, each flag with all that belongs to it, the same values and digests."""

import datetime as dt
from collections.abc import Sequence
from io import BytesIO

from audit_pipeline.model.errors import BadUsage
from audit_pipeline.review.paper import Kind, Sheet, Value
from audit_pipeline.review.workpaper import Workpaper
from audit_pipeline.review.workpaper_layout import Layout, canvas_for

FLAGS_MAX = 5_000
"""A printed flag takes a third of a page."""
LONG_FROM_WIDTH = 36
"""Columns from this width on have a line of their own; the others stand beside each other."""
Rows = dict[str, list[tuple[Value, ...]]]


def pdf(paper: Workpaper, *, is_compressed: bool = True) -> bytes:
    """The paper as a PDF; the same paper is the same bytes.

    Raises:
        BadUsage: it has too many flags to be printed.
    """
    if paper.flags > FLAGS_MAX:
        raise BadUsage(
            f"{paper.flags:,} flags; a PDF holds {FLAGS_MAX:,} at most: take fewer, or .xlsx"
        )
    target = BytesIO()
    canvas = canvas_for(target, is_compressed=is_compressed)
    prepared_at = paper.prepared.at.astimezone(dt.UTC)
    canvas.setTitle(f"Workpaper {paper.from_on} to {paper.to_on}")
    canvas.setAuthor(paper.prepared.by)
    canvas.setSubject(f"SHA-256 {paper.sha256}")
    canvas.setDateFormatter(lambda *_: f"D:{prepared_at:%Y%m%d%H%M%S}Z")
    laid = Layout(
        f"Workpaper: flags of the continuous audit, {paper.from_on} to {paper.to_on}",
        f"SHA-256 {paper.sha256}; prepared {prepared_at:%Y-%m-%d %H:%M:%S} UTC",
    )
    _lay(laid, paper)
    laid.pdf(canvas)
    canvas.save()
    return target.getvalue()


def printed(value: Value, kind: Kind = Kind.TEXT) -> str:
    """A cell as a person reads it."""
    match value:
        case None:
            return ""
        case str():
            return value
        case dt.datetime():
            return value.astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M:%S")
        case dt.date():
            return value.isoformat()
        case int():
            return f"{value:,}" if kind is Kind.COUNT else str(value)
        case _ if kind is Kind.NUMBER:
            return f"{value.normalize():f}"
        case _:
            return f"{value:,.2f}"


def _lay(laid: Layout, paper: Workpaper) -> None:
    laid.heading("Workpaper", 18)
    _list(laid, paper["Cover"])
    laid.page()
    laid.heading("Population and totals")
    _ledger(laid, paper["Population"])
    laid.heading("Exclusions")
    _table(laid, paper["Exclusions"], (12, 9, 14, 7, 18, 50))
    laid.heading("Rules and thresholds")
    _records(laid, paper["Rules"], 3)
    laid.page()
    laid.heading("Flags")
    _flags(laid, paper)
    laid.page()
    laid.heading("Queries")
    _records(laid, paper["Queries"], 2)
    laid.heading("Trail")
    _table(laid, paper["Trail"], (16, 70, 10, 10, 10))
    laid.heading("Manifest")
    _table(laid, paper["Manifest"], (20, 10, 70))


def _list(laid: Layout, sheet: Sheet) -> None:
    """Items with what is said of them."""
    rows = [
        (str(item), printed(said, Kind.COUNT if isinstance(said, int) else Kind.TEXT))
        for item, said in sheet.rows
    ]
    laid.table([column.name for column in sheet.columns], (25, 75), rows, size=8)


def _table(laid: Layout, sheet: Sheet, widths: Sequence[float]) -> None:
    kinds = [column.kind for column in sheet.columns]
    rows = [
        [printed(value, kind) for value, kind in zip(row, kinds, strict=True)] for row in sheet.rows
    ]
    right = [kind in (Kind.COUNT, Kind.MONEY, Kind.NUMBER) for kind in kinds]
    if rows:
        laid.table([column.name for column in sheet.columns], widths, rows, right)
    else:
        laid.text("None.")


def _ledger(laid: Layout, sheet: Sheet) -> None:
    """Without the runs, which the trail has; a population's name stands over its days."""
    columns = sheet.columns[1:-1]
    widths = [14 if column.kind is Kind.MONEY else 11.5 for column in columns]
    for population in dict.fromkeys(row[0] for row in sheet.rows if row[1] is not None):
        laid.text(str(population), font="VeraBd")
        own = [row for row in sheet.rows if row[0] in (population, f"total of {population}")]
        rows = tuple((row[1] or "total", *row[2:-1]) for row in own)
        _table(laid, Sheet(sheet.name, columns, rows), widths)


def _records(laid: Layout, sheet: Sheet, in_title: int) -> None:
    """Each row as lines of its own, under a title of its first cells; empty cells are left out."""
    if not sheet.rows:
        laid.text("None.")
    for row in sheet.rows:
        laid.keep(40)
        laid.text("  ".join(map(printed, row[:in_title])), font="VeraBd", size=8)
        _facts(laid, sheet, row, in_title)
        laid.space(5)


def _facts(laid: Layout, sheet: Sheet, row: tuple[Value, ...], start: int) -> None:
    short: list[str] = []
    long: list[str] = []
    for column, value in list(zip(sheet.columns, row, strict=True))[start:]:
        if value is None:
            continue
        said = f"{column.name}: {printed(value, column.kind)}"
        if column.width < LONG_FROM_WIDTH and "\n" not in said:
            short.append(said)
        else:
            long.append(said)
    if short:
        laid.text("   ".join(short), indent=10, size=7)
    for said in long:
        laid.text(said, indent=10, size=7)


def _flags(laid: Layout, paper: Workpaper) -> None:
    flags = paper["Flags"]
    parts, comments = _by_flag(paper["Score parts"]), _by_flag(paper["Comments"])
    decisions = _by_flag(paper["Decisions"])
    findings, evidence = _by_flag(paper["Findings"]), _by_flag(paper["Evidence"])
    if not flags.rows:
        laid.text("None.")
    for row in flags.rows:
        identity = str(row[0])
        laid.keep(90)
        laid.text(f"{row[1]} {row[2]}  {identity}", font="VeraBd", size=9)
        _facts(laid, flags, row, 3)
        laid.text("Score", indent=10, font="VeraBd", size=7)
        for _, rule, points, reason in parts.get(identity, ()):
            laid.text(f"{points:+d}  {rule}  {reason}", indent=20, size=7)
        for found in findings.get(identity, ()):
            _finding(laid, found, evidence.get(identity, ()))
        for title, sheet, rows in (
            ("Decision", paper["Decisions"], decisions),
            ("Comment", paper["Comments"], comments),
        ):
            for said in rows.get(identity, ()):
                laid.text(title, indent=10, font="VeraBd", size=7)
                _facts(laid, sheet, said, 1)
        laid.space(8)


def _finding(laid: Layout, found: tuple[Value, ...], evidence: Sequence[tuple[Value, ...]]) -> None:
    _, rule, version, day, transaction, measured, threshold, points, query = found
    laid.text(
        f"Finding {rule} version {version} on {printed(day)}: "
        f"measured {printed(measured, Kind.NUMBER)}, threshold {printed(threshold, Kind.NUMBER)}, "
        f"{points} points; transaction {printed(transaction)}",
        indent=10,
        font="VeraBd",
        size=7,
    )
    for _, of_rule, of_day, fact, value, table, column, row_id in evidence:
        if (of_rule, of_day) == (rule, day):
            source = f"{printed(table)}.{printed(column)}, row {printed(row_id)}"
            laid.text(f"{printed(fact)} = {printed(value)}   ({source})", indent=20, size=7)
    laid.text(f"query {printed(query) or 'none'}", indent=20, size=7)


def _by_flag(sheet: Sheet) -> Rows:
    rows: Rows = {}
    for row in sheet.rows:
        rows.setdefault(str(row[0]), []).append(row)
    return rows
