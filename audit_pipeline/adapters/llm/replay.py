"""A language model that answers from a recording, for tests and for runs that must repeat."""

import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError
from sqlalchemy import select

from audit_pipeline.adapters.llm.prompt import Prompt, prompt_of
from audit_pipeline.adapters.store import Store
from audit_pipeline.adapters.store.schema import LLM_CALLS
from audit_pipeline.model.errors import BadUsage
from audit_pipeline.model.question import CONCURRENCY, Answer, Endpoint, Outcome, Question
from audit_pipeline.model.trail import canonical


class ReplayedLLM:
    """Answers what was recorded, by the hash of the prompt; nothing else, and never a guess.

    Args:
        recording: JSON lines, each with `prompt_sha256` and `answer`; see `write_recording`.
        endpoint: its models and key are part of what a prompt looks like; it is not asked.

    Raises:
        BadUsage: the recording cannot be read, or holds two answers to one prompt.
    """

    def __init__(self, recording: Path, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._answers = _read(recording)

    def call_llm(self, question: Question) -> Answer:
        """The recorded answer, or the outcome "not recorded"."""
        prompt = prompt_of(question, self._endpoint)
        found = self._answers.get(prompt.sha256)
        if found is None:
            return _answer(prompt, Outcome.NOT_RECORDED)
        try:
            value = question.schema.model_validate_json(found)
        except ValidationError as fault:
            return _answer(prompt, Outcome.INVALID, f"{fault.error_count()} error(s)")
        return Answer(
            value,
            Outcome.ANSWERED,
            model=prompt.model,
            cached=True,
            prompt_hash=prompt.sha256,
        )

    def batch_call_llm(
        self, questions: Sequence[Question], concurrency: int = CONCURRENCY
    ) -> list[Answer]:
        """The recorded answers, in the order of the questions."""
        return [self.call_llm(question) for question in questions]


def _answer(prompt: Prompt, outcome: Outcome, error: str = "") -> Answer:
    return Answer(None, outcome, model=prompt.model, prompt_hash=prompt.sha256, error=error)


def _read(recording: Path) -> dict[str, str]:
    answers: dict[str, str] = {}
    try:
        lines = recording.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as fault:
        raise BadUsage(f"cannot read the recording {recording}: {fault}") from fault
    for number, line in enumerate(lines, 1):
        try:
            said = json.loads(line)
            sha256, answer = said["prompt_sha256"], canonical(said["answer"]).decode()
        except (ValueError, LookupError, TypeError) as fault:
            raise BadUsage(
                f"{recording}, line {number}: write a JSON object with prompt_sha256 and answer"
            ) from fault
        if answers.setdefault(sha256, answer) != answer:
            raise BadUsage(f"{recording}, line {number}: another answer to a prompt above")
    return answers


def write_recording(store: Store, recording: Path, audit_run_id: str | None = None) -> int:
    """Write what a store's runs, or one of them, were answered; the latest answer to a prompt.

    Returns:
        How many prompts it answers.
    """
    columns = LLM_CALLS.c
    query = (
        select(columns.prompt_sha256, columns.model, columns.answer)
        .where(columns.answer.is_not(None))
        .order_by(columns.started_at, columns.call_id)
    )
    if audit_run_id is not None:
        query = query.where(columns.audit_run_id == audit_run_id)
    with store.reading() as connection:
        lines = {
            sha256: {"prompt_sha256": sha256, "model": model, "answer": json.loads(answer)}
            for sha256, model, answer in connection.execute(query)
        }
    text = "".join(f"{canonical(lines[sha256]).decode()}\n" for sha256 in sorted(lines))
    recording.write_text(text, encoding="utf-8")
    return len(lines)
