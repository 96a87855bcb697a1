"""A workpaper as a file: its formats, its name, and its entry in the trail."""

import csv
import datetime as dt
import getpass
import io
import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from audit_pipeline.adapters.store import Store
from audit_pipeline.adapters.store.papers import Selection
from audit_pipeline.adapters.trail.sealing import Sealer
from audit_pipeline.model.errors import BadUsage
from audit_pipeline.model.trail import TrailEvent
from audit_pipeline.review.paper import Sheet, Value, spelt
from audit_pipeline.review.workpaper import Prepared, Workpaper, workpaper

if TYPE_CHECKING:
    from audit_pipeline.settings import Settings

FORMATS = {
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "pdf": "application/pdf",
    "csv": "application/zip",
}
"""What may be asked for → its media type; `csv` is one file a sheet, in an archive."""
SUFFIXES = {"xlsx": ".xlsx", "pdf": ".pdf", "csv": ".zip"}
NO_RUN = "store"
"""The trail's word for what belongs to no audit run."""
_MARKED = re.compile(r"[=+\-@\uff1d\uff0b\uff0d\uff20']")
"""How a formula begins; an apostrophe too, so that one at the front can always be left out."""


def export(settings: "Settings", asked: Selection, out: Path, by: str | None) -> Workpaper:
    """Write a paper to a file, whole or not at all, once the trail says so: the command line's.

    Args:
        out: its end says the format.
        by: who prepares it; None: the login name, which nobody has verified.

    Raises:
        BadUsage: as `workpaper` and `written`, or the file cannot be written.
        FlagUnknown: a named flag is not there.
    """
    form = next((form for form, end in SUFFIXES.items() if end == out.suffix.lower()), None)
    if form is None:
        raise BadUsage(f"{out}: the name must end in {', '.join(SUFFIXES.values())}")
    who = by or getpass.getuser()
    prepared = Prepared(who, dt.datetime.now(dt.UTC).replace(microsecond=0))
    sealer = Sealer(settings.trail_dir, settings.signing_key)
    with Store.open(settings.store_url, sealer=sealer) as store:
        paper = workpaper(store, settings, asked, prepared)
        content = written(paper, form)
        arriving = out.with_name(f".{out.name}.arriving")
        try:
            arriving.write_bytes(content)
            record(store, paper, form, f"command_line:{who}")
            arriving.replace(out)
        except OSError as fault:
            raise BadUsage(f"cannot write {out}: {fault.strerror}") from fault
        finally:
            arriving.unlink(missing_ok=True)
    return paper


def written(paper: Workpaper, form: str) -> bytes:
    """The file of a paper.

    Raises:
        BadUsage: there is no such format, what writes it is not installed, or the paper is too
            large for it.
    """
    if form not in FORMATS:
        raise BadUsage(f"{form!r} is no format; there are {', '.join(FORMATS)}")
    if form == "csv":
        return csv_archive(paper)
    try:
        if form == "pdf":
            from audit_pipeline.review.workpaper_pdf import pdf

            return pdf(paper)
        from audit_pipeline.review.workpaper_xlsx import xlsx
    except ImportError as fault:
        message = f"{fault.name} is not installed; it comes with audit-pipeline[desk]"
        raise BadUsage(message) from fault
    return xlsx(paper)


def file_name(paper: Workpaper, form: str) -> str:
    """A name of letters, digits, - and _, whatever the paper says."""
    return f"workpaper_{paper.from_on}_{paper.to_on}_{paper.sha256[:8]}{SUFFIXES[form]}"


def csv_archive(paper: Workpaper) -> bytes:
    """One CSV file for each sheet; the same paper is the same bytes."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for sheet in paper.sheets:
            # a fixed date, so that equal papers are equal files
            entry = zipfile.ZipInfo(f"{sheet.name}.csv", (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, _csv(sheet).encode("utf-8-sig"))
    return target.getvalue()


def _csv(sheet: Sheet) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow([column.name for column in sheet.columns])
    writer.writerows([_field(value) for value in row] for row in sheet.rows)
    return text.getvalue()


def _field(value: Value) -> str:
    """A text that a spreadsheet would run as a formula gets an apostrophe before it."""
    said = spelt(value)
    return f"'{said}" if isinstance(value, str) and _MARKED.match(said) else said


def record(store: Store, paper: Workpaper, form: str, agent: str) -> None:
    """Say in the trail that the paper was handed out, sealed at once.

    Args:
        agent: who asked, as the trail names agents: `reviewer:<id>`.
    """
    with store.writing("export_workpaper") as writer:
        event = TrailEvent(
            audit_run_id=NO_RUN,
            agent_name=agent,
            tool_called="export_workpaper",
            occurred_at=writer.now,
            input_data={
                "from": paper.from_on.isoformat(),
                "to": paper.to_on.isoformat(),
                "format": form,
                "prepared_at": paper.prepared.at.astimezone(dt.UTC).isoformat(timespec="seconds"),
            },
            output_summary={"flags": paper.flags, "sha256": paper.sha256},
        )
        writer.append_events([event])
        writer.urgent = True
