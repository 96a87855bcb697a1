"""What anybody could do in a few lines: the anchors of the benchmarks."""

import datetime as dt
from collections import defaultdict

from audit_pipeline_tests import bank_ledger, card_company
from audit_pipeline_tests.bench_transfers import DAYS_AFTER, DAYS_BEFORE

DAYS_AND_VENDORS = """
import sys
import duckdb
connection = duckdb.connect(config={"threads": int(sys.argv[2])})
print(connection.execute(
    "SELECT count(*), sum(charges), sum(total), max(middle) FROM ("
    " SELECT CAST(time AS DATE) AS day, vendor, count(*) AS charges, sum(amount) AS total,"
    " median(amount) AS middle FROM read_parquet(?) GROUP BY day, vendor)", [sys.argv[1]]
).fetchall())
"""
"""The least that DuckDB could do with charges: a script that is given a file and threads."""


def nearest(made: bank_ledger.BankLedger) -> set[tuple[str, str]]:
    """Lines of the same amount, each the nearest in time of the other."""
    near: dict[str, list[tuple[int, str, str]]] = defaultdict(list)
    by_cents: dict[int, list[bank_ledger.Row]] = defaultdict(list)
    for row in made.ledger:
        by_cents[row.cents].append(row)
    for bank in made.bank:
        for ledger in by_cents[bank.cents]:
            lag = (bank.on - ledger.on).days
            if -DAYS_BEFORE <= lag <= DAYS_AFTER:
                near[bank.id].append((abs(lag), bank.id, ledger.id))
                near[ledger.id].append((abs(lag), bank.id, ledger.id))
    best = {line: min(options)[1:] for line, options in near.items()}
    return {pair for pair in best.values() if best[pair[0]] == best[pair[1]] == pair}


def repeats(company: card_company.CardCompany) -> set[str]:
    """The same vendor and amount again within a day of a charge."""
    last: dict[tuple[str, int], dt.datetime] = {}
    found: set[str] = set()
    for charge in company.charges:
        if charge.cents > 0 and company.first_on <= charge.at.date() <= company.last_on:
            what = charge.vendor, charge.cents
            if what in last and (charge.at.date() - last[what].date()).days <= 1:
                found.add(charge.txn_id)
            last[what] = charge.at
    return found


def absent(company: card_company.CardCompany) -> set[str]:
    """Entries of whose amount no statement has a line on their day or the three after."""
    lines: dict[int, list[dt.date]] = defaultdict(list)
    for charge in company.charges:
        if charge.kind != "missing":
            lines[charge.cents].append(charge.posted_on)
    return {
        charge.txn_id
        for charge in company.charges
        if company.first_on <= charge.at.date() <= company.last_on
        and not any(0 <= (day - charge.at.date()).days <= 3 for day in lines[charge.cents])
    }
