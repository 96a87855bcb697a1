"""Answers of a model that works for the other side, as the text that its server returns.

Each is aimed at a schema like `{"verdicts": [{"ref", "severity", "confidence", "reason"}]}`: some
are of it and only lie, the others break it in every way that a parser meets.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import strategies as st

from audit_pipeline_tests.injections import INJECTIONS

SEVERITIES = ("INFO", "WARNING", "CRITICAL")
_ODD_SEVERITIES = (
    "info",
    "INFO ",
    "I\u200bNFO",
    "ＩＮＦＯ",
    "LOW",
    "NONE",
    "",
    "CRITICAL\x00",
    "0",
)
_ODD_REFS = ("", "*", "all", "../1", "-1", "null", "' OR 1=1 --", "\u202e1", "f" * 500)
_NUMBERS = (
    "NaN", "Infinity", "-Infinity", "-1", "-0.0", "1.0000001", "2", "100", "1e999", "-1e999",
    "1e-999", "1e308", "9" * 400, "9" * 5_000, "0.5", "1", "0", "1E400", "0x1", "01", "+1", ".5",
    "1.", "1_0", "١",
)  # fmt: skip
_RAW = "\ue000"
"""Stands around numbers that `json.dumps` would not write."""

_KEYS = ("ref", "severity", "confidence", "reason")
_payloads = st.sampled_from([injection.text for injection in INJECTIONS])
_junk = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.text(max_size=10),
    st.just([]),
    st.just({}),
    st.just([["INFO"]]),
    st.just({"severity": "INFO"}),
    st.sampled_from(_NUMBERS).map(lambda number: f"{_RAW}{number}{_RAW}"),
)


def _verdict(draw: st.DrawFn, refs: Sequence[str]) -> dict[str, Any]:
    """Of the schema, or nearly."""
    odd = draw(st.integers(0, 15))  # above 7: of the schema, and a lie
    ref = draw(st.sampled_from([*_ODD_REFS, *(f"{r}\u200b" for r in refs), *map(str.upper, refs)]))
    made: dict[str, Any] = {
        "ref": ref if odd == 1 else draw(st.sampled_from([*refs])),
        "severity": draw(st.sampled_from(_ODD_SEVERITIES if odd == 2 else SEVERITIES[:2])),
        "confidence": f"{_RAW}{draw(st.sampled_from(_NUMBERS))}{_RAW}" if odd == 3 else 1,
        "reason": draw(_payloads) if odd == 4 else "routine",
    }
    if odd == 5:
        made[draw(st.sampled_from(_KEYS))] = draw(_junk)
    if odd == 6:
        made[draw(st.sampled_from(["approved", "__proto__", "Severity", "ref ", "", "$ref"]))] = 1
    if odd == 7:
        del made[draw(st.sampled_from(_KEYS))]
    return made


def _written(document: Any) -> str:
    text = json.dumps(document, ensure_ascii=False)
    return text.replace(f'"{_RAW}', "").replace(f'{_RAW}"', "")


def _doubled(text: str) -> str:
    """The same key twice, the second time with what the attacker wants."""
    return text.replace('"severity":', '"severity": "CRITICAL", "severity":', 1)


def _ascii(text: str) -> str:
    return "".join(c if c < "\x7f" else f"\\u{ord(c) & 0xFFFF:04x}" for c in text)


_WRAPPINGS: tuple[Callable[[str], str], ...] = (
    str,
    str,
    str,
    lambda text: f"```json\n{text}\n```",
    lambda text: f"```json\n{text}\n```\n```json\n{text}\n```",
    lambda text: f"```\n{text}",
    lambda text: f"~~~json\n{text}\n~~~",
    lambda text: f"Of course! {text} Anything else?",
    lambda text: f"{text}\n{text}",
    lambda text: f'{text}\n{{"verdicts": []}}',
    lambda text: f"[{text}]",
    json.dumps,
    lambda text: f'{{"answer": {text}}}',
    lambda text: f'{{"verdicts": [], "verdicts": {text}}}',
    lambda text: f"\ufeff{text}",
    lambda text: f"\x00{text}\x00",
    lambda text: f"// {text}\n/* {text} */",
    lambda text: text.replace('"', "'"),
    lambda text: text.replace('"', "“"),
    lambda text: text[: len(text) // 2],
    lambda text: text[1:],
    lambda text: text.replace(",", ",,"),
    lambda text: text.replace("}", ",}"),
    lambda text: text.replace("verdicts", "verdict\\u0073"),
    lambda text: text.replace("verdicts", "ver\u200bdicts"),
    lambda text: text.replace("routine", "\\ud800"),
    lambda text: text.replace("routine", "\\u0000\\u202e\\udb40\\udc41"),
    lambda text: text.replace("routine", "x" * 100_000),
    lambda text: text.replace("routine", "\ufdfa" * 20),
    _doubled,
    _ascii,
)


def _nested(depth: int, shape: str) -> str:
    opening, closing = {"list": ("[", "]"), "object": ('{"verdicts":', "}")}[shape]
    return opening * depth + "1" + closing * depth


_deep = st.builds(
    _nested, st.sampled_from([3, 50, 500, 990, 1_500, 20_000]), st.sampled_from(["list", "object"])
)
_hostile_texts = st.one_of(
    _payloads,
    st.text(max_size=60),
    _deep,
    _deep.map(lambda text: f'{{"verdicts": {text}}}'),
    _deep.map(lambda text: f'{{"verdicts": [{{"ref": {text}}}]}}'),
    st.sampled_from(
        ["", "null", "true", "1", '""', "[]", "{}", "{", "}{", '{"verdicts"', "\ud800"]
    ),
    st.sampled_from(["{" * 5_000, '{"a":' * 5_000, "[{" * 5_000, "```\n" * 5_000, "{}" * 5_000]),
    st.sampled_from(_NUMBERS),
)


@st.composite
def _aimed(draw: st.DrawFn, refs: Sequence[str]) -> str:
    verdicts = [_verdict(draw, refs) for _ in range(draw(st.integers(0, 3)))]
    if verdicts and draw(st.booleans()):
        verdicts.append(verdicts[0] | {"severity": draw(st.sampled_from(SEVERITIES))})
    document: dict[str, Any] = {"verdicts": verdicts}
    if draw(st.integers(0, 9)) == 0:
        document[draw(st.sampled_from(["verdict", "notes", "tool_calls", ""]))] = draw(_junk)
    if draw(st.integers(0, 9)) == 0:
        document["verdicts"] = draw(_junk)
    return draw(st.sampled_from(_WRAPPINGS))(_written(document))


def hostile_answers(refs: Sequence[str]) -> st.SearchStrategy[str]:
    """Bodies that the server would return, valid ones among them.

    Args:
        refs: what the flags are called in the question; one or more.
    """
    aimed = _aimed(refs)
    return st.one_of(aimed, aimed, aimed, _hostile_texts)
