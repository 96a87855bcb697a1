"""An invented bank statement against its general ledger, with the truth: seeded, of any size.

Seven bank lines in ten are one ledger line each; the rest is what makes reconciling hard: batches,
fees, exchange rates, swapped digits, entries taken back, and lines that only one side has. The
shares and lags are those of a mid-sized company that pays by ACH, cheque, wire and card.
"""

import random
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import NamedTuple

FIRST_ON = date(2025, 1, 2)
LINES_PER_DAY = 12
"""So that 1,000 lines are about a quarter."""
FIRST = """
Acme,Alder,Apex,Atlas,Beacon,Birchwood,Blue Bottle,Bright Harbor,Cascade,Cedar Creek,Citrine,Cobalt,
Copperfield,Crescent,Delta,Dunmore,Eastgate,Ember,Evergreen,Fairview,Falcon,Granite,Halcyon,
Hawthorne,Highland,Indigo,Ironwood,Juniper,Keystone,Lakeshore,Lantern,Larkspur,Magnolia,Meridian,
Midland,Nimbus,Northwind,Oakmont,Onyx,Orchard,Pacific,Pinnacle,Quarry Ridge,Redwood,Riverbend,
Saffron,Sequoia,Silverline,Stonebridge,Summit,Tamarack,Terra Nova,Union Square,Vanguard,Westbrook,
Willow,Zephyr
""".replace("\n", "").split(",")
SECOND = """
Office Supply,Logistics,Software,Electric,Catering,Insurance,Freight,Consulting,Print & Sign,
Plumbing,Legal,Staffing,Equipment,Telecom,Packaging,Security,Landscaping,Labs,Media,Foods
""".replace("\n", "").split(",")
ENDINGS = ["Inc", "LLC", "Co", "Corp", "Ltd", "Group", "Services", "", "", ""]
GIVEN = (
    "Ana Ben Carla David Elena Frank Grace Hugo Irene Jamal Kate Luis Mia Noah Olga Paul".split()
)
FAMILY = (
    "Abbott Brown Castillo Diaz Evans Fischer Garcia Hughes Ito Jensen Khan Lopez Meyer".split()
)
COMMON_CENTS = [999, 1499, 2500, 4999, 5000, 9900, 10000, 12500, 25000, 50000, 100000, 150000]
OUT = [
    "ACH DEBIT {}",
    "ACH {} PPD",
    "POS PURCHASE {}",
    "SQ *{}",
    "WIRE OUT {}",
    "{}",
    "ONLINE PMT {}",
]
IN = ["ACH CREDIT {}", "WIRE IN {}", "{} EDI PYMNTS", "DEPOSIT {}"]
LEDGER_OUT = ["{}", "{} - invoice {n}", "Payment to {}", "{} inv #{n}", "AP {}"]
LEDGER_IN = ["Receipt from {}", "{}", "{} - invoice {n}", "Customer payment {}"]
BATCH_TEXTS = {
    "deposit": ("DEPOSIT", "BRANCH DEPOSIT", "MOBILE DEPOSIT"),
    "payroll": ("ADP PAYROLL", "PAYROLL DIRECT DEP", "GUSTO PAYROLL"),
    "run": ("VENDOR PAYMENT RUN", "ACH BATCH VENDOR PAYMENTS", "BILL.COM VENDOR PMT"),
}
BANK_ONLY = "MONTHLY SERVICE FEE,WIRE FEE,INTEREST PAYMENT,OVERDRAFT FEE,ANALYSIS CHARGE".split(",")
REVERSALS = ["VOID {}", "Reversal - {}", "REVERSAL {}", "{} (void)"]
DESCRIPTOR_LETTERS = 22
"""Where many banks cut a descriptor (ACH: 16 for a name, cards: 22 to 25)."""


class Row(NamedTuple):
    """One line of an extract; the bank's rows have no reference."""

    id: str
    on: date
    description: str
    cents: int
    reference: str = ""

    @property
    def amount(self) -> float:
        return self.cents / 100


@dataclass
class BankLedger:
    """Both extracts, shuffled, and what belongs together.

    Attributes:
        pairs: (bank id, ledger id) of all lines that belong together, parts of batches included.
        batches: bank id to the ids of its ledger lines.
        offsets: (ledger id, ledger id), the smaller first.
    """

    bank: list[Row] = field(default_factory=list)
    ledger: list[Row] = field(default_factory=list)
    pairs: set[tuple[str, str]] = field(default_factory=set)
    batches: dict[str, set[str]] = field(default_factory=dict)
    offsets: set[tuple[str, str]] = field(default_factory=set)
    unmatched_bank: set[str] = field(default_factory=set)
    unmatched_ledger: set[str] = field(default_factory=set)


class Party(NamedTuple):
    name: str
    cents: int
    """What is usual with it."""
    is_fixed: bool


class _Books:
    def __init__(self, lines: int, seed: int) -> None:
        self.random = random.Random(seed)
        self.made = BankLedger()
        self.days = max(28, lines // LINES_PER_DAY)
        names = [f"{a} {b} {c}".strip() for a in FIRST for b in SECOND for c in ENDINGS]
        every = list(dict.fromkeys(names))
        count = min(len(every), max(25, lines // 12))
        self.parties = [
            Party(
                name,
                round(self.random.lognormvariate(11, 1.3)),
                self.random.random() < 0.2,
            )
            for name in self.random.sample(every, count)
        ]
        self.billed: set[tuple[Party, int, int]] = set()
        self.next_bank = self.next_ledger = self.next_check = 0

    def day(self) -> date:
        return FIRST_ON + timedelta(days=self.random.randrange(self.days))

    def party(self) -> Party:
        return self.parties[int(len(self.parties) * self.random.random() ** 1.5)]

    def cents(self, party: Party) -> int:
        if self.random.random() < 0.1:
            return self.random.choice(COMMON_CENTS)
        cents = max(300, round(party.cents * self.random.lognormvariate(0, 0.8)))
        return round(cents, -2) if self.random.random() < 0.15 else cents

    def lag(self) -> int:
        """Days from the entry to the bank; most clear in three, cheques take up to twelve."""
        if self.random.random() < 0.06:
            return -self.random.randint(1, 2)
        return min(12, int(self.random.expovariate(1 / 2.5)))

    def bank(self, on: date, text: str, cents: int) -> str:
        self.next_bank += 1
        row = Row(f"B{self.next_bank:06}", on, text, cents)
        self.made.bank.append(row)
        return row.id

    def ledger(self, on: date, text: str, cents: int, reference: str | None = None) -> str:
        self.next_ledger += 1
        if reference is None:
            some = self.random.random() < 0.7
            reference = f"JE{self.random.randrange(10**5):05}" if some else ""
        row = Row(f"G{self.next_ledger:06}", on, text, cents, reference)
        self.made.ledger.append(row)
        return row.id

    def typo(self, name: str) -> str:
        if self.random.random() > 0.06:
            return name
        i = self.random.randrange(1, len(name) - 1)
        kind = self.random.randrange(3)
        if kind == 0:
            return name[:i] + name[i + 1 :]
        if kind == 1:
            return name[:i] + name[i + 1] + name[i] + name[i + 2 :]
        return name[:i] + self.random.choice("aeiorstn") + name[i + 1 :]

    def bank_text(self, name: str, cents: int) -> str:
        form = self.random.choice(IN if cents > 0 else OUT)
        text = form.format(self.typo(name))
        if self.random.random() < 0.6:
            text = text.upper()
        return text[:DESCRIPTOR_LETTERS].strip() if self.random.random() < 0.7 else text

    def ledger_text(self, name: str, cents: int) -> str:
        form = self.random.choice(LEDGER_IN if cents > 0 else LEDGER_OUT)
        return form.format(self.typo(name), n=self.random.randrange(1000, 99999))

    def one(self, *, change: str = "") -> None:
        """One bank line and its entry; `change` is what makes their amounts differ."""
        party, on = self.party(), self.day()
        cents = self.cents(party) * self.random.choice((1, -1, -1))
        if party.is_fixed and not change and (party, on.month, on.year) not in self.billed:
            self.billed.add((party, on.month, on.year))
            # A subscription: the same amount on the same day of every month.
            on, cents = on.replace(day=1 + party.cents % 28), -party.cents
        paid = cents if not change else self.changed(cents, change)
        if not change and cents < 0 and self.random.random() < 0.12:
            self.next_check += 1
            number = 1000 + self.next_check
            bank_text = f"CHECK {number}"
            ledger = self.ledger(on, f"{party.name} check {number}", cents, f"CHK{number}")
        else:
            bank_text = self.bank_text(party.name, cents)
            ledger = self.ledger(on, self.ledger_text(party.name, cents), cents)
        bank = self.bank(on + timedelta(days=self.lag()), bank_text, paid)
        self.made.pairs.add((bank, ledger))

    def changed(self, cents: int, change: str) -> int:
        if change == "fee":  # the bank keeps a fixed fee, or a card processor its share
            fixed = self.random.choice((150, 1500, 2500, 3500))
            fee = fixed if abs(cents) > 8 * fixed else max(1, round(abs(cents) * 0.029))
            return cents - fee
        if change == "fx":
            return round(
                cents * (1 + self.random.choice((-1, 1)) * self.random.uniform(0.01, 0.04))
            )
        digits = str(abs(cents))
        spots = [i for i in range(len(digits) - 1) if digits[i] != digits[i + 1]]
        i = self.random.choice([i for i in spots if digits[i + 1] != "0" or i] or [0])
        swapped = digits[:i] + digits[i + 1] + digits[i] + digits[i + 2 :]
        return int(swapped) if cents > 0 else -int(swapped)

    def batch(self) -> None:
        """Two to six entries that the bank shows as one line; four in ten share a reference."""
        on, party = self.day(), self.party()
        kind = self.random.choice(("deposit", "payroll", "run", "vendor"))
        reference = f"BT{self.random.randrange(10**6):06}" if self.random.random() < 0.4 else None
        sign = 1 if kind == "deposit" else -1
        ids: set[str] = set()
        total = 0
        for _ in range(self.random.randint(2, 6)):
            cents = sign * self.cents(self.party())
            if kind == "deposit":
                text = self.random.choice(("Customer deposit", "Customer deposit - counter"))
            elif kind == "payroll":
                text = f"Payroll {self.random.choice(GIVEN)} {self.random.choice(FAMILY)}"
                cents = -self.random.randrange(120_000, 420_000)
            elif kind == "run":
                text = f"Vendor payment {self.party().name}"
            else:
                text = self.ledger_text(party.name, sign)
            earlier = self.random.randint(0, 4) if kind == "vendor" else 0
            ids.add(self.ledger(on - timedelta(days=earlier), text, cents, reference))
            total += cents
        text = self.bank_text(party.name, sign)
        if kind != "vendor":
            text = self.random.choice(BATCH_TEXTS[kind])
        # The bank comes after the last entry, and at most twelve days after the first.
        bank = self.bank(on + timedelta(days=min(8, max(0, self.lag()))), text, total)
        self.made.batches[bank] = ids
        self.made.pairs |= {(bank, ledger) for ledger in ids}

    def offset(self) -> None:
        party, on = self.party(), self.day()
        cents = self.cents(party) * self.random.choice((1, -1))
        number = self.random.randrange(10**5)
        later = on + timedelta(days=self.random.randint(0, 12))
        text = self.ledger_text(party.name, cents)
        kind = self.random.choice(("word", "reference", "both"))
        reference = "" if kind == "word" else f"JE{number:05}"
        back = text
        if kind != "reference":
            back = self.random.choice(REVERSALS).format(text)
        one = self.ledger(on, text, cents, reference)
        suffix = self.random.choice(("", "R", "-REV"))
        other = self.ledger(later, back, -cents, reference and reference + suffix)
        self.made.offsets.add((min(one, other), max(one, other)))

    def bank_only(self) -> None:
        if self.random.random() < 0.6:
            text = self.random.choice(BANK_ONLY)
            cents = self.random.choice((1200, 1500, 2500, 3500, self.random.randrange(50, 9000)))
            bank = self.bank(self.day(), text, cents if "INTEREST" in text else -cents)
        else:
            party = self.party()
            cents = self.cents(party) * self.random.choice((1, -1))
            bank = self.bank(self.day(), self.bank_text(party.name, cents), cents)
        self.made.unmatched_bank.add(bank)

    def ledger_only(self) -> None:
        party = self.party()
        cents = self.cents(party) * self.random.choice((1, -1))
        text = "Deposit in transit" if cents > 0 and self.random.random() < 0.3 else None
        if cents < 0 and self.random.random() < 0.4:
            self.next_check += 1
            text = f"{party.name} check {1000 + self.next_check}"
        ledger = self.ledger(self.day(), text or self.ledger_text(party.name, cents), cents)
        self.made.unmatched_ledger.add(ledger)


def make(lines: int, seed: int) -> BankLedger:
    """A bank statement of about `lines` lines, and its ledger.

    The same arguments give the same rows. Of the bank's lines 75 % have one exact entry, some of
    them monthly and always of the same amount, 10 % are batches, 5 % differ by a fee, a rate or
    two digits, and 5 % are in no ledger; 5 % as many entries are taken back, or outstanding.
    """
    books = _Books(lines, seed)
    share = lines // 20
    for _ in range(lines - 5 * share):
        books.one()
    for _ in range(2 * share):
        books.batch()
    for i in range(share):
        books.one(change=("fee", "fx", "digits")[i % 3])
        books.offset()
        books.bank_only()
        books.ledger_only()
    books.random.shuffle(books.made.bank)
    books.random.shuffle(books.made.ledger)
    return books.made
