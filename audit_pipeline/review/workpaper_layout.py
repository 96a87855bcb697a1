"""Text on A4 pages: wrapped, never cut, with tables whose heads come again on the next page.

reportlab places text; what goes on which line and page is decided here, because its own flowing
layout takes far longer for a paper of hundreds of pages.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from io import BytesIO

from reportlab.lib.pagesizes import A4
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas

PLAIN, BOLD = "Vera", "VeraBd"
"""Bitstream Vera, which reportlab ships: free, embedded, Latin letters only."""
LEFT, TOP, BOTTOM = 40.0, 790.0, 50.0
WIDTH = A4[0] - 2 * LEFT
LEADING = 1.3
_LATIN = re.compile(r"[\n\x20-\x7e]*")
_PIECE = re.compile(r"[^\s]*[ ]*")


@cache
def _font(name: str) -> TTFont:
    font = TTFont(name, f"{name}.ttf")
    pdfmetrics.registerFont(font)
    return font


@cache
def _widths(name: str) -> dict[int, float]:
    """Code point → advance, in thousandths of the font's size."""
    face = _font(name).face
    return {code: face.charWidths[code] for code in face.charToGlyph if code in face.charWidths}


def shown(text: str) -> str:
    """`text` in the font's letters; any other is spelt out as [U+hhhh], never left out."""
    if _LATIN.fullmatch(text):
        return text
    known = _widths(PLAIN)
    return "".join(
        letter if letter == "\n" or ord(letter) in known else f"[U+{ord(letter):04X}]"
        for letter in text
    )


def _width(text: str, font: str, size: float) -> float:
    known = _widths(font)
    return sum([known.get(code, 600.0) for code in map(ord, text)]) * size / 1000


def wrapped(text: str, font: str, size: float, width: float) -> list[str]:
    """The lines of a text within a width in points; a word that is too long is broken."""
    lines: list[str] = []
    for paragraph in shown(text).split("\n"):
        if _width(paragraph, font, size) <= width:
            lines.append(paragraph)
            continue
        lines += _broken(paragraph, font, size, width)
    return lines


def _broken(paragraph: str, font: str, size: float, width: float) -> list[str]:
    """One that is wider than the width, broken between words where it can be."""
    lines: list[str] = []
    line, used = "", 0.0
    for word in _PIECE.findall(paragraph):
        piece, taken = word, _width(word.rstrip(), font, size)
        if line and used + taken > width:
            lines.append(line.rstrip())
            line, used = "", 0.0
        while taken > width:
            fits = _fitting(piece, font, size, width)
            lines.append(piece[:fits])
            piece = piece[fits:]
            taken = _width(piece.rstrip(), font, size)
        line += piece
        used += _width(piece, font, size)
    return [*lines, line.rstrip()] if line.strip() else lines


def _fitting(text: str, font: str, size: float, width: float) -> int:
    used, known = 0.0, _widths(font)
    for place, letter in enumerate(text):
        used += known.get(ord(letter), 600.0) * size / 1000
        if used > width:
            return max(place, 1)
    return len(text)


@dataclass(frozen=True)
class _Text:
    x: float
    y: float
    font: str
    size: float
    text: str


@dataclass
class Layout:
    """Pages that fill from the top.

    Attributes:
        title: at the head of every page.
        foot: at the foot of every page, beside its number.
    """

    title: str
    foot: str
    _pages: list[list[_Text]] = field(default_factory=lambda: [[]])
    _rules: list[list[float]] = field(default_factory=lambda: [[]])
    _y: float = TOP

    def page(self) -> None:
        """Go on at the top of a new page."""
        self._pages.append([])
        self._rules.append([])
        self._y = TOP

    def space(self, points: float) -> None:
        """Leave some out."""
        self._y -= points

    def keep(self, points: float) -> bool:
        """Begin a new page where less than this is left of the current one."""
        if self._y - points >= BOTTOM:
            return False
        self.page()
        return True

    def heading(self, text: str, size: float = 13.0) -> None:
        """A line in bold that does not stand alone at the foot of a page."""
        self.keep(size * LEADING + 40)
        self.text(text, size=size, font=BOLD)
        self.space(4)

    def text(self, text: str, indent: float = 0.0, size: float = 8.0, font: str = PLAIN) -> None:
        """A text over as many lines and pages as it takes."""
        for line in wrapped(text, font, size, WIDTH - indent):
            self._line([(LEFT + indent, line)], font, size)

    def table(
        self,
        header: Sequence[str],
        widths: Sequence[float],
        rows: Sequence[Sequence[str]],
        right: Sequence[bool] = (),
        size: float = 6.5,
    ) -> None:
        """Rows under a header; a cell wraps within its column.

        Args:
            widths: in points; they are stretched to the page.
            right: which columns are aligned to the right.
        """
        whole = sum(widths)
        columns = [WIDTH * width / whole for width in widths]
        aligned = list(right) or [False] * len(columns)
        self._row(header, columns, aligned, BOLD, size)
        self._rule()
        for row in rows:
            cells = [
                wrapped(text, PLAIN, size, width - 4)
                for text, width in zip(row, columns, strict=True)
            ]
            if self.keep(min(len(max(cells, key=len)), 12) * size * LEADING):
                self._row(header, columns, aligned, BOLD, size)
                self._rule()
            self._cells(cells, columns, aligned, PLAIN, size)
        self.space(6)

    def pdf(self, canvas: Canvas) -> None:
        """Draw every page, with its number of all."""
        for font in (PLAIN, BOLD):
            _font(font)
        for number, (texts, rules) in enumerate(zip(self._pages, self._rules, strict=True), 1):
            canvas.setFont(PLAIN, 7)
            canvas.drawString(LEFT, TOP + 20, shown(self.title))
            canvas.drawString(LEFT, BOTTOM - 24, shown(self.foot))
            canvas.drawRightString(
                LEFT + WIDTH, BOTTOM - 24, f"Page {number} of {len(self._pages)}"
            )
            canvas.setLineWidth(0.4)
            for y in (TOP + 15, *rules):
                canvas.line(LEFT, y, LEFT + WIDTH, y)
            style = None
            for one in texts:
                if style != (one.font, one.size):
                    style = (one.font, one.size)
                    canvas.setFont(*style)
                canvas.drawString(one.x, one.y, one.text)
            canvas.showPage()

    def _row(
        self,
        texts: Sequence[str],
        columns: Sequence[float],
        right: Sequence[bool],
        font: str,
        size: float,
    ) -> None:
        cells = [
            wrapped(text, font, size, width - 4) for text, width in zip(texts, columns, strict=True)
        ]
        self._cells(cells, columns, right, font, size)

    def _cells(
        self,
        cells: Sequence[Sequence[str]],
        columns: Sequence[float],
        right: Sequence[bool],
        font: str,
        size: float,
    ) -> None:
        for place in range(max(len(lines) for lines in cells)):
            x, placed = LEFT, list[tuple[float, str]]()
            for lines, width, is_right in zip(cells, columns, right, strict=True):
                if place < len(lines) and lines[place]:
                    shift = width - 4 - _width(lines[place], font, size) if is_right else 0.0
                    placed.append((x + shift, lines[place]))
                x += width
            self._line(placed, font, size)

    def _line(self, placed: Sequence[tuple[float, str]], font: str, size: float) -> None:
        height = size * LEADING
        if self._y - height < BOTTOM:
            self.page()
        self._y -= height
        self._pages[-1] += [_Text(x, self._y, font, size, text) for x, text in placed]

    def _rule(self) -> None:
        self._rules[-1].append(self._y - 2)
        self.space(3)


def canvas_for(target: BytesIO, *, is_compressed: bool) -> Canvas:
    """An empty A4 file that says nothing about the moment and the machine it is made on."""
    return Canvas(target, pagesize=A4, pageCompression=int(is_compressed), invariant=1, lang="en")
