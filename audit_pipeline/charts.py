"""Small pictures for asset metadata: bars as SVG, embedded in Markdown."""

import base64
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from audit_pipeline.agents.anomaly_detection.benford import expected

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from audit_pipeline.agents.anomaly_detection import benford

WIDTH = 520
ROW_HEIGHT = 20
BAR_LEFT = 190
LABEL_CHARACTERS_MAX = 28
COLUMNS_MAX = 100
"""A picture is stored with every partition of a run: with a column a day, it would grow squared."""
COLORS = {"CRITICAL": "#b3261e", "WARNING": "#b26a00", "INFO": "#3f6fb5"}
PLAIN = "#5b6b7b"


def bars(title: str, counts: "Mapping[str, int]") -> str:
    """Markdown with a horizontal bar for each name; a name that is a severity has its color."""
    most = max(counts.values(), default=0) or 1
    rows: list[str] = []
    for place, (name, count) in enumerate(counts.items()):
        top = 24 + place * ROW_HEIGHT
        length = max(1, round((WIDTH - BAR_LEFT - 70) * count / most))
        label = escape(name[:LABEL_CHARACTERS_MAX])
        rows.append(
            f'<text x="{BAR_LEFT - 8}" y="{top + 13}" text-anchor="end">{label}</text>'
            f'<rect x="{BAR_LEFT}" y="{top + 3}" width="{length}" height="{ROW_HEIGHT - 7}" '
            f'fill="{COLORS.get(name, PLAIN)}"/>'
            f'<text x="{BAR_LEFT + length + 6}" y="{top + 13}">{count:,}</text>'
        )
    return _image(title, rows, 30 + len(counts) * ROW_HEIGHT)


def columns(title: str, counts: "Sequence[tuple[str, int]]") -> str:
    """Markdown with a narrow column for each day, or for a few days; the first and last named."""
    first, last = (counts[0][0], counts[-1][0]) if counts else ("", "")
    together = -(-len(counts) // COLUMNS_MAX)
    if together > 1:
        groups = [counts[at : at + together] for at in range(0, len(counts), together)]
        counts = [(f"{g[0][0]} to {g[-1][0]}", sum(count for _, count in g)) for g in groups]
    most = max((count for _, count in counts), default=0) or 1
    step = (WIDTH - 20) / max(len(counts), 1)
    rows = [
        f'<rect x="{10 + place * step:.1f}" y="{120 - 90 * count / most:.1f}" '
        f'width="{max(step - 1, 0.8):.1f}" height="{90 * count / most:.1f}" fill="{PLAIN}">'
        f"<title>{escape(day)}: {count:,}</title></rect>"
        for place, (day, count) in enumerate(counts)
    ]
    if counts:
        rows.append(f'<text x="10" y="136">{escape(first)}</text>')
        rows.append(f'<text x="{WIDTH - 10}" y="136" text-anchor="end">{escape(last)}</text>')
        rows.append(f'<text x="{WIDTH - 10}" y="16" text-anchor="end">most: {most:,}</text>')
    return _image(title, rows, 144)


def table(header: "Sequence[str]", rows: "Sequence[Sequence[object]]") -> str:
    """A Markdown table; text in cells is data, so what Markdown would read is escaped."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(_cell(value) for value in row) + " |" for row in rows]
    return "\n".join(lines)


def first_digits(found: "benford.Benford") -> str:
    """Markdown of what the first digits of all amounts say, and of the largest parts of them."""
    said = "\n\n".join(found.sentences())
    if found.first is None:
        return said
    law = expected(1)
    counts = {
        f"{digit} ({share:.1%} expected)": found.first.counts[digit] for digit, share in law.items()
    }
    parts = [
        (
            part.by,
            part.name,
            part.first.amounts,
            f"{part.first.deviation:.4f}",
            part.first.conformity,
        )
        for part in found.parts
    ]
    header = ("largest", "name", "amounts", "mean deviation", "first digit")
    return "\n\n".join((said, bars("Amounts by first digit", counts), table(header, parts)))


def _cell(value: object) -> str:
    text = f"{value:,}" if isinstance(value, int) else str(value)
    for character in "\\`*_{}[]()<>#+!|~":
        text = text.replace(character, "\\" + character)
    return text.replace("\n", " ").replace("\r", " ")


def _image(title: str, rows: "Sequence[str]", height: int) -> str:
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">'
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>'
        f'<text x="8" y="16" font-weight="bold">{escape(title)}</text>{"".join(rows)}</svg>'
    )
    data = base64.b64encode(svg.encode()).decode()
    alt = title.replace("[", "(").replace("]", ")")
    return f"![{alt}](data:image/svg+xml;base64,{data})"
