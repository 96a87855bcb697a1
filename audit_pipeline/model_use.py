"""What asking a language model cost, and what came of it: `audit-pipeline model`."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from audit_pipeline.adapters.llm.calls import Calls, calls_of
from audit_pipeline.adapters.store import Store
from audit_pipeline.adapters.store.rows import FlagRow
from audit_pipeline.agents import escalation
from audit_pipeline.model.decision import Verdict
from audit_pipeline.model.rule import Rules

CONFIRMED = (Verdict.APPROVED, Verdict.REJECTED)
"""What a reviewer says of a flag that deserved the look."""


@dataclass(frozen=True)
class Band:
    """Flags in the uncertain band, all asked about or all held back.

    Attributes:
        raised: by the model.
        decided: by a person; `confirmed` of them were no false positives.
    """

    flags: int
    raised: int
    decided: int
    confirmed: int


@dataclass(frozen=True)
class ModelUse:
    """All that was asked, and what it changed.

    Attributes:
        asked: uncertain flags that a model may be asked about.
        held_back: uncertain flags that are never asked about, to compare with.
        raised_and_confirmed: flags that a model raised and a person found worth it.
    """

    calls: list[Calls]
    asked: Band
    held_back: Band
    raised_and_confirmed: int

    @property
    def cost(self) -> Decimal:
        """US dollars."""
        return sum((calls.cost for calls in self.calls), Decimal(0))

    @property
    def cost_of_one(self) -> Decimal | None:
        """US dollars for each flag that was raised and confirmed; None while there is none."""
        return self.cost / self.raised_and_confirmed if self.raised_and_confirmed else None


def model_use(store: Store, rules: Rules) -> ModelUse:
    """Of everything in the store."""
    bands: dict[bool, list[FlagRow]] = {False: [], True: []}
    for flag in store.flags(state=None):
        if escalation.is_uncertain(flag.severity_score, rules):
            bands[escalation.is_held_back(flag.flag_id, rules)].append(flag)
    asked = _band(bands[False])
    confirmed = _confirmed(bands[False], raised=True)
    return ModelUse(calls_of(store), asked, _band(bands[True]), confirmed)


def as_json(use: ModelUse) -> dict[str, object]:
    """All of it; dollars as texts, so that none is rounded."""
    return {
        "calls": [{**asdict(calls), "cost": str(calls.cost)} for calls in use.calls],
        "cost": str(use.cost),
        "uncertain": {"asked": asdict(use.asked), "held_back": asdict(use.held_back)},
        "raised_and_confirmed": use.raised_and_confirmed,
        "cost_of_one": None if use.cost_of_one is None else str(use.cost_of_one),
    }


def show(console: Console, use: ModelUse) -> None:
    """Two tables and a sentence."""
    if not use.calls:
        console.print("No language model was asked. Set OPENROUTER_API_KEY to turn it on.")
        return
    table = Table("agent", "purpose", "model", "ended", title="Questions", title_justify="left")
    for name in ("attempts", "tokens in", "tokens out", "dollars"):
        table.add_column(name, justify="right")
    for calls in use.calls:
        counts = (calls.attempts, calls.tokens_in, calls.tokens_out)
        table.add_row(
            *map(escape, (calls.agent, calls.purpose, calls.model, calls.outcome)),
            *(f"{count:,}" for count in counts),
            f"{calls.cost:.4f}",
        )
    console.print(table)
    bands = Table("uncertain flags", title="What came of it", title_justify="left")
    for name in ("flags", "raised", "decided", "confirmed"):
        bands.add_column(name, justify="right")
    for name, band in (("asked about", use.asked), ("held back", use.held_back)):
        counts = (band.flags, band.raised, band.decided, band.confirmed)
        bands.add_row(name, *(f"{count:,}" for count in counts))
    console.print(bands)
    one = "none yet" if use.cost_of_one is None else f"{use.cost_of_one:.4f} dollars"
    console.print(f"For each flag that was raised and confirmed: {one}.", highlight=False)


def show_run(console: Console, store: Store, audit_run_id: str) -> None:
    """A line after an audit that asked a model."""
    calls = calls_of(store, audit_run_id)
    if calls:
        requests = sum(one.attempts for one in calls)
        cost = sum((one.cost for one in calls), Decimal(0))
        console.print(
            f"A language model was asked {requests:,} times, for {cost:.4f} dollars; "
            "audit-pipeline model   shows what came of it.",
            highlight=False,
        )


def _band(flags: Sequence[FlagRow]) -> Band:
    counts = Counter(raised=0, decided=0)
    for flag in flags:
        counts["raised"] += escalation.is_raised(flag.points)
        counts["decided"] += flag.reviewed
    return Band(len(flags), counts["raised"], counts["decided"], _confirmed(flags))


def _confirmed(flags: Sequence[FlagRow], *, raised: bool = False) -> int:
    return sum(
        flag.human_decision in CONFIRMED and (escalation.is_raised(flag.points) or not raised)
        for flag in flags
    )
