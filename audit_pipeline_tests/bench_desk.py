"""How long the desk takes over an invented store: `python -m audit_pipeline_tests.bench_desk`.

Each figure is the best and the median of several tries, on an open store, and the least time of
the processor, which other programs do not lengthen.
"""

import argparse
import datetime as dt
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from audit_pipeline.adapters.store import Store, overview
from audit_pipeline.adapters.store.papers import Selection, read_papers
from audit_pipeline.review.workpaper import Prepared, workpaper
from audit_pipeline.review.workpaper_file import FORMATS, written
from audit_pipeline.settings import Settings
from audit_pipeline_tests.review import many_flags

TRIES = 5


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--workpaper", action="store_true", help="make workpapers")
    options.add_argument("--overview", action="store_true", help="ask for the overview's totals")
    options.add_argument("--flags", type=int, default=0, metavar="N", help="in the store")
    options.add_argument("--store", metavar="URL", help="keep the store there; default: nowhere")
    asked = options.parse_args()
    if not (asked.workpaper or asked.overview):
        options.error("choose --workpaper, --overview or both")
    shape = many_flags.Shape(flags=asked.flags or (100_000 if asked.overview else 1_000))
    with tempfile.TemporaryDirectory() as folder:
        url = asked.store or f"sqlite:///{Path(folder) / 'many.sqlite'}"
        with Store.open(url) as store:
            store_of(store, shape)
            if asked.overview:
                measure_overview(store)
            if asked.workpaper:
                settings = Settings.from_env(dict(os.environ) | {"AUDIT_DATA_DIR": folder})
                measure_workpaper(store, settings)


def store_of(store: Store, shape: many_flags.Shape) -> None:
    """Fill it, unless somebody did."""
    if store.partitions():
        return
    began = time.perf_counter()
    many_flags.fill(store, shape)
    print(f"made a store of {shape.flags:,} flags in {time.perf_counter() - began:.1f} s")


def measure(name: str, work: Callable[[], object]) -> None:
    """Print the best and the median of some tries."""
    took: list[float] = []
    computed: list[float] = []
    for _ in range(TRIES):
        began, computing = time.perf_counter(), time.process_time()
        work()
        took.append(time.perf_counter() - began)
        computed.append(time.process_time() - computing)
    best, median, least = 1000 * min(took), 1000 * statistics.median(took), 1000 * min(computed)
    print(f"{name:28} best {best:8.1f} ms, median {median:8.1f}, processor {least:8.1f}")


def measure_overview(store: Store) -> None:
    """Each total of the overview, over its usual period."""
    with store.reading() as connection:
        from_on, to_on = overview.last_days(connection) or (many_flags.LAST_DAY,) * 2
        for work in (
            overview.flags_by_day,
            overview.flags_by_rule,
            overview.flags_by_vendor,
            overview.verdicts_by_rule,
            overview.model_cost,
        ):
            measure(work.__name__, lambda work=work: work(connection, from_on, to_on))
        measure("money_at_risk", lambda: overview.money_at_risk(connection))
        for work in (overview.load, overview.ages):
            measure(work.__name__, lambda work=work: work(connection, many_flags.NOW))


def measure_workpaper(store: Store, settings: Settings) -> None:
    """Reading, the sheets with their digests, and each format, of a thousand flags at most."""
    flags = store.flags(state=None, limit=1_000)
    asked = Selection(flag_ids=tuple(flag.flag_id for flag in flags))
    prepared = Prepared("bench", dt.datetime(2025, 7, 1, tzinfo=dt.UTC))
    paper = workpaper(store, settings, asked, prepared)
    cells = sum(len(sheet.rows) * len(sheet.columns) for sheet in paper.sheets)
    print(f"a workpaper of {paper.flags:,} flags, {cells:,} cells")
    measure("read", lambda: read_papers(store, asked))
    measure("read, sheets, digests", lambda: workpaper(store, settings, asked, prepared))
    for form in FORMATS:
        print(f"{form}: {len(written(paper, form)):,} bytes")
        measure(
            f"all of it, to {form}",
            lambda form=form: written(workpaper(store, settings, asked, prepared), form),
        )


if __name__ == "__main__":
    main()
