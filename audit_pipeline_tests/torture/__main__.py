"""`make torture`: every failpoint, random moments, orphans and the control, on both databases."""

import argparse
import multiprocessing
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from audit_pipeline.adapters.failpoints import FAILPOINTS
from audit_pipeline_tests.postgres import running
from audit_pipeline_tests.torture import naive
from audit_pipeline_tests.torture.kill import Toll, Torture
from audit_pipeline_tests.torture.orphans import awakened
from audit_pipeline_tests.torture.paper import Paper, recorded
from audit_pipeline_tests.torture.work import publish

SHOWN = 5
TELLING = tuple(
    name
    for name in FAILPOINTS
    if not name.endswith((".before", ".after"))
    or name.startswith(("rename", "rules", "note", "archived", "snapshot", "publish"))
)
"""Between the end of one effect and the beginning of the next nothing is on its way: killing before
most of them is killing after another."""


def main() -> int:
    """Torture, and say what was found; 1 where anything was lost, doubled or half done."""
    options = _options()
    with ExitStack() as ending:
        home = Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="audit-torture-")))
        print("recording two audits of the small company", flush=True)
        paper = recorded(home)
        processes = []
        for name in options.databases:
            arguments = (name, home / name, paper, options)
            processes.append(multiprocessing.Process(target=_of_database, args=arguments))
            processes[-1].start()
        for process in processes:
            process.join()
    return max(process.exitcode or 0 for process in processes)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make torture", description=__doc__)
    parser.add_argument("--times", type=int, default=50, help="kills at each failpoint")
    parser.add_argument("--random", type=int, default=500, help="kills at random moments")
    parser.add_argument("--orphans", type=int, default=50, help="orphans that are woken")
    parser.add_argument("--control", type=int, default=20, help="kills of the naive control")
    parser.add_argument(
        "--failpoints",
        type=lambda text: FAILPOINTS if text == "all" else tuple(text.split(",")),
        default=TELLING,
        help="names, or all (default: those that differ)",
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--databases", type=lambda text: text.split(","), default=["sqlite", "postgres"]
    )
    return parser.parse_args()


def _of_database(name: str, folder: Path, paper: Paper, options: argparse.Namespace) -> None:
    """Everything on one database."""
    with ExitStack() as ending:
        url = None
        if name == "postgres":
            server = ending.enter_context(running())
            url = server.url("postgres")
        torture = Torture(url, folder / "f", paper)
        chance = random.Random(options.seed)
        toll = Toll()
        for failpoint in options.failpoints:
            toll += _told(
                f"{name}: {failpoint}",
                (torture.at_failpoint(failpoint, chance) for _ in range(options.times)),
            )
        toll += _told(f"{name}: random moments", _moments(torture, chance, options.random))
        toll += _told(
            f"{name}: orphans", (awakened(torture, chance) for _ in range(options.orphans))
        )
        unfenced = _told(
            f"{name}: control, orphans without a fence",
            (awakened(torture, chance, is_fenced=False) for _ in range(options.control)),
        )
        torture.put = naive.publish
        control = _told(
            f"{name}: control, naive writes", _moments(torture, chance, options.control)
        )
        torture.put = publish
        seen = bool(control.faults) and bool(unfenced.faults)
        print(
            f"{name}: {toll.kills} kills in {toll.runs} audits, {len(toll.faults)} faults; "
            f"the controls {'were' if seen else 'WERE NOT'} found out",
            flush=True,
        )
        sys.exit(int(bool(toll.faults) or not seen))


def _moments(torture: Torture, chance: random.Random, kills: int) -> Iterator[Toll]:
    """Until so many were killed: some end before their moment comes."""
    killed = 0
    while killed < kills:
        toll = torture.at_random(chance)
        killed += toll.kills
        yield toll


def _told(title: str, tolls: Iterator[Toll]) -> Toll:
    """Their sum, said in a line with the first faults."""
    began = time.monotonic()
    total = sum(tolls, Toll())
    spent = time.monotonic() - began
    faults = f"{len(total.faults)} faults" if total.faults else "no fault"
    print(f"{title}: {total.kills} kills, {total.runs} audits, {faults}, {spent:.0f} s", flush=True)
    for fault in total.faults[:SHOWN]:
        print(f"    {fault}", flush=True)
    return total


if __name__ == "__main__":
    sys.exit(main())
