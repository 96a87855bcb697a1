"""Pictures of one flag: parts that add up, and the vendor's history with this charge on it.

SVG markup with geometry and classes only; colours are the style sheet's, and every bar and point
that matters is named in words too, so that a print in black and white reads the same.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from markupsafe import Markup, escape

from audit_pipeline.report import plain

WIDTH, LABEL, NUMBER, ROW = 560, 250, 80, 26
LABEL_CHARACTERS_MAX = 35
HEIGHT, LEFT, TOP, BOTTOM = 190, 64, 14, 26

THIS = Markup(
    '<circle class="this" cx="{0:.1f}" cy="{1:.1f}" r="6"><title>{2}</title></circle>'
    '<text class="label" x="{3:.1f}" y="{4:.1f}" text-anchor="{5}">this charge</text>'
)
FLAGGED = Markup('<path class="flagged" d="M{:.1f} {:.1f}l8 8m0 -8l-8 8"><title>{}</title></path>')
DOT = Markup('<circle class="dot" cx="{:.1f}" cy="{:.1f}" r="3"><title>{}</title></circle>')


@dataclass(frozen=True)
class Bar:
    """A part of a sum; `is_sum`: drawn from zero, and not added."""

    name: str
    value: Decimal
    is_sum: bool = False


@dataclass(frozen=True)
class Charge:
    """A payment to the vendor; `is_this`: the flagged one; `is_flagged`: another flagged one."""

    on: dt.date
    cents: int
    is_this: bool = False
    is_flagged: bool = False


def waterfall(title: str, bars: Sequence[Bar]) -> Markup:
    """Each part begins where the one before it ended."""
    edges = [Decimal(0)]
    spans: list[tuple[Bar, Decimal, Decimal]] = []
    at = Decimal(0)
    for bar in bars:
        begin, end = (Decimal(0), bar.value) if bar.is_sum else (at, at + bar.value)
        at = end
        spans.append((bar, begin, end))
        edges += [begin, end]
    low, high = min(edges), max(edges)
    scale = Decimal(WIDTH - LABEL - NUMBER) / ((high - low) or Decimal(1))
    shapes: list[Markup] = []
    for place, (bar, begin, end) in enumerate(spans):
        top = place * ROW
        left = LABEL + (min(begin, end) - low) * scale
        width = max(abs(end - begin) * scale, Decimal(2))
        kind = "sum" if bar.is_sum else "less" if bar.value < 0 else "more"
        number = f"{bar.value:,}" if bar.is_sum else f"{bar.value:+,}"
        shapes.append(
            Markup(
                '<text class="label" x="{}" y="{}" text-anchor="end">{}</text>'
                '<rect class="{}" x="{:.1f}" y="{}" width="{:.1f}" height="{}"/>'
                '<text class="value" x="{}" y="{}" text-anchor="end">{}</text>'
            ).format(
                *(LABEL - 8, top + 17, _short(plain(bar.name))),
                *(kind, left, top + 5, width, ROW - 9),
                *(WIDTH - 2, top + 17, number),
            )
        )
    return _svg(title, WIDTH, len(spans) * ROW + 4, shapes)


def history(title: str, charges: Sequence[Charge]) -> Markup:
    """Amounts over time: a dot for each payment, a cross for flagged ones, a ring for this one."""
    amounts = [charge.cents for charge in charges]
    low, high = min(0, *amounts), max(0, *amounts)
    first, last = min(c.on for c in charges), max(c.on for c in charges)
    days = max((last - first).days, 1)

    def x(on: dt.date) -> float:
        return LEFT + (WIDTH - LEFT - 16) * (on - first).days / days

    def y(cents: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (high - cents) / ((high - low) or 1)

    shapes = [
        Markup(
            '<line class="axis" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>'
            '<text class="value" x="{}" y="{:.1f}" text-anchor="end">{:,.0f}</text>'
        ).format(LEFT, WIDTH - 10, y(cents), y(cents), LEFT - 6, y(cents) + 4, cents / 100)
        for cents in sorted({low, 0, high})
    ]
    for charge in sorted(charges, key=lambda c: (c.is_this, c.is_flagged, c.on)):
        across, down = x(charge.on), y(charge.cents)
        named = f"{charge.on}: {charge.cents / 100:,.2f}"
        if charge.is_this:
            anchor = "end" if across > WIDTH / 2 else "start"
            beside = across - 10 if anchor == "end" else across + 10
            shapes.append(THIS.format(across, down, named, beside, down + 4, anchor))
        elif charge.is_flagged:
            shapes.append(FLAGGED.format(across - 4, down - 4, f"flagged, {named}"))
        else:
            shapes.append(DOT.format(across, down, named))
    foot = Markup(
        '<text class="value" x="{}" y="{}">{}</text>'
        '<text class="value" x="{}" y="{}" text-anchor="end">{}</text>'
    ).format(LEFT, HEIGHT - 6, first, WIDTH - 10, HEIGHT - 6, last)
    return _svg(title, WIDTH, HEIGHT, [*shapes, foot])


def _short(name: str) -> str:
    is_long = len(name) > LABEL_CHARACTERS_MAX
    return f"{name[: LABEL_CHARACTERS_MAX - 1]}…" if is_long else name


def _svg(title: str, width: int, height: int, shapes: Sequence[Markup]) -> Markup:
    return Markup(
        '<svg class="picture" role="img" viewBox="0 0 {} {}" aria-label="{}">{}</svg>'
    ).format(width, height, escape(plain(title)), Markup("").join(shapes))
