"""Strict schemas out, and the one valid answer in."""

from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from audit_pipeline.adapters.llm.schema import InvalidAnswer, lifted, strict_schema


class Colour(StrEnum):
    RED = "red"


class Inner(BaseModel):
    default: str = "a field of that name"
    note: str | None = None


class Outer(BaseModel):
    colour: Colour
    inner: Inner
    many: list[Inner] = Field(default_factory=list)


class Flat(BaseModel):
    text: str


def same(text: str) -> str:
    return text


def objects(node: Any) -> list[dict[str, Any]]:
    """Every object schema within a schema."""
    if isinstance(node, list):
        return [found for item in node for found in objects(item)]
    if not isinstance(node, dict):
        return []
    own = [node] if "properties" in node else []
    return own + [found for value in node.values() for found in objects(value)]


def test_every_object_is_strict():
    found = objects(strict_schema(Outer))
    assert len(found) == 2
    for schema in found:
        assert schema["additionalProperties"] is False
        assert schema["required"] == list(schema["properties"])
        for declared in schema["properties"].values():
            assert "default" not in declared
    assert any("default" in schema["properties"] for schema in found)


@given(st.text(max_size=100))
def test_what_was_written_is_read(text: str):
    said = Flat(text=text)
    for written in (
        said.model_dump_json(),
        f"```json\n{said.model_dump_json(indent=1)}\n```" if "```" not in text else "",
        f"So: {said.model_dump_json()} (that is it)",
    ):
        if written:
            assert lifted(written, Flat, same) == said


@given(st.text(max_size=300))
def test_anything_else_is_invalid_and_nothing_worse(text: str):
    with pytest.raises(InvalidAnswer):
        lifted(text.replace('"text"', ""), Flat, same)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"text": 3}', "text: Input should be a valid string"),
        ('{"words": "x"}', "text: Field required"),
        ('{"text": "a"} {"text": "b"}', "more than one answer"),
        ("[1, 2]", "no JSON object"),
        ("null", "no JSON object"),
    ],
)
def test_why_an_answer_is_invalid(text: str, said: str):
    with pytest.raises(InvalidAnswer, match=said):
        lifted(text, Flat, same)


def test_an_error_does_not_repeat_the_value():
    with pytest.raises(InvalidAnswer) as told:
        lifted('{"text": ["a secret"]}', Flat, same)
    assert "secret" not in str(told.value)


def test_every_text_is_cleaned():
    cleaned = lifted('{"text": "a"}', Flat, lambda text: text.replace("a", "b"))
    assert cleaned == Flat(text="b")
    with pytest.raises(InvalidAnswer):  # names too
        lifted('{"text": "a"}', Flat, str.upper)
