"""A Pydantic model as a strict JSON schema, and an instance of it out of what a model wrote."""

import json
import re
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

Schema = TypeVar("Schema", bound=BaseModel)

STARTS_MAX = 200
"""Opening braces that are tried before a text is given up."""

ERRORS_MAX = 5

NESTED_MAX = 50
"""Objects and lists within each other; Python itself gives up at about a thousand."""

# the line end is matched in one way only: empty lines without an end would be tried in pairs
_FENCE = re.compile(r"```[A-Za-z0-9_-]*[^\S\n]*+\n(.*?)```", re.DOTALL)


class _Doubled(dict[str, Any]):
    """An object that names a key twice: which of the two counts is an accident of the reader."""


class InvalidAnswer(ValueError):
    """A text holds no answer of the schema, or more than one; the message tells the model why."""


@lru_cache(maxsize=256)
def strict_schema(schema: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema in the form that strict output needs.

    Every object names all of its properties as required and allows no others; defaults go,
    since a property that is always there has none. Made once for a model; not to be changed.
    """
    return _strict(schema.model_json_schema(mode="validation"))


def _strict(node: Any) -> Any:
    if isinstance(node, list):
        return [_strict(item) for item in node]
    if not isinstance(node, dict):
        return node
    made = {key: _strict(value) for key, value in node.items() if key != "default"}
    named = node.get("properties")
    if isinstance(named, dict):
        # below `properties` the keys are names, also one that is called "default"
        made["properties"] = {name: _strict(value) for name, value in named.items()}
        made["required"] = list(named)
        made["additionalProperties"] = False
    return made


def lifted(text: str, schema: type[Schema], clean: Callable[[str], str]) -> Schema:
    """The one object in `text` that is of the schema, with or without fences and prose around it.

    Args:
        clean: what every text within the answer goes through.

    Raises:
        InvalidAnswer: there is none, or there are several that differ.
    """
    found: list[Schema] = []
    error = "there is no JSON object in it"
    for document in _objects(text):
        try:
            value = schema.model_validate_json(json.dumps(_cleaned(document, clean)), strict=True)
        except ValidationError as fault:
            error = _told(fault)
        except InvalidAnswer as fault:
            error = str(fault)
        else:
            if value not in found:
                found.append(value)
    if len(found) == 1:
        return found[0]
    raise InvalidAnswer("there is more than one answer in it" if found else error)


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """JSON objects: the whole text, else those in its fences, else those within its prose."""
    for candidates in ([text], _FENCE.findall(text)):
        whole = [document for piece in candidates if (document := _parsed(piece)) is not None]
        if whole:
            yield from whole
            return
    decoder = json.JSONDecoder(parse_constant=_no_constant, object_pairs_hook=_object)
    at = text.find("{")
    for _ in range(STARTS_MAX):
        if at < 0:
            return
        try:
            document, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            end = at + 1
        else:
            yield document
        at = text.find("{", end)


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        document = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_object)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    return made if len(made) == len(pairs) else _Doubled(made)


def _cleaned(node: Any, clean: Callable[[str], str], depth: int = 0) -> Any:
    if depth > NESTED_MAX:
        raise InvalidAnswer(f"more than {NESTED_MAX} objects and lists stand within each other")
    if isinstance(node, str):
        return clean(node)
    if isinstance(node, list):
        return [_cleaned(item, clean, depth + 1) for item in node]
    if isinstance(node, dict):
        made = {clean(key): _cleaned(value, clean, depth + 1) for key, value in node.items()}
        if isinstance(node, _Doubled) or len(made) < len(node):
            raise InvalidAnswer("an object names a key twice")
        return made
    # 1e999 is infinite where it is read, and so is 9 × 400 digits in a field of floats
    if isinstance(node, int | float) and abs(node) > sys.float_info.max:
        raise InvalidAnswer("a number is too large")
    return node


def _told(fault: ValidationError) -> str:
    """Where and what, without the value: it may be anything."""
    errors = fault.errors(include_url=False, include_context=False, include_input=False)
    told = [
        f"{'.'.join(map(str, error['loc'])) or '(answer)'}: {error['msg']}"
        for error in errors[:ERRORS_MAX]
    ]
    return "; ".join(told)
