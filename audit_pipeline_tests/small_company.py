"""A small company for tests: a hundred days, eleven charges a day, four cards, one of each fault.

`make()` gives the same rows every time, from a seed and the standard library. Three cards are paid
by monthly statement, to the cent, of which one that is hardly used misses its February payment;
the fourth is paid by one bank line per charge. January and February are history, the thirty days
from 12 March are audited: they cross a month, so that the baselines that are frozen on its first
day change once.

Rows stand in the order of their dates, so the folder `until` a day is what that day knew.
"""

import datetime as dt
import json
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FIRST_ON = dt.date(2025, 1, 1)
LAST_ON = dt.date(2025, 4, 10)
AUDIT_FROM = dt.date(2025, 3, 12)
AUDIT_TO = LAST_ON

Row = dict[str, Any]

HOLDERS = {"1111": "Ada Birch", "2222": "Ben Cole", "3333": "Cleo Dane", "4444": "Dora East"}
CLOSES_ON = {"1111": 15, "2222": 20, "4444": 10}
MISSED_PAYMENT = ("4444", 2)
PAID_AFTER_DAYS = 10

# name, descriptor on statements, category, lowest and highest amount in cents, has receipts
VENDORS = (
    ("Green Bean Cafe", "SQ *GREEN BEAN CAFE", "coffee_shops", 310, 980, False),
    ("Harbor Diner", "HARBOR DINER 0042", "restaurants", 1800, 6000, True),
    ("Blue Lantern", "BLUE LANTERN", "restaurants", 2500, 11000, True),
    ("City Cabs", "CITY CABS", "ride_hailing", 900, 4000, True),
    ("Paper Trail Supply", "PAPER TRAIL SUPPLY", "office_supplies", 1500, 16000, True),
    ("North Rail", "NORTH RAIL TICKETS", "travel", 4000, 22000, True),
    ("Kestrel Freight", "KESTREL FREIGHT", "shipping", 2000, 9000, False),
    ("Museum Books", "MUSEUM BOOKS", "books", 1200, 7000, True),
    ("Delta Tools", "DELTA TOOLS", "hardware", 3000, 24000, True),
    ("Summit Hotels", "SUMMIT HOTELS", "lodging", 12000, 42000, True),
    ("Brightside Catering", "BRIGHTSIDE CATERING", "catering", 15000, 60000, True),
)
CHARGES_A_DAY = 11


@dataclass
class Company:
    """The rows of each table, and the ids of the faults by their kind."""

    tables: dict[str, list[Row]] = field(default_factory=dict[str, list[Row]])
    faults: dict[str, list[str]] = field(default_factory=dict[str, list[str]])

    def __getitem__(self, table: str) -> list[Row]:
        return self.tables[table]

    def write(self, folder: Path, until: dt.date = LAST_ON, **about: str) -> Path:
        """The company's books as a fixture folder, as they were at the end of a day."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, rows in self.tables.items():
            known = [row for row in rows if "date" not in row or row["date"][:10] <= str(until)]
            lines = [json.dumps(row) for row in known]
            (folder / f"{name}.jsonl").write_text("".join(line + "\n" for line in lines))
        said = {
            "name": "small company",
            "as_of": str(until),
            "audit_from": str(AUDIT_FROM),
            "audit_to": str(until),
        }
        (folder / "about.json").write_text(json.dumps(said | about))
        return folder


def make(seed: int = 11) -> Company:
    """The company."""
    return _Maker(seed).company()


def _dollars(cents: int) -> float:
    return round(cents / 100, 2)


class _Maker:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.number = 0
        self.ledger: list[Row] = []
        self.card: list[Row] = []
        self.bank: list[Row] = []
        self.receipts: list[Row] = []
        self.emails: list[Row] = []
        self.unbilled: set[str] = set()
        self.unpaid: set[str] = set()
        self.faults: dict[str, list[str]] = {}

    def company(self) -> Company:
        for offset in range((LAST_ON - FIRST_ON).days + 1):
            day = FIRST_ON + dt.timedelta(days=offset)
            self._ordinary(day)
            self._regular(day)
            self._faulty(day)
        self._doubtful_papers()
        self._pay_statements()
        self._pay_alone()
        self.bank += [
            self._bank_line(day, 420_000, "WHARF PROPERTIES RENT", "direct_debit")
            for day in (dt.date(2025, month, 1) for month in (1, 2, 3, 4))
        ]
        tables = {
            "recent_transactions": self.ledger,
            "credit_cards": self.card,
            "bank_accounts": self.bank,
            "receipts": self.receipts,
            "emails": self.emails,
        }
        # a row without a date stays where it was put: at the end
        ordered = {
            name: sorted(rows, key=lambda row: (row["date"][:10], row["date"]))
            for name, rows in tables.items()
        }
        ordered["vendors"] = [
            {"vendor_id": name.lower().replace(" ", "_"), "vendor_name": name, "aliases": [text]}
            for name, text, *_ in VENDORS
        ]
        ordered["calendar_events"] = [
            {
                "event_id": "ev_1",
                "title": "Dinner with the Halcyon team",
                "date": "2025-03-20T18:00:00Z",
                "attendees": ["ada.birch@small.example"],
            }
        ]
        return Company(ordered, self.faults)

    # ── one charge ──────────────────────────────────────────────────────────────────────────────
    def _charge(
        self,
        day: dt.date,
        card: str,
        descriptor: str,
        category: str,
        cents: int,
        *,
        receipt: bool = False,
        ledger: bool = True,
        line: bool = True,
        hour: int | None = None,
    ) -> str:
        self.number += 1
        identity = f"cc_{self.number:05d}"
        at = (
            f"{day}T{hour or self.random.randint(8, 20):02d}:{self.random.randint(0, 59):02d}"
            f":{self.number % 60:02d}Z"
        )
        if ledger:
            self.ledger.append(
                {
                    "txn_id": identity,
                    "source": "credit_card",
                    "amount": _dollars(cents),
                    "vendor": descriptor,
                    "date": at,
                    "domain": "business_operations",
                    "currency": "USD",
                }
            )
        if line:
            self.card.append(
                {
                    "txn_id": identity,
                    "card_number": f"**** **** **** {card}",
                    "amount": _dollars(cents),
                    "vendor": descriptor,
                    "date": at,
                    "category": category,
                    "cardholder": HOLDERS[card],
                }
            )
        if receipt:
            self.receipts.append(
                {
                    "receipt_id": f"rc_{self.number:05d}",
                    "vendor": descriptor,
                    "amount": _dollars(cents),
                    "date": f"{day}T00:00:00Z",
                    "cardholder": HOLDERS[card],
                    "category": category,
                }
            )
        return identity

    def _bank_line(self, day: dt.date, cents: int, payee: str, kind: str) -> Row:
        self.number += 1
        return {
            "txn_id": f"bk_{self.number:05d}",
            "account_number": "**** 7702",
            "amount": -_dollars(cents),
            "payee": payee,
            "date": f"{day}T06:00:00Z",
            "transaction_type": kind,
        }

    def _fault(self, kind: str, *ids: str) -> None:
        self.faults.setdefault(kind, []).extend(ids)

    # ── what happens every day ──────────────────────────────────────────────────────────────────
    def _ordinary(self, day: dt.date) -> None:
        for place in range(CHARGES_A_DAY):
            _, descriptor, category, low, high, has_receipts = VENDORS[
                (day.toordinal() * 3 + place) % len(VENDORS)
            ]
            card = ("1111", "2222", "2222", "1111", "3333")[place % 5]
            self._charge(
                day,
                card,
                descriptor,
                category,
                self.random.randint(low, high),
                receipt=has_receipts,
            )

    def _regular(self, day: dt.date) -> None:
        """A fruit box on Mondays, a consultant on Wednesdays, some freight on the fourth card."""
        if day.isoweekday() == 1:
            dear = day >= dt.date(2025, 3, 31)
            identity = self._charge(
                day, "1111", "ORCHARD FRUIT BOX", "subscriptions", 4400 if dear else 3650
            )
            if day == dt.date(2025, 3, 31):
                self._fault("AN-02", identity)
        if day.isoweekday() == 3 and day < dt.date(2025, 3, 11):
            cents = 260_000 + 1_100 * (day.toordinal() % 97)
            self._charge(day, "1111", "QUARRY CONSULTING", "professional_services", cents)
            self._approve(day - dt.timedelta(days=1), cents)

        if day.toordinal() % 5 == 0:
            cents = self.random.randint(2000, 9000)
            freight = self._charge(day, "4444", "KESTREL FREIGHT", "shipping", cents)
            # of the statement that nobody paid, what ripens once that is known, on 20 March
            if dt.date(2025, 1, 19) <= day <= dt.date(2025, 2, 9):
                self._fault("RC-01", freight)

    def _approve(self, day: dt.date, cents: int, approver: str = "dora.east@small.example") -> None:
        amount, number = f"{_dollars(cents):.2f}", len(self.emails)
        thread, at = f"th_{number}", max(day, FIRST_ON)
        question = {
            "email_id": f"em_{number}",
            "thread_id": thread,
            "subject": f"Approval needed: Quarry Consulting {amount}",
            "sender": "ada.birch@small.example",
            "recipients": ["dora.east@small.example"],
            "date": f"{at}T01:00:00Z",
            "body": f"May I pay Quarry Consulting {amount} with the company card?",
        }
        self.emails.append(question)
        self.emails.append(
            question
            | {
                "email_id": f"em_{number + 1}",
                "sender": approver,
                "date": f"{at}T02:00:00Z",
                "body": "Approved.",
            }
        )

    # ── one of each fault ───────────────────────────────────────────────────────────────────────
    def _faulty(self, day: dt.date) -> None:  # noqa: C901, PLR0912, PLR0915 — a recipe
        on = (day.month, day.day)
        if on in {(3, 10), (3, 25)}:
            unpaid = self._charge(day, "3333", "MUSEUM BOOKS", "books", 6111, receipt=True)
            self.unpaid.add(unpaid)
            self._fault("RC-08", unpaid)
        if on == (3, 5):
            self._fault("CX-01", self._charge(day, "2222", "SUMMIT HOTELS", "lodging", 31207))
        if on == (3, 12):
            late = self._charge(day, "1111", "QUARRY CONSULTING", "professional_services", 281_300)
            self._approve(day + dt.timedelta(days=3), 281_300)
            self._fault("CX-02", late)
        if on == (3, 13):
            lost = self._charge(day, "2222", "DELTA TOOLS", "hardware", 7719, line=False)
            self._fault("RC-03", lost)
        if on == (3, 14):
            skipped = self._charge(day, "2222", "HARBOR DINER 0042", "restaurants", 5437)
            self.unbilled.add(skipped)
            self._fault("RC-02", skipped)
        if on == (3, 15):
            unknown = self._charge(day, "1111", "CITY CABS", "ride_hailing", 2988, ledger=False)
            self._fault("RC-04", unknown)
        if on == (3, 16):
            swapped = self._charge(day, "2222", "BLUE LANTERN", "restaurants", 8163, receipt=True)
            self.ledger[-1]["amount"] = 86.13
            self._fault("RC-05", swapped)
        if on == (3, 18):
            self.ledger.append(dict(self.ledger[-1]))
            self._fault("DQ-03", self.ledger[-1]["txn_id"])
        if on == (3, 19):
            alone = self._charge(day, "1111", "QUARRY CONSULTING", "professional_services", 398_000)
            self._fault("CX-03", alone)
        if on == (3, 20):
            caterer = ("1111", "BRIGHTSIDE CATERING", "catering", 48217)
            self._charge(day, *caterer, receipt=True, hour=10)
            self._fault("AN-05", self._charge(day, *caterer, receipt=True, hour=19))
        if on == (3, 22):
            self._fault("AN-08", self._charge(day, "2222", "C1TY CABS", "ride_hailing", 2240))
        if on == (3, 27):
            parts = [
                self._charge(day, "2222", "DELTA TOOLS", "hardware", cents, receipt=True)
                for cents in (121_100, 118_800, 123_400)
            ]
            self._fault("AN-06", *parts)
        if on == (3, 28):
            foreign = self._charge(day, "1111", "NORTH RAIL TICKETS", "travel", 9120, receipt=True)
            self.ledger[-1]["currency"] = "EUR"
            self._fault("DQ-06", foreign)
        if on == (4, 2):
            dear = self._charge(day, "2222", "SQ *GREEN BEAN CAFE", "coffee_shops", 41200)
            self._fault("AN-01", dear)
        if on == (4, 3):
            nameless = self._charge(day, "1111", "KESTREL FREIGHT", "shipping", 3321)
            self.ledger[-1]["vendor"] = None
            self._fault("DQ-01", nameless)
        if on == (4, 4):
            unreadable = self._charge(day, "2222", "KESTREL FREIGHT", "shipping", 4432)
            self.ledger[-1]["amount"] = "forty-four"
            self._fault("DQ-02", unreadable)
        if on == (4, 7):
            self._charge(day, "1111", "PAPER TRAIL SUPPLY", "office_supplies", -2500)

    def _doubtful_papers(self) -> None:
        """Approvals of one's own and from outside; a receipt and an approval after the fact."""
        consultant = ("QUARRY CONSULTING", "professional_services")
        self._approve(dt.date(2025, 3, 16), 333_100)
        self._fault("CX-05", self._charge(dt.date(2025, 3, 17), "4444", *consultant, 333_100))
        self._approve(dt.date(2025, 3, 20), 441_300, "dora.east@sma11.example")
        self._fault("CX-06", self._charge(dt.date(2025, 3, 21), "1111", *consultant, 441_300))
        self._approve(dt.date(2025, 3, 24), 377_700)
        late = self._charge(dt.date(2025, 3, 4), "2222", *consultant, 377_700)
        night = dt.date(2025, 3, 6)
        hotel = self._charge(night, "2222", "SUMMIT HOTELS", "lodging", 29_777, receipt=True)
        self.receipts[-1]["date"] = "2025-03-20T00:00:00Z"
        self._fault("CX-01", hotel)
        self._fault("CX-03", late)
        self._fault("CX-07", late, hotel)

    # ── how it is paid ──────────────────────────────────────────────────────────────────────────
    def _pay_statements(self) -> None:
        for card, closing_day in CLOSES_ON.items():
            lines = [row for row in self.card if row["card_number"].endswith(card)]
            before = dt.date(2024, 12, closing_day)
            for month in (1, 2, 3):
                close = dt.date(2025, month, closing_day)
                cents = sum(
                    round(row["amount"] * 100)
                    for row in lines
                    if str(before) < row["date"][:10] <= str(close)
                    and row["txn_id"] not in self.unbilled
                )
                if month == 1:
                    cents += 77_777  # December's charges, which the books do not show
                paid_on = close + dt.timedelta(days=PAID_AFTER_DAYS)
                payee = f"CARD SVC AUTOPAY {card}"
                if (card, month) != MISSED_PAYMENT:
                    self.bank.append(self._bank_line(paid_on, cents, payee, "card_payment"))
                before = close

    def _pay_alone(self) -> None:
        for row in list(self.card):
            if row["card_number"].endswith("3333") and row["txn_id"] not in self.unpaid:
                paid_on = dt.date.fromisoformat(row["date"][:10]) + dt.timedelta(days=1)
                if paid_on <= LAST_ON:
                    cents = round(row["amount"] * 100)
                    self.bank.append(self._bank_line(paid_on, cents, row["vendor"], "debit"))
