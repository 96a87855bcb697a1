"""A rule and its thresholds, as `rules.yaml` states them: validated, all mistakes at once."""

from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from audit_pipeline.model.errors import RulesInvalid
from audit_pipeline.model.flag import Severity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Agent = Literal[
    "data_quality", "reconciliation", "anomaly_detection", "context_enrichment", "escalation"
]


class Threshold(BaseModel):
    """One number that a rule compares with: its value, what it may be set to, and why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: Decimal
    floor: Decimal
    ceiling: Decimal
    unit: str
    reason: Annotated[str, Field(min_length=10)]

    @model_validator(mode="after")
    def _within_its_bounds(self) -> "Threshold":
        if not self.floor <= self.value <= self.ceiling:
            message = f"value {self.value} is outside floor {self.floor} … ceiling {self.ceiling}"
            raise ValueError(message)
        return self


class Rule(BaseModel):
    """One audit rule.

    Attributes:
        title: what it looks for, in words.
        version: raised with every change of the SQL or a threshold.
        points: what a finding adds to the severity score.
        group: findings of one group count once, the highest (the specification's "no match").
        at_least: the severity below which nothing may bring a flag that has this finding.
        protected: no escalation rule may lower a flag that has this finding.
        confidence: how often a finding of this rule is right, before any other evidence.
        matures_after_days: the audit of D applies the rule to the cohort dated D − this.
        says: the explanation, filled from the evidence.
        holidays: days off beside the weekends: `2026-11-26` once, `12-25` every year.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: Annotated[str, Field(min_length=5)]
    agent: Agent
    version: Annotated[int, Field(ge=1)]
    points: Annotated[int, Field(ge=0, le=100)] = 0
    group: str = ""
    at_least: Severity | None = None
    protected: bool = False
    confidence: Annotated[float, Field(ge=0, le=1)] = 0.5
    matures_after_days: Annotated[int, Field(ge=0, le=400)] = 0
    says: str = ""
    holidays: tuple[Annotated[str, Field(pattern=r"^(\d{4}-)?\d{2}-\d{2}$")], ...] = ()
    thresholds: dict[str, Threshold] = Field(default_factory=dict)
    names: tuple[str, ...] = ()

    def value(self, name: str) -> Decimal:
        """The value of one threshold.

        Raises:
            KeyError: the rule has no such threshold.
        """
        return self.thresholds[name].value

    def number(self, name: str) -> float:
        """The same as a float, for what is not money."""
        return float(self.thresholds[name].value)

    def whole(self, name: str) -> int:
        """The same as an int, for counts and days."""
        return int(self.thresholds[name].value)


class _RulesFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    rules: dict[Annotated[str, Field(pattern=r"^(DQ|RC|AN|CX|ES)-\d{2}$")], Rule]


@dataclass(frozen=True)
class Rules:
    """All rules by id, in the order of the file."""

    by_id: "Mapping[str, Rule]"

    def __getitem__(self, rule_id: str) -> Rule:
        return self.by_id[rule_id]

    def __iter__(self) -> "Iterator[tuple[str, Rule]]":
        return iter(self.by_id.items())


def parse_rules(document: object, source: str = "rules.yaml") -> Rules:
    """The rules of a parsed YAML document.

    Raises:
        RulesInvalid: with every mistake in it, each with its key path.
    """
    try:
        parsed = _RulesFile.model_validate(document)
    except ValidationError as invalid:
        mistakes = [
            f"{'.'.join(str(part) for part in error['loc']) or '(file)'}: {error['msg']}"
            for error in invalid.errors()
        ]
        raise RulesInvalid(source, mistakes) from invalid
    return Rules(MappingProxyType(parsed.rules))
