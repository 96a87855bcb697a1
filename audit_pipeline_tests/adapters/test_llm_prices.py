"""What tokens cost: exact, never rounded down, and never guessed."""

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_pipeline.adapters.llm.prices import calculate_cost, load_prices
from audit_pipeline.model.errors import BadUsage
from audit_pipeline.model.question import Endpoint


def test_the_packaged_prices():
    assert calculate_cost("openai/gpt-4o-mini", 1_000_000, 0) == Decimal("0.15")
    assert calculate_cost("openai/gpt-4o-mini", 0, 1_000_000) == Decimal("0.60")
    assert calculate_cost("openai/gpt-4-turbo", 3, 2) == Decimal("0.00009")


def test_the_models_that_are_asked_by_default_have_a_price():
    prices = load_prices(None)
    assert {Endpoint().model_default, Endpoint().model_edge} <= set(prices.by_model)


@given(st.integers(0, 10**7), st.integers(0, 10**7))
def test_never_rounded_down(tokens_in: int, tokens_out: int):
    cost = calculate_cost("openai/gpt-4o-mini", tokens_in, tokens_out, PACKAGED)
    exact = (Decimal("0.15") * tokens_in + Decimal("0.6") * tokens_out) / 1_000_000
    assert 0 <= cost - exact < Decimal("0.000001")


PACKAGED = load_prices(None)


def test_an_unknown_model_is_refused_with_the_list():
    with pytest.raises(BadUsage, match=r"gpt-9.*anthropic/claude.*openai/gpt-4o-mini.*LLM_PRICES"):
        calculate_cost("gpt-9", 1, 1)


@pytest.mark.parametrize("tokens", [(-1, 0), (0, -1)])
def test_negative_tokens(tokens: tuple[int, int]):
    with pytest.raises(ValueError, match="negative"):
        calculate_cost("openai/gpt-4o-mini", *tokens)


def test_prices_of_ones_own(tmp_path: Path):
    path = tmp_path / "prices.yaml"
    path.write_text("models: {local: {input: 0, output: 0.1}}")
    prices = load_prices(path)
    assert prices.calculate_cost("local", 10**6, 10**6) == Decimal("0.1")
    with pytest.raises(BadUsage, match=r"prices\.yaml knows local;"):
        prices.calculate_cost("openai/gpt-4o-mini", 1, 1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("models: [", "cannot read"),
        ("", "write `models:`"),
        ("models: []", "write `models:`"),
        ("- a", "write `models:`"),
        ("models: {a: {input: 1}}", r"models\.a\.output: None"),
        ("models: {a: {input: -1, output: 1}}", r"models\.a\.input: -1"),
        ("models: {a: {input: .nan, output: .inf}}", r"a\.input: nan.*\n.*a\.output: inf"),
        ("models: {a: {input: true, output: much}}", r"a\.input: True.*\n.*a\.output: 'much'"),
        ("models: {a: 3}", r"models\.a\.input: None"),
        ("models: {a: {input: 150000, output: 1}}", r"models\.a\.input: 150000"),
    ],
)
def test_every_mistake_of_a_price_file(tmp_path: Path, text: str, said: str):
    path = tmp_path / "prices.yaml"
    path.write_text(text)
    with pytest.raises(BadUsage, match=said):
        load_prices(path)


def test_a_price_file_that_is_not_there(tmp_path: Path):
    with pytest.raises(BadUsage, match="cannot read the price file"):
        load_prices(tmp_path / "none.yaml")
