"""How long a trail takes to verify, beside the least that anybody could do with the same rows.

    .venv/bin/python -m audit_pipeline_tests.bench_trail --entries 1000000
    .venv/bin/python -m audit_pipeline_tests.bench_trail --store postgresql+psycopg2://…

The anchor selects the same rows and hashes their concatenation once. Nothing is asserted. Where
other programs are at work, CPU time says more than wall time.
"""

import argparse
import hashlib
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

from audit_pipeline.adapters.store import Store, engine, trail_reader
from audit_pipeline.adapters.trail.keys import trusted_keys
from audit_pipeline.adapters.trail.sealing import Sealer
from audit_pipeline.adapters.trail.verify import verify
from audit_pipeline_tests.trail_attacks import event

LOT = 20_000
T = TypeVar("T")


def build(url: str, folder: Path, entries: int) -> None:
    """A trail with a checkpoint every 20,000 entries."""
    with Store.open(url, sealer=None) as store:
        sealer = Sealer(folder, folder / "signing.key")
        for first in range(1, entries + 1, LOT):
            with store.writing() as writer:
                numbers = range(first, min(first + LOT, entries + 1))
                writer.append_events([event(n) for n in numbers])
            sealer.seal(store)


class Took(NamedTuple):
    """Seconds."""

    cpu: float
    wall: float


def timed(work: Callable[[], T]) -> tuple[T, Took]:
    cpu, wall = time.process_time(), time.perf_counter()
    found = work()
    return found, Took(time.process_time() - cpu, time.perf_counter() - wall)


def anchor(url: str) -> None:
    digest = hashlib.sha256()
    reading = engine.read_only_engine(url)
    with engine.read_connection(reading) as connection:
        for rows in trail_reader.raw_rows(connection):
            for row in rows:
                digest.update("".join(map(str, row)).encode("utf-8", "replace"))
    reading.dispose()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--entries", type=int, default=100_000)
    options.add_argument("--store", help="an empty database; default: a new SQLite file")
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as place:
        url = asked.store or f"sqlite:///{place}/store.db"
        folder = Path(place) / "trail"
        build(url, folder, asked.entries)
        keys = trusted_keys(None, folder)
        least = min(timed(lambda: anchor(url))[1] for _ in range(2))
        found, took = timed(lambda: verify(url, folder, keys))
    print(f"{found.entries:,} entries, {found.checkpoints} checkpoints, faults: {found.faults}")
    for name, it, beside in zip(Took._fields, took, least, strict=True):
        print(
            f"{name}: verify {it:.2f} s, anchor {beside:.2f} s, ratio {it / beside:.2f}, "
            f"{it / found.entries * 1e6:.1f} µs an entry"
        )
    print(f"load average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
