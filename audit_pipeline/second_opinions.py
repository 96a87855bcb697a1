"""Asking a language model about the flags that the rules are unsure of, and keeping what it said.

What was asked and answered is stored with the flags of the day (`escalated_flags`), so that
publishing them, today or once more, needs no model.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

import pyarrow as pa

from audit_pipeline.adapters.llm import NoLLM
from audit_pipeline.agents import escalation
from audit_pipeline.agents.escalation import Choice, Opinion
from audit_pipeline.agents.escalation.opinions import AGENT
from audit_pipeline.model.flag import Severity
from audit_pipeline.model.query import Query
from audit_pipeline.model.question import Answer, LanguageModel
from audit_pipeline.publishing import Raised
from audit_pipeline.steps import Step

TEXTS = ("basis", "outcome", "severity", "reason", "explained", "explanation")
"""Columns of an opinion that are texts; an empty one where there is none."""
PREFIX = "model_"


@dataclass(frozen=True)
class Asked:
    """What a run asked a model, and what came of it.

    Attributes:
        transactions: of the audited days, flagged or not.
        rules_raised: the flags as the rules left them.
        raised: the flags as they are to be published.
        is_off: nobody was asked, because there is no model.
    """

    choice: Choice
    opinions: list[Opinion]
    answers: list[Answer]
    transactions: int
    rules_raised: Raised
    raised: Raised
    is_off: bool = False

    def counts(self) -> dict[str, int]:
        """For the trail and the UI; what became of the questions, and of the flags."""
        if self.is_off:
            return {"model_off": len(self.choice.asked)}
        outcomes = Counter(f"model_{answer.outcome}" for answer in self.answers)
        return {
            "model_asked": len(self.choice.asked),
            "model_held_back": len(self.choice.held_back),
            "model_left_out": self.choice.left,
            "model_questions": len(self.answers),
            **{name.replace(" ", "_"): n for name, n in sorted(outcomes.items())},
            "model_raised": self.changed("severity_level"),
            "model_explained": self.changed("explanation"),
            "model_texts_refused": sum(opinion.refused for opinion in self.opinions),
        }

    def changed(self, attribute: str) -> int:
        """In how many flags the model changed it."""
        pairs = zip(self.rules_raised.flags, self.raised.flags, strict=True)
        return sum(
            getattr(before, attribute) != getattr(after, attribute) for before, after in pairs
        )

    def spent(self) -> dict[str, float | int]:
        """Numbers that Dagster draws over time, by agent."""
        return {
            f"{AGENT}_model_cost_dollars": float(sum((a.cost for a in self.answers), Decimal(0))),
            f"{AGENT}_model_tokens_in": sum(answer.tokens_in for answer in self.answers),
            f"{AGENT}_model_tokens_out": sum(answer.tokens_out for answer in self.answers),
            f"{AGENT}_model_share_of_transactions": self.share,
        }

    @property
    def share(self) -> float:
        """Of the audited transactions, those that a model saw something of."""
        answered = any(answer.attempts or answer.cached for answer in self.answers)
        return len(self.choice.asked) / self.transactions if answered and self.transactions else 0.0

    def table(self) -> pa.Table:
        """One row per flag, with its opinion."""
        by_flag = {opinion.flag_id: opinion for opinion in self.opinions}
        none = Opinion("", "")
        opinions = [by_flag.get(flag.flag_id, none) for flag in self.raised.flags]
        table = self.raised.table()
        for name in TEXTS:
            texts = [str(getattr(opinion, name) or "") for opinion in opinions]
            table = table.append_column(PREFIX + name, pa.array(texts, pa.string()))
        held_back = pa.array([opinion.held_back for opinion in opinions], pa.bool_())
        return table.append_column(f"{PREFIX}held_back", held_back)


def ask(step: Step, model: LanguageModel, raised: Raised) -> Asked:
    """Choose, ask, and add what is usable to the flags."""
    count = Query(
        "SELECT count(*) FROM audit.transactions WHERE audit_on BETWEEN $from_on AND $to_on",
        {"from_on": raised.from_on, "to_on": raised.to_on},
    )
    transactions = int(str(step.books.warehouse.value(count) or 0))
    rules = step.gold.rules
    choice = escalation.choose(raised.flags, rules, transactions)
    if isinstance(model, NoLLM):  # asking takes milliseconds a flag, also where nobody listens
        return Asked(choice, [], [], transactions, raised, raised, is_off=True)
    opinions, answers = escalation.second_opinions(model, choice, rules)
    return Asked(choice, opinions, answers, transactions, raised, with_opinions(raised, opinions))


def with_opinions(raised: Raised, opinions: Iterable[Opinion]) -> Raised:
    """The flags with what a model adds to each."""
    by_flag: Mapping[str, Opinion] = {opinion.flag_id: opinion for opinion in opinions}
    return replace(
        raised,
        flags=[escalation.with_opinion(flag, by_flag.get(flag.flag_id)) for flag in raised.flags],
    )


def stored(table: pa.Table | None) -> list[Opinion]:
    """The opinions that are kept with the flags of these days."""
    if table is None or f"{PREFIX}basis" not in table.column_names:
        return []
    return [
        Opinion(
            flag_id=row["flag_id"],
            basis=row["model_basis"],
            outcome=row["model_outcome"],
            severity=Severity(row["model_severity"]) if row["model_severity"] else None,
            reason=row["model_reason"],
            explained=row["model_explained"],
            explanation=row["model_explanation"],
            held_back=row["model_held_back"],
        )
        for row in table.to_pylist()
        if row["model_basis"]
    ]
