"""A workpaper as a spreadsheet: values only, no formula and no link anywhere."""

import datetime as dt
from decimal import Decimal
from io import BytesIO
from typing import Any

import xlsxwriter

from audit_pipeline.review.paper import Kind, Sheet
from audit_pipeline.review.workpaper import Workpaper

NUMBER_FORMATS = {
    Kind.TEXT: "@",
    Kind.COUNT: "0",
    Kind.MONEY: "#,##0.00",
    Kind.NUMBER: "General",
    Kind.DAY: "yyyy-mm-dd",
    Kind.INSTANT: 'yyyy-mm-dd"T"hh:mm:ss"Z"',
}
WRAPPED_FROM_WIDTH = 36
DAY_0 = dt.date(1899, 12, 30).toordinal()
SECONDS_A_DAY = 86_400
LITERAL = {
    "strings_to_formulas": False,
    "strings_to_numbers": False,
    "strings_to_urls": False,
    "in_memory": True,
}


def xlsx(paper: Workpaper) -> bytes:
    """The paper as an .xlsx file; the same paper is the same bytes."""
    target = BytesIO()
    with xlsxwriter.Workbook(target, LITERAL) as book:
        book.set_properties(
            {
                "title": f"Workpaper {paper.from_on} to {paper.to_on}",
                "author": paper.prepared.by,
                "comments": f"SHA-256 {paper.sha256}",
                "created": paper.prepared.at.astimezone(dt.UTC).replace(tzinfo=None),
            }
        )
        formats = _Formats(book)
        for sheet in paper.sheets:
            _write(book.add_worksheet(sheet.name), sheet, formats)
    return target.getvalue()


class _Formats:
    """The formats of a workbook, made once."""

    def __init__(self, book: Any) -> None:
        self.header = book.add_format({"bold": True, "text_wrap": True, "bottom": 1})
        made = {"valign": "top"}
        self.of = {
            kind: book.add_format({**made, "num_format": form})
            for kind, form in NUMBER_FORMATS.items()
        }
        self.wrapped = book.add_format({**made, "num_format": "@", "text_wrap": True})
        # the cover's second column holds values of every kind
        self.plain = {
            int: self.of[Kind.COUNT],
            Decimal: self.of[Kind.MONEY],
            dt.date: self.of[Kind.DAY],
            dt.datetime: self.of[Kind.INSTANT],
        }


def _number(value: int | Decimal | dt.date) -> float:
    """A number, or a spreadsheet's number of a day or an instant: days since the end of 1899."""
    match value:
        case dt.datetime():
            at = value.astimezone(dt.UTC)
            seconds = (at - at.replace(hour=0, minute=0, second=0)).seconds
            return at.toordinal() - DAY_0 + seconds / SECONDS_A_DAY
        case dt.date():
            return value.toordinal() - DAY_0
        case _:
            return float(value)


def _write(target: Any, sheet: Sheet, formats: _Formats) -> None:
    for at, column in enumerate(sheet.columns):
        target.set_column(at, at, column.width)
        target.write_string(0, at, column.name, formats.header)
    wraps = [column.width >= WRAPPED_FROM_WIDTH for column in sheet.columns]
    texts = [formats.wrapped if wrap else formats.of[Kind.TEXT] for wrap in wraps]
    others = [
        None if column.kind is Kind.TEXT else formats.of[column.kind] for column in sheet.columns
    ]
    text, number = target.write_string, target.write_number
    for line, row in enumerate(sheet.rows, 1):
        for at, value in enumerate(row):
            if isinstance(value, str):
                text(line, at, value, texts[at])
            elif value is not None:
                number(line, at, _number(value), others[at] or formats.plain[type(value)])
    target.freeze_panes(1, 0)
    if sheet.rows:
        target.autofilter(0, 0, len(sheet.rows), len(sheet.columns) - 1)
    target.set_landscape()
    target.set_paper(9)  # A4
    target.fit_to_pages(1, 0)
    target.repeat_rows(0)
    target.set_footer("&L&A&RPage &P of &N")
