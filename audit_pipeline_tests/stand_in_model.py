"""A stand-in for a language model, behind the tests' endpoint: it reads the prompt and answers.

It is no model: it copies facts into sentences and judges by the score that it is shown. What a real
one would say is not known here; what must hold whatever it says is tested with it.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from audit_pipeline_tests.model_server import Handler, completion

FENCE = re.compile(r"<<<BEGIN DATA (\w+)>>>\n(.*?)\n<<<END DATA \1>>>", re.DOTALL)
PAYMENT = re.compile(r"Payment (P[0-9]+):\n")
BYTES_A_TOKEN = 4

Facts = Mapping[str, str]
Answer = dict[str, Any]


@dataclass(frozen=True)
class StandIn:
    """How it answers.

    Attributes:
        verdict: facts of a payment → severity and reason.
        explain: facts of a payment → explanation.
    """

    verdict: Callable[[Facts], tuple[str, str]]
    explain: Callable[[Facts], str]

    def __call__(self, handler: Handler) -> None:
        """Answer the request that has just arrived."""
        body = handler.body
        messages = json.loads(body)["messages"]
        prompt = messages[-1]["content"]
        text = json.dumps(self.answer(prompt))
        tokens = (len(body.encode()) // BYTES_A_TOKEN, len(text.encode()) // BYTES_A_TOKEN)
        handler.reply(json.dumps(completion(text, tokens=tokens)).encode())

    def answer(self, prompt: str) -> Answer:
        """Verdicts where the payments have names, else an explanation."""
        shown = [facts_of(found[2]) for found in FENCE.finditer(prompt)]
        names = PAYMENT.findall(FENCE.sub("", prompt))
        if not names:
            return {"explanation": self.explain(shown[0])}
        verdicts = [
            {"ref": name, "severity": severity, "confidence": 0.9, "reason": reason}
            for name, facts in zip(names, shown, strict=True)
            for severity, reason in [self.verdict(facts)]
        ]
        return {"verdicts": verdicts}


def facts_of(text: str) -> dict[str, str]:
    """The first value of each name."""
    facts: dict[str, str] = {}
    for line in text.splitlines():
        name, _, value = line.partition(": ")
        facts.setdefault(name, value)
    return facts


def by_score(facts: Facts) -> tuple[str, str]:
    """WARNING from fifty points on, where the specification has it; never more."""
    amount, vendor = facts.get("amount", "An amount"), facts.get("vendor", "a vendor")
    return ("WARNING" if int(facts["score"]) >= 50 else "INFO"), f"{amount} at {vendor}."


def stricter(facts: Facts) -> tuple[str, str]:
    """Everything CRITICAL."""
    return "CRITICAL", by_score(facts)[1]


def in_a_sentence(facts: Facts) -> str:
    """What the rules say, in the words of the facts."""
    return f"{facts.get('amount', '?')} at {facts.get('vendor', '?')} is unusual there."


CAREFUL = StandIn(by_score, in_a_sentence)
STRICT = StandIn(stricter, in_a_sentence)
