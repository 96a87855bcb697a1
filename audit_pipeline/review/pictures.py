"""Charts as SVG: what they show reads in black and white, and no text in them is ever markup.

No style, script or link is in them; colours come from the classes in `static/pictures.css`, and
each severity has a pattern of its own. Lengths are in the units of the picture's view box.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from html import escape
from types import MappingProxyType

from markupsafe import Markup

from audit_pipeline.model.flag import Severity
from audit_pipeline.model.untrusted import in_one_line

WIDTH = 720.0
BAR_LEFT, BAR_RIGHT, BAR_HEIGHT = 210.0, 130.0, 22.0
LABEL_CHARACTERS_MAX = 30
PLOT_LEFT, PLOT_TOP, PLOT_HEIGHT = 44.0, 28.0, 150.0
COLUMNS_MAX = 120
"""More days than this are taken together, so that a column stays wide enough to be seen."""

_PATTERNS = MappingProxyType(
    {
        Severity.CRITICAL: '<rect class="ink" width="6" height="6"/>',
        Severity.WARNING: '<rect class="paper" width="6" height="6"/>'
        '<path class="stroke" d="M0 6L6 0"/>',
        Severity.INFO: '<rect class="paper" width="6" height="6"/>'
        '<circle class="ink" cx="3" cy="3" r="1"/>',
    }
)
"""Solid, hatched, dotted."""


def columns_by_day(name: str, title: str, counts: Mapping[tuple[dt.date, Severity], int]) -> Markup:
    """A column for each day from the first to the last one, or for a few days, by severity.

    Args:
        name: of letters; makes the ids within the page unique.
    """
    groups = _groups(sorted({day for day, _ in counts}))
    heights = [
        [sum(counts.get((day, level), 0) for day in group) for level in Severity]
        for group in groups
    ]
    most = max((sum(column) for column in heights), default=0) or 1
    step = (WIDTH - PLOT_LEFT - 10) / max(len(groups), 1)
    drawn: list[str] = []
    for place, (group, column) in enumerate(zip(groups, heights, strict=True)):
        base = PLOT_TOP + PLOT_HEIGHT
        for level, count in reversed(list(zip(Severity, column, strict=True))):
            if not count:
                continue
            height = PLOT_HEIGHT * count / most
            base -= height
            said = f"{_named(group)}: {count:,} {level.value}"
            drawn.append(
                f'<rect {_of_severity(name, level)} x="{PLOT_LEFT + place * step:.1f}" '
                f'y="{base:.1f}" width="{max(step - 1, 1):.1f}" height="{height:.1f}">'
                f"<title>{_text(said)}</title></rect>"
            )
    foot = PLOT_TOP + PLOT_HEIGHT
    drawn.append(f'<path class="axis" d="M{PLOT_LEFT} {PLOT_TOP}V{foot}H{WIDTH - 10}"/>')
    drawn.append(_label(PLOT_LEFT - 6, PLOT_TOP + 6, f"{most:,}", "end"))
    drawn.append(_label(PLOT_LEFT - 6, foot, "0", "end"))
    if groups:
        drawn.append(_label(PLOT_LEFT, foot + 16, groups[0][0].isoformat()))
        drawn.append(_label(WIDTH - 10, foot + 16, groups[-1][-1].isoformat(), "end"))
    drawn += _legend(name)
    return _picture(name, title, drawn, foot + 26)


def bars(
    name: str,
    title: str,
    rows: Sequence[tuple[str, float, str]],
    severities: Sequence[Severity] = (),
) -> Markup:
    """A bar for each row, from nought to the right.

    Args:
        name: of letters; makes the ids within the page unique.
        rows: label, length, and what stands beside the bar; a negative length is none.
        severities: of the rows, where they are that.
    """
    most = max((length for _, length, _ in rows), default=0) or 1
    drawn: list[str] = []
    for place, (label, length, said) in enumerate(rows):
        top = 8 + place * BAR_HEIGHT
        share = max(length, 0) / most * (WIDTH - BAR_LEFT - BAR_RIGHT)
        fill = _of_severity(name, severities[place]) if severities else 'class="ink plain"'
        drawn.append(_label(BAR_LEFT - 8, top + 14, label, "end"))
        drawn.append(
            f'<rect {fill} x="{BAR_LEFT}" y="{top + 2:.1f}" width="{share:.1f}" '
            f'height="{BAR_HEIGHT - 6}"/>'
        )
        drawn.append(_label(BAR_LEFT + share + 6, top + 14, said))
    return _picture(name, title, drawn, 16 + len(rows) * BAR_HEIGHT)


def _groups(days: Sequence[dt.date]) -> list[list[dt.date]]:
    """Every day from the first to the last, a few together where there are many."""
    if not days:
        return []
    every = [days[0] + dt.timedelta(days=n) for n in range((days[-1] - days[0]).days + 1)]
    together = -(-len(every) // COLUMNS_MAX)
    return [every[at : at + together] for at in range(0, len(every), together)]


def _named(group: Sequence[dt.date]) -> str:
    return f"{group[0]}" if len(group) == 1 else f"{group[0]} to {group[-1]}"


def _of_severity(name: str, level: Severity) -> str:
    return f'class="bar {level.value.lower()}" fill="url(#{name}-{level.value.lower()})"'


def _legend(name: str) -> list[str]:
    drawn: list[str] = []
    for place, level in enumerate(Severity):
        x = PLOT_LEFT + 10 + place * 110
        drawn.append(f'<rect {_of_severity(name, level)} x="{x}" y="4" width="14" height="12"/>')
        drawn.append(_label(x + 20, 14, level.value))
    return drawn


def _label(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{_text(text)}</text>'


def _text(text: str) -> str:
    return escape(in_one_line(text, LABEL_CHARACTERS_MAX))


def _picture(name: str, title: str, drawn: Sequence[str], height: float) -> Markup:
    """The whole; its title is what a screen reader says."""
    patterns = "".join(
        f'<pattern id="{name}-{level.value.lower()}" class="{level.value.lower()}" '
        f'patternUnits="userSpaceOnUse" width="6" height="6">{shapes}</pattern>'
        for level, shapes in _PATTERNS.items()
    )
    return Markup(  # noqa: S704 - made of numbers, names of ours, and texts that are escaped above
        f'<svg class="picture" role="img" viewBox="0 0 {WIDTH:.0f} {height:.0f}" '
        f'aria-labelledby="{name}-title"><title id="{name}-title">{escape(title)}</title>'
        f"<defs>{patterns}</defs>{''.join(drawn)}</svg>"
    )
