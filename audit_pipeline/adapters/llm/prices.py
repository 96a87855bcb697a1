"""What a language model's tokens cost, from a price file: the packaged one, or the user's own."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from importlib import resources
from pathlib import Path

import yaml

from audit_pipeline.model.errors import BadUsage

PER_TOKENS = 1_000_000
DOLLARS_SCALE = Decimal("0.000001")
PRICE_MAX = Decimal(10_000)
"""Dollars per million tokens; more is a slip of the decimal point."""


@dataclass(frozen=True)
class Price:
    """US dollars per million tokens."""

    input: Decimal
    output: Decimal


@dataclass(frozen=True)
class Prices:
    """The models that may be asked, and their prices.

    Attributes:
        source: the file, for messages.
    """

    by_model: Mapping[str, Price]
    source: str

    def of(self, model: str) -> Price:
        """The price of a model.

        Raises:
            BadUsage: no price is known; the message lists the models that have one.
        """
        found = self.by_model.get(model)
        if found is None:
            raise BadUsage(
                f"no price is known for the model {model!r}, so it is not asked; "
                f"{self.source} knows {', '.join(sorted(self.by_model))}; choose one of them by "
                "LLM_MODEL_DEFAULT and LLM_MODEL_EDGE, or name a file with its price by LLM_PRICES"
            )
        return found

    def calculate_cost(self, model: str, tokens_in: int, tokens_out: int) -> Decimal:
        """US dollars, rounded up to a millionth.

        Raises:
            BadUsage: no price is known for the model.
            ValueError: a number of tokens is negative.
        """
        if tokens_in < 0 or tokens_out < 0:
            raise ValueError(f"{tokens_in} and {tokens_out} tokens: neither may be negative")
        price = self.of(model)
        dollars = (price.input * tokens_in + price.output * tokens_out) / PER_TOKENS
        return dollars.quantize(DOLLARS_SCALE, rounding=ROUND_CEILING)


def calculate_cost(
    model: str, tokens_in: int, tokens_out: int, prices: Prices | None = None
) -> Decimal:
    """US dollars by the packaged prices, or by others; see `Prices.calculate_cost`."""
    return (prices or load_prices(None)).calculate_cost(model, tokens_in, tokens_out)


def load_prices(path: Path | None) -> Prices:
    """The prices of a file; of the packaged one for None.

    Raises:
        BadUsage: the file cannot be read, or has mistakes: all of them at once.
    """
    source = "llm_prices.yaml" if path is None else str(path)
    try:
        document: object = yaml.safe_load(_text(path))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as fault:
        raise BadUsage(f"cannot read the price file {source}: {fault}") from fault
    models: object = document.get("models") if isinstance(document, dict) else None
    if not isinstance(models, dict) or not models:
        raise BadUsage(
            f"{source}: write `models:` and below it, for each model, "
            "`name: {input: dollars, output: dollars}` per million tokens"
        )
    mistakes: list[str] = []
    by_model = {
        str(name): Price(
            _dollars(price, "input", f"models.{name}", mistakes),
            _dollars(price, "output", f"models.{name}", mistakes),
        )
        for name, price in models.items()
    }
    if mistakes:
        raise BadUsage(f"{source}:\n" + "\n".join(f"  - {mistake}" for mistake in mistakes))
    return Prices(by_model, source)


def _text(path: Path | None) -> str:
    if path is not None:
        return path.read_text(encoding="utf-8")
    packaged = resources.files("audit_pipeline").joinpath("llm_prices.yaml")
    return packaged.read_text(encoding="utf-8")


def _dollars(price: object, key: str, place: str, mistakes: list[str]) -> Decimal:
    said = price.get(key) if isinstance(price, dict) else None
    try:
        dollars = Decimal(str(said)) if not isinstance(said, bool) else Decimal("NaN")
    except InvalidOperation:
        dollars = Decimal("NaN")
    if not (dollars.is_finite() and 0 <= dollars <= PRICE_MAX):
        mistakes.append(f"{place}.{key}: {said!r} is no number of dollars from 0 to {PRICE_MAX}")
    return dollars
