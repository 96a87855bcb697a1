"""A question as it leaves: without invisible characters, card numbers and secrets; and its hash."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from audit_pipeline.adapters.llm.schema import strict_schema
from audit_pipeline.model.question import Endpoint, Question
from audit_pipeline.model.trail import canonical
from audit_pipeline.model.untrusted import masked, visible

ERROR_CHARACTERS_MAX = 500
ECHO_CHARACTERS_MAX = 2_000
"""Of an invalid answer, shown to the model again."""

FRAME_TOKENS = 64
"""What a provider puts around a conversation; and around each of its messages, a quarter."""

Message = dict[str, str]


@dataclass(frozen=True)
class Prompt:
    """What is sent.

    Attributes:
        schema: strict, see `strict_schema`.
        sha256: 64 hex digits over model, system, prompt and schema; not over the limits.
    """

    model: str
    system: str
    prompt: str
    schema: dict[str, Any]
    sha256: str

    @property
    def messages(self) -> list[Message]:
        """The conversation as it begins."""
        return [
            {"role": "system", "content": self.system},
            {"role": "user", "content": self.prompt},
        ]


def prompt_of(question: Question, endpoint: Endpoint) -> Prompt:
    """The question as it is sent to that endpoint."""
    sent = {
        "model": endpoint.model(question.tier),
        "system": outward(question.system, endpoint),
        "prompt": outward(question.prompt, endpoint),
        "schema": strict_schema(question.schema),
    }
    return Prompt(**sent, sha256=hashlib.sha256(canonical(sent)).hexdigest())


def outward(text: str, endpoint: Endpoint) -> str:
    """`text` as it may leave: visible, without card numbers and secrets."""
    return masked(visible(text), (endpoint.api_key,))


def error_text(text: str, endpoint: Endpoint) -> str:
    """What went wrong, on one line that may be logged."""
    line = " ".join(outward(text, endpoint).split())
    if len(line) <= ERROR_CHARACTERS_MAX:
        return line
    return line[: ERROR_CHARACTERS_MAX - 1] + "…"


def asked_again(answer: str, error: str, endpoint: Endpoint) -> list[Message]:
    """What the conversation goes on with after an invalid answer."""
    echoed = outward(answer, endpoint)[:ECHO_CHARACTERS_MAX]
    return [
        {"role": "assistant", "content": echoed or "(nothing)"},
        {
            "role": "user",
            "content": f"That is no valid answer: {error_text(error, endpoint)}. Answer again, "
            "with one JSON object of the schema and nothing else.",
        },
    ]


def tokens_in_max(messages: list[Message], schema: dict[str, Any]) -> int:
    """No tokenizer makes more tokens of a request: each token stands for a byte or more."""
    texts = [message["content"] for message in messages]
    contents = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
    frames = FRAME_TOKENS + len(messages) * FRAME_TOKENS // 4
    return contents + len(json.dumps(schema)) + frames
