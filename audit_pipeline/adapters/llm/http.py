"""One request to a chat completion endpoint, and what its reply says.

The requests of all threads run on one event loop, because only a cancelled task ends a reply that
drips in for ever: the timeouts of a socket start again with each byte.
"""

import asyncio
import concurrent.futures
import contextlib
import json
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Self

from audit_pipeline.adapters.llm.prompt import Message
from audit_pipeline.adapters.llm.retry import AttemptFailed, failed_by_status
from audit_pipeline.model.question import Endpoint, Outcome

REPLY_BYTES_MAX = 4_000_000
TOKENS_MAX = 100_000_000
"""What a provider counts beyond this is no count."""

GRACE_SECONDS = 0.05
"""For a cancelled request to close its connection."""

CLOSE_SECONDS_MAX = 5.0

_ERROR_STATUS = 400


@dataclass(frozen=True)
class Reply:
    """A completion.

    Attributes:
        text: what the model wrote; empty where it refused.
        refusal: why it refused; empty where it did not.
        tokens_in: None where the provider did not say.
        tokens_out: likewise.
    """

    text: str
    refusal: str
    tokens_in: int | None
    tokens_out: int | None


class ChatClient:
    """The openai client on an event loop in a thread of its own; usable from any thread."""

    def __init__(self, endpoint: Endpoint) -> None:
        import httpx2
        import openai

        self._endpoint = endpoint
        self._openai = openai
        self._httpx2 = httpx2
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="language-model", daemon=True
        )
        self._thread.start()
        self._client = openai.AsyncOpenAI(
            api_key=endpoint.api_key,
            base_url=endpoint.base_url,
            max_retries=0,
            # a redirect would carry the prompt to another place than the one that was configured
            http_client=openai.DefaultAsyncHttpxClient(follow_redirects=False),
        )
        # the client takes these from variables that are meant for another service
        self._client.organization = None
        self._client.project = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_fault: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection and end the thread."""
        if self._loop.is_closed():
            return
        with contextlib.suppress(TimeoutError):
            self._wait(self._client.close(), CLOSE_SECONDS_MAX)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CLOSE_SECONDS_MAX)
        if not self._thread.is_alive():
            self._loop.close()

    def ask(
        self, model: str, messages: list[Message], schema: dict[str, Any], seconds_max: float
    ) -> Reply:
        """One request.

        Raises:
            AttemptFailed: there is no completion; `UNAVAILABLE` also where the time was over.
        """
        late = AttemptFailed(
            Outcome.UNAVAILABLE,
            f"no reply within {seconds_max:.1f} s",
            again=True,
            unhealthy=True,
        )
        try:
            body = self._wait(
                self._within(self._post(model, messages, schema, seconds_max), seconds_max),
                seconds_max + GRACE_SECONDS,
            )
        except TimeoutError as fault:
            raise late from fault
        return _reply(body)

    def _wait(self, task: Coroutine[Any, Any, Any], seconds: float) -> Any:
        running = asyncio.run_coroutine_threadsafe(task, self._loop)
        try:
            return running.result(seconds)
        except concurrent.futures.TimeoutError:
            running.cancel()
            raise

    @staticmethod
    async def _within(task: Coroutine[Any, Any, bytes], seconds: float) -> bytes:
        async with asyncio.timeout(seconds):
            return await task

    async def _post(
        self, model: str, messages: list[Message], schema: dict[str, Any], seconds_max: float
    ) -> bytes:
        openai = self._openai
        completions: Any = self._client.chat.completions
        try:
            async with completions.with_streaming_response.create(
                model=model,
                messages=messages,
                temperature=0,
                max_tokens=self._endpoint.tokens_out_max,
                response_format={
                    "type": "json_schema",
                    "json_schema": {"name": "answer", "strict": True, "schema": schema},
                },
                timeout=seconds_max,
            ) as response:
                return await _whole(response)
        except openai.APIStatusError as fault:
            raise failed_by_status(
                fault.status_code, fault.message, fault.response.headers
            ) from fault
        except openai.APITimeoutError as fault:
            raise TimeoutError from fault
        except (openai.OpenAIError, self._httpx2.HTTPError) as fault:
            cause = fault.__cause__ or fault
            raise AttemptFailed(
                Outcome.UNAVAILABLE,
                f"{type(cause).__name__}: {cause}",
                again=True,
                free=isinstance(cause, self._httpx2.ConnectError),
                unhealthy=True,
            ) from fault


async def _whole(response: Any) -> bytes:
    body = bytearray()
    async for chunk in response.iter_bytes():
        body += chunk
        if len(body) > REPLY_BYTES_MAX:
            raise AttemptFailed(
                Outcome.UNAVAILABLE, f"a reply of more than {REPLY_BYTES_MAX} bytes", unhealthy=True
            )
    return bytes(body)


def _reply(body: bytes) -> Reply:
    try:
        document = json.loads(body)
        if isinstance(document.get("error"), dict):
            raise _failed_within(document["error"])
        choice = document["choices"][0]
        message = choice["message"]
        text, refusal = message.get("content") or "", message.get("refusal") or ""
        if choice.get("finish_reason") == "content_filter":
            refusal = refusal or "stopped by the provider's content filter"
        usage = document.get("usage") or {}
        return Reply(
            text=_joined(text),
            refusal=str(refusal),
            tokens_in=_count(usage.get("prompt_tokens")),
            tokens_out=_count(usage.get("completion_tokens")),
        )
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as fault:
        raise AttemptFailed(
            Outcome.UNAVAILABLE,
            f"the reply is no chat completion ({type(fault).__name__}, {len(body)} bytes)",
            again=True,
            unhealthy=True,
        ) from fault


def _failed_within(error: dict[str, Any]) -> AttemptFailed:
    """An error that came with status 200: the provider had begun to answer, and may charge."""
    code = error.get("code")
    status = code if isinstance(code, int) and code >= _ERROR_STATUS else 502
    failed = failed_by_status(status, str(error.get("message", "")), {})
    failed.free = False
    return failed


def _joined(content: Any) -> str:
    if isinstance(content, list):  # some endpoints answer in parts
        return "".join(part.get("text") or "" for part in content)
    if not isinstance(content, str):
        raise TypeError("a completion's content is text")
    return content


def _count(tokens: Any) -> int | None:
    counts = isinstance(tokens, int) and not isinstance(tokens, bool) and 0 <= tokens <= TOKENS_MAX
    return tokens if counts else None
