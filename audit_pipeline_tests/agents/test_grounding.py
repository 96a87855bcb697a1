"""Grounding: what the evidence holds passes in any form, anything else is named."""

import datetime as dt
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_pipeline.agents.escalation.grounding import ungrounded
from audit_pipeline.agents.escalation.grounding.gate import EXPLANATION_CHARACTERS_MAX
from audit_pipeline.model.untrusted import visible
from audit_pipeline_tests.books_of import packaged_rules

FACTS = (
    "1240.00",
    "-75.5",
    "2025-03-12",
    "2025-04-01T08:30:00Z",
    "Northwind Traders",
    "O'Neill & Søn",
    "INV-2025-0042",
    "c0ffee00-1234-4abc-8def-0123456789ab",
    "billing@northwind.example",
    "https://northwind.example/pay",
    "****1111",
    "0077",
    "12 %",
    "0.35",
    "3",
    "20",
    "weekly cleaning, second floor",
    "payment_on",
    "RC-01",
    "No statement payment covers the charge of 1240.00 at Northwind Traders on 2025-03-12.",
)
SAYS = ("{amount} at {vendor} on {charged_on} was approved by {approver}.",)

GROUNDED = (
    # amounts
    "The charge was 1240.00.",
    "The charge was 1,240.00.",
    "The charge was 1240.",
    "The charge was 1,240, unusual there.",
    "The charge was $1,240.00.",
    "The charge was 1,240 dollars.",
    "The charge was US$1,240.",
    "The charge was $ 1,240.",
    "The charge was 1240.00 USD.",
    "The charge was $1.24k.",
    "The charge was 1.24 thousand.",
    "The charge was one thousand two hundred and forty dollars.",
    "The charge was twelve hundred forty dollars.",
    "The charge was \uff11\uff12\uff14\uff10.\uff10\uff10.",
    "A refund of -75.50 followed.",
    "A refund of \u221275.50 followed.",
    "A refund, minus 75.5, followed.",
    # counts and shares
    "It came 20 days later.",
    "It came twenty days later.",
    "It was a 20-day gap.",
    "It was a twenty-day gap.",
    "This is the 3rd of its kind.",
    "This is the third of its kind.",
    "It is 3x the usual.",
    "It grew by 12%.",
    "It grew by 12 percent.",
    "It grew by twelve per cent.",
    "The share is 35 % there.",
    "Of three lines, this one is open.",
    # dates
    "It was charged on 2025-03-12.",
    "It was charged on 2025/03/12.",
    "It was charged on 12 March 2025.",
    "It was charged on March 12, 2025.",
    "It was charged on 12th of March, 2025.",
    "It was charged on 12 Mar 2025.",
    "It was charged on Mar. 12.",
    "It was charged on March 12th.",
    "It was charged on 12/03/2025.",
    "It was charged on 3/12/2025.",
    "It was charged on 12.03.2025.",
    "It was charged on 12/03/25.",
    "It was charged in March 2025.",
    "From 12 March to 1 April nothing came.",
    "The period 2025-03-12\u20132025-04-01 has no line.",
    # names, ids, addresses
    "Northwind Traders charged it.",
    "Nothing covers Northwind's charge.",
    "NORTHWIND TRADERS charged it.",
    "The payee is O'Neill & Søn.",
    "The payee is O\u2019Neill.",
    "See INV-2025-0042.",
    "See invoice (INV-2025-0042), too.",
    "It is c0ffee00-1234-4abc-8def-0123456789ab.",
    "The mail is from billing@northwind.example.",
    "It names https://northwind.example/pay, nothing else.",
    "The card is ****1111.",
    "The number is 0077.",
    "By RC-01 no payment covers it.",
    "The field payment_on is empty.",
    # prose
    "",
    "No payment covers this charge, which is unusual.",
    "The charge isn't covered; the vendor's other charges are.",
    "However, earlier charges were covered (see the line above).",
    "Weekly cleaning was paid, e.g. on the second floor.",
    "It was charged \u2014 as before \u2014 and not covered.",
    "1240.00 at Northwind Traders was approved by O'Neill.",
)

UNGROUNDED = (
    # amounts
    ("The charge was 1,241.00.", "1,241.00"),
    ("The charge was 1240.01.", "1240.01"),
    ("The charge was about 1,200.", "1,200"),
    ("The charge was $1.2k.", "$1.2k"),
    ("The charge was 12,40.00.", "12,40.00"),
    ("The charge was 1.240,00.", "1.240,00"),
    ("The charge was 1 240.00.", "240.00"),
    ("Of 3 20 came.", "3 20"),
    ("The charge was €1,240.00.", "€1,240.00"),
    ("The charge was 1240.00 EUR.", "EUR"),
    ("The charge was 1,240 euros.", "euros"),
    ("The charge was 1,240 cents.", "1,240 cents"),
    ("The charge was 1,240 k.", "1,240 k"),
    ("The charge was 1,240 million.", "1,240 million"),
    ("The charge was -1,240.00.", "-1,240.00"),
    ("The charge was minus 1240.00.", "1240.00"),
    ("The charge was \u2212 1240.00.", "1240.00"),
    ("The refund was 75.50.", "75.50"),
    ("The two come to 1164.50.", "1164.50"),
    ("The charge was 1.24e3.", "1.24e3"),
    ("The charge was 0x4d8.", "0x4d8"),
    ("The charge was twelve hundred.", "twelve hundred"),
    ("The charge was \uff11\uff12\uff14\uff11.", "1241"),
    ("The charge was \u0661\u0662\u0664\u0660.", "\u0661\u0662\u0664\u0660"),
    ("The charge was 124\u2070.", "U+2070"),
    ("The charge was \u2462.", "U+2462"),
    ("There were dozens of charges.", "dozens"),
    ("There were hundreds of charges.", "hundreds"),
    # counts and shares
    ("It came 21 days later.", "21"),
    ("It came twelve days later.", "twelve"),
    ("It came three twenty days later.", "three twenty"),
    ("It was a twenty-Bob gap.", "twenty-Bob"),
    ("It was a 19-day gap.", "19-day"),
    ("This is the 4th of its kind.", "4th"),
    ("This is the fourth of its kind.", "fourth"),
    ("It came on floor 2.", "2"),
    ("It is twice the usual.", "twice"),
    ("Half of it is covered.", "Half"),
    ("It grew by 13 %.", "13 %"),
    ("It grew by 20 %.", "20 %"),
    ("There were 12 of them.", "12"),
    ("It took 20 per cent.", "20 per cent"),
    ("It took 20 per mille.", "20 per mille"),
    ("It took 20 basis points.", "20 basis"),
    ("It took three-quarters of it.", "three-quarters"),
    ("It took three quarters of it.", "three quarters"),
    ("It is part xii of it.", "xii"),
    ("It is part XII of it.", "XII"),
    ("It is 1/3 of it.", "1/3"),
    ("It took 3-20 days.", "3-20"),
    ("It is 0020 days old.", "0020"),
    ("It is 1234567890123456789012345678901234 days old.", "1234567890123456789012345678901234"),
    # dates
    ("It was charged on 2025-03-13.", "2025-03-13"),
    ("It was charged on 12 April 2025.", "12 April 2025"),
    ("It was charged on 12 March 2024.", "12 March 2024"),
    ("It was charged on 12 March 25 and 26 times.", "26"),
    ("It was charged on March 13.", "March 13"),
    ("It was charged on 32 March 2025.", "32 March 2025"),
    ("It was charged on 12/03/0025.", "12/03/0025"),
    ("It was charged on 12/03/0000.", "12/03/0000"),
    ("It was charged on 2025/03/00.", "2025/03/00"),
    ("It was charged on 0 March 2025.", "0 March 2025"),
    ("It was charged on 13/03/2025.", "13/03/2025"),
    ("It was charged on 12/04/2025.", "12/04/2025"),
    ("It was charged on 20250312.", "20250312"),
    ("It was charged in 2025.", "2025"),
    ("It was charged in April 2024.", "April 2024"),
    ("It was charged in September.", "September"),
    ("It was charged in december.", "december"),
    ("It was charged on a Sunday.", "Sunday"),
    ("It was charged yesterday.", "yesterday"),
    ("It was charged on 2025-03-12T09:00:00Z.", "2025-03-12T09:00:00Z"),
    ("It was charged on the twelfth of march.", "twelfth"),
    ("The period 2025-03-12\u20132025-04-02 has no line.", "2025-04-02"),
    # names, ids, addresses
    ("Southwind Traders charged it.", "Southwind"),
    ("Bob charged it.", "Bob"),
    ("It was charged by Acme.", "Acme"),
    ("It was charged by PayPal.", "PayPal"),
    ("It was charged by eBay.", "eBay"),
    ("The CFO knows of it.", "CFO"),
    ("The payee is O'Neil.", "O'Neil"),
    ("The payee is Søren.", "Søren"),
    ("N\u043erthwind Traders charged it.", "N\u043erthwind"),
    ("It was p\u0430id late.", "p\u0430id"),
    ("See INV-2025-0043.", "INV-2025-0043"),
    ("See inv-2025-0042.", "inv-2025-0042"),
    ("See INV-2025.", "INV-2025"),
    ("See INV-abcd.", "INV-abcd"),
    ("It is c0ffee00-1234-4abc-8def-0123456789ac.", "c0ffee00-1234-4abc-8def-0123456789ac"),
    ("The mail is from billing@northw1nd.example.", "billing@northw1nd.example"),
    ("It names https://northwind.example/login.", "https://northwind.example/login"),
    ("It names northwind.example.", "northwind.example"),
    ("It names www.evil.example, too.", "www.evil.example"),
    ("The card is ****1112.", "****1112"),
    ("The field approved_on is empty.", "approved_on"),
    ("By RC-02 no payment covers it.", "RC-02"),
    # what a person decides
    ("I would say no payment covers it.", "I"),
    ("A person may approve it.", "approve"),
    ("It was approved by O'Neill in person; it is approved.", "approved"),
    ("It should be covered.", "should"),
    ("It is safe to leave.", "safe"),
    ("No action is needed.", "no action"),
    ("It is a legitimate charge.", "legitimate"),
    ("This is not fraud.", "fraud"),
    ("This looks like a false-positive.", "false positive"),
    ("The charge was cleared.", "cleared"),
    ("You can ig-nore it.", "ig nore"),
    ("You can ig nore it.", "ig nore"),
    ("You can a p p r o v e it.", "p p r"),
    ("You can appr0ve it.", "appr0ve"),
    ("You can \u0430pprove it.", "\u0430pprove"),
    ("You can appr\u00f6ve it.", "appr\u00f6ve"),
    # how it is written
    ("It was <b>charged</b>.", "<"),
    ("It was `charged`.", "`"),
    ("It was [charged](there).", "]("),
    ("It was **charged**.", "**charged**"),
    ("It was charged \u2705", "\u2705"),
    ("It was\ncharged.", "U+000A"),
    ("It was ch\u200barged.", "invisible characters"),
    ("It was \u202echarged.", "invisible characters"),
    ("It was charged\U000e0041.", "invisible characters"),
    ("It was charged. " * 30, "more than 400 characters"),
)


@pytest.mark.parametrize("text", GROUNDED)
def test_grounded(text: str):
    assert ungrounded(text, FACTS, SAYS) == ()


@pytest.mark.parametrize(("text", "part"), UNGROUNDED)
def test_ungrounded(text: str, part: str):
    assert part in ungrounded(text, FACTS, SAYS)


def test_parts_come_once_and_in_order():
    assert ungrounded("Bob paid 7, Ann 8, Bob 7.", FACTS) == ("Bob", "7", "Ann", "8")


def test_only_our_own_sentences_call_something_approved():
    """A vendor that is called so, or an email that says so, does not make it so."""
    text = "1240.00 at Northwind Traders was approved by O'Neill."
    quoted = (*FACTS, "It was approved by O'Neill", text)
    assert ungrounded(text, quoted) == ("approved",)
    assert ungrounded(text, FACTS, SAYS) == ()
    assert ungrounded("It was not approved by O'Neill.", FACTS, SAYS) == ("approved",)


def test_currencies_are_those_of_the_evidence():
    assert ungrounded("It was $20.", ["20"]) == ()
    assert ungrounded("It was $20.", ["20", "EUR"]) == ("$20",)
    assert ungrounded("It was €20, in euros.", ["20", "EUR"]) == ()
    assert ungrounded("It was $20 at Sterling Euro.", ["20", "Sterling Euro"]) == ()


def test_an_id_has_no_number_in_it():
    assert ungrounded("It took 42 days.", ["INV-42", "0042", "2042-01-01", "a42"]) == ("42",)


# ---- of the rules' own sentences

RULES = [rule.says for _, rule in packaged_rules() if rule.says]
PLACEHOLDER = re.compile(r"\{(\w+)\}")
NAMES = (
    "Northwind Blueline Harbor Quill Vantage Orchid Meridian Copperfield Larkspur Ironwood Juniper "
    "Falcon Beacon Sterling Maple Kestrel Zephyr Tundra Osprey Granite"
).split()
ENDINGS = "Supplies Logistics Foods GmbH LLC Partners Media Labs".split()


@dataclass(frozen=True)
class Sentence:
    """A template, and what its placeholders are filled with."""

    template: str
    cells: dict[str, str]

    @property
    def text(self) -> str:
        return self.template.format_map(self.cells)

    @property
    def facts(self) -> list[str]:
        return [*self.cells.values(), self.text]


def kind(name: str) -> str:
    """Of a placeholder, by its name."""
    if name.endswith(("_on", "_from", "_to")) or name == "dated":
        return "date"
    if name.endswith("_id") or name in ("card", "account", "ledger_entry"):
        return "id"
    if name in ("vendor", "approver", "twin_key"):
        return "name"
    return "number"


def filling(chosen: random.Random) -> dict[str, Callable[[], str]]:
    on = dt.date(2024, 1, 1)
    return {
        "date": lambda: str(on + dt.timedelta(chosen.randrange(900))),
        "id": lambda: f"TXN-{chosen.randrange(16**8):08x}",
        "name": lambda: f"{chosen.choice(NAMES)} {chosen.choice(ENDINGS)}",
        "number": lambda: chosen.choice(
            (str(chosen.randrange(1, 99_999)), f"{chosen.uniform(1, 99_999):.2f}")
        ),
    }


def sentence(chosen: random.Random) -> Sentence:
    """Not longer than an explanation may be."""
    fill = filling(chosen)
    while True:
        template = chosen.choice(RULES)
        made = Sentence(
            template, {name: fill[kind(name)]() for name in PLACEHOLDER.findall(template)}
        )
        if len(made.text) <= EXPLANATION_CHARACTERS_MAX:
            return made


@settings(max_examples=500, deadline=None)
@given(st.randoms(use_true_random=False))
def test_a_filled_template_is_grounded(chosen: random.Random):
    said = sentence(chosen)
    assert ungrounded(said.text, said.facts, [said.template]) == ()


def test_every_template_is_grounded():
    chosen = random.Random(3)
    fill = filling(chosen)
    for template in RULES:
        said = Sentence(template, {n: fill[kind(n)]() for n in PLACEHOLDER.findall(template)})
        if len(said.text) <= EXPLANATION_CHARACTERS_MAX:
            assert ungrounded(said.text, said.facts, [said.template]) == ()


def as_written(value: str, of: str, chosen: random.Random) -> str:
    """The same value in one of the forms that a model may choose."""
    if of == "number":
        number = Decimal(value)
        return chosen.choice((value, f"{number:,}", f"${number:,}", f"{number} dollars"))
    if of == "date":
        day = dt.date.fromisoformat(value)
        forms = ("%Y-%m-%d", "%d %B %Y", "%B %d, %Y", "%d/%m/%Y", "%d %b %Y", "%B %d", "%d.%m.%y")
        return day.strftime(chosen.choice(forms))
    return value


def altered(text: str, letters: str, chosen: random.Random) -> str:
    """One character of those for another one of the same sort."""
    at = chosen.choice([i for i, c in enumerate(text) if c.lower() in letters])
    others = [c for c in letters if c != text[at].lower()]
    other = chosen.choice(others)
    return text[:at] + (other.upper() if text[at].isupper() else other) + text[at + 1 :]


LETTERS = "abcdefghijklmnopqrstuvwxyz"
SIGNS = {"number": "0123456789", "date": "0123456789", "id": "0123456789abcdef", "name": LETTERS}
ALTERED = 250


def mistakes(of: str, altered_min: int, seed: int = 5) -> tuple[list[str], list[str]]:
    """Sentences with one cell altered: those that pass, and those whose restated form does not."""
    chosen = random.Random(seed)
    passed: list[str] = []
    refused: list[str] = []
    done = 0
    while done < altered_min:
        said = sentence(chosen)
        own = [name for name in said.cells if kind(name) == of]
        if not own:
            continue
        name = chosen.choice(own)
        true = as_written(said.cells[name], of, chosen)
        false = altered(true, SIGNS[of], chosen)
        if says_the_same(false, of, said):
            continue
        restated = Sentence(said.template, said.cells | {name: true}).text
        lie = Sentence(said.template, said.cells | {name: false}).text
        if len(lie) > EXPLANATION_CHARACTERS_MAX:
            continue
        done += 1
        if ungrounded(restated, said.facts, [said.template]):
            refused.append(restated)
        if not ungrounded(lie, said.facts, [said.template]):
            passed.append(lie)
    return passed, refused


TOO_LONG = f"more than {EXPLANATION_CHARACTERS_MAX} characters"


def says_the_same(false: str, of: str, said: Sentence) -> bool:
    """Altered into something that is true as well: another cell, or no change of the value."""
    numbers = {Decimal(v) for n, v in said.cells.items() if kind(n) == "number"}
    days = {v for n, v in said.cells.items() if kind(n) == "date"}
    if of == "number":
        # the words of some sentences say two
        return Decimal(re.sub(r"[^0-9.]", "", false)) in numbers | {Decimal(2)}
    if of == "date":
        return any(false in forms_of(dt.date.fromisoformat(day)) for day in days)
    return false in said.cells.values()


def forms_of(day: dt.date) -> set[str]:
    forms = "%Y-%m-%d|%d %B %Y|%B %d, %Y|%d/%m/%Y|%m/%d/%Y|%d %b %Y|%B %d|%d.%m.%y|%m.%d.%y"
    return {day.strftime(form) for form in forms.split("|")}


KINDS = pytest.mark.parametrize("of", ["number", "date", "id", "name"])


@KINDS
def test_one_altered_character_is_caught(of: str):
    """The same cell restated in another form passes."""
    passed, refused = mistakes(of, ALTERED)
    assert passed == []
    assert refused == []


@pytest.mark.slow
@KINDS
def test_one_altered_character_is_caught_always(of: str):
    passed, refused = mistakes(of, 10 * ALTERED, seed=6)
    assert passed == []
    assert refused == []


def test_a_name_in_small_letters_is_not_seen():
    """A limit: it is a word like any other."""
    assert ungrounded("It was paid to acme.", FACTS) == ()


# ---- of any text


@settings(max_examples=300)
@given(st.text(max_size=420), st.lists(st.text(max_size=60), max_size=4))
def test_any_text_has_an_answer(text: str, facts: Sequence[str]):
    found = ungrounded(text, facts)
    assert len(set(found)) == len(found)
    assert all(found)


@pytest.mark.parametrize(
    "unit",
    ["1", "1,", "1,234,", "one ", "million ", "12 March ", "a-", "a'", "((", "–", "1–", "1/2/", "m",
     "x ", "(s", ". ", "\u00df", "\ufdfa"],
)  # fmt: skip
def test_the_work_grows_with_the_text(unit: str):
    """A step for each pair of characters would be 40,000,000,000 of them, and never end."""
    long = unit * (200_000 // len(visible(unit)))
    assert ungrounded("It was charged.", [long]) == ()
    assert ungrounded(long, ["1"]) == (TOO_LONG,)
