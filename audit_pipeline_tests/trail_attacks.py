"""Twelve ways to falsify a trail, by somebody who may write to the database or to the folder."""

import datetime as dt
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import delete, insert, select

from audit_pipeline.adapters.store import Store
from audit_pipeline.adapters.store.schema import AUDIT_TRAIL, TRAIL_CHECKPOINTS
from audit_pipeline.adapters.store.trail import leaf_document
from audit_pipeline.adapters.trail.keys import Signer
from audit_pipeline.adapters.trail.sealing import Sealer
from audit_pipeline.model.alignment import Kind
from audit_pipeline.model.checkpoint import Note
from audit_pipeline.model.trail import TrailEvent, leaf_hash

NOON = dt.datetime(2025, 3, 1, 12, tzinfo=dt.UTC)
NUMBER = "log_sequence_number"

TrailRow = dict[str, Any]


@dataclass
class Scene:
    """A sealed trail with a few entries after its last checkpoint."""

    url: str
    folder: Path
    key: str
    sealed: int
    rng: random.Random

    def rows(self) -> list[TrailRow]:
        with Store.open(self.url) as store, store.reading() as connection:
            query = select(AUDIT_TRAIL).order_by(AUDIT_TRAIL.c[NUMBER])
            return [dict(row) for row in connection.execute(query).mappings()]

    def write(self, rows: list[TrailRow]) -> None:
        """As an attacker would: the audit itself has no way to."""
        with Store.open(self.url) as store, store.writing() as writer:
            writer.connection.execute(delete(AUDIT_TRAIL))
            if rows:  # no rows would be one row of defaults
                writer.connection.execute(insert(AUDIT_TRAIL), rows)

    def copies(self) -> list[TrailRow]:
        with Store.open(self.url) as store, store.reading() as connection:
            return [dict(row) for row in connection.execute(select(TRAIL_CHECKPOINTS)).mappings()]

    def write_copies(self, copies: list[TrailRow]) -> None:
        with Store.open(self.url) as store, store.writing() as writer:
            writer.connection.execute(delete(TRAIL_CHECKPOINTS))
            writer.connection.execute(insert(TRAIL_CHECKPOINTS), copies)

    def place(self, first: int = 1, last: int | None = None) -> int:
        """Any sealed entry, at least `first`."""
        return self.rng.randint(first, self.sealed if last is None else last)


def event(number: int, at: dt.datetime | None = None) -> TrailEvent:
    return TrailEvent(
        audit_run_id=f"run-{number // 40}",
        agent_name="escalation",
        tool_called=f"tool {number}",
        occurred_at=at or NOON + dt.timedelta(seconds=number),
        execution_time_ms=number,
        input_data={"number": number, "text": "zażółć \\ \" '"},
        output_summary={"found": [number, None]},
    )


class Ticking:
    """Two seconds later each time: what a checkpoint thinks that it is made at."""

    def __init__(self, now: dt.datetime) -> None:
        self.now = now

    def __call__(self) -> dt.datetime:
        return self.now


def build(url: str, folder: Path, seed: int, entries: int = 90, window: int = 5) -> Scene:
    """A trail of `entries` sealed in several checkpoints, and `window` more."""
    rng = random.Random(seed)
    clock = Ticking(NOON)
    sealer = Sealer(folder, folder / "signing.key", clock)
    cuts = sorted({*rng.sample(range(5, entries), 3), entries})
    with Store.open(url) as store:
        done = 0
        for cut in cuts:
            with store.writing() as writer:
                writer.append_events([event(n) for n in range(done + 1, cut + 1)])
            clock.now = NOON + dt.timedelta(seconds=cut, milliseconds=500)
            sealer.seal(store)
            done = cut
        with store.writing() as writer:
            writer.append_events([event(n) for n in range(done + 1, done + window + 1)])
    key = (folder / "keys").read_text().strip()
    return Scene(url, folder, key, entries, rng)


def refit(row: TrailRow) -> TrailRow:
    """With the hash that fits what is in it."""
    return row | {"leaf_hash": leaf_hash(leaf_document(row))}


def renumber(rows: list[TrailRow]) -> list[TrailRow]:
    return [refit(row | {NUMBER: number}) for number, row in enumerate(rows, 1)]


Outcome = tuple[Kind, set[int] | None]
"""What must be named, and where; None: anywhere."""


def edit(scene: Scene) -> Outcome:
    rows, at = scene.rows(), scene.place()
    rows[at - 1]["tool_called"] = "nothing to see"
    scene.write(rows)
    return Kind.EDITED, {at}


def edit_and_refit(scene: Scene) -> Outcome:
    rows, at = scene.rows(), scene.place()
    rows[at - 1] = refit(rows[at - 1] | {"output_summary": '{"found":[]}'})
    scene.write(rows)
    return Kind.EDITED, {at}


def delete_one(scene: Scene) -> Outcome:
    rows, at = scene.rows(), scene.place()
    del rows[at - 1]
    scene.write(rows)
    return Kind.DELETED, {at}


def delete_and_renumber(scene: Scene) -> Outcome:
    # Not the last sealed one: an entry that was not sealed would stand in its place, and cutting
    # off and going on looks just like that.
    rows, at = scene.rows(), scene.place(last=scene.sealed - 1)
    del rows[at - 1]
    scene.write(renumber(rows))
    return Kind.DELETED, {at}


def insert_fabricated(scene: Scene) -> Outcome:
    rows, at = scene.rows(), scene.place()
    rows.insert(at - 1, rows[at - 1] | {"tool_called": "approved", "error_message": "made up"})
    scene.write(renumber(rows))
    return Kind.INSERTED, {at}


def swap_two(scene: Scene) -> Outcome:
    rows, first = scene.rows(), scene.place(last=scene.sealed - 1)
    second = scene.place(first + 1)
    rows[first - 1], rows[second - 1] = rows[second - 1], rows[first - 1]
    scene.write(renumber(rows))
    return Kind.REORDERED, {first, second}


def reorder_block(scene: Scene) -> Outcome:
    rows, first = scene.rows(), scene.place(last=scene.sealed - 10)
    block = rows[first - 1 : first + 9]
    while [row[NUMBER] for row in block] == sorted(row[NUMBER] for row in block):
        scene.rng.shuffle(block)
    rows[first - 1 : first + 9] = block
    scene.write(renumber(rows))
    return Kind.REORDERED, None


def truncate(scene: Scene) -> Outcome:
    left = scene.place(0, scene.sealed - 1)
    scene.write(scene.rows()[:left])
    return Kind.TRUNCATED, set(range(left + 1, scene.sealed + 1))


def truncate_and_append(scene: Scene) -> Outcome:
    """The audit goes on with other entries, up to as many as there were, or more."""
    left = scene.place(1, scene.sealed - 1)
    scene.write(scene.rows()[:left])
    later = NOON + dt.timedelta(days=1)
    with Store.open(scene.url) as store, store.writing() as writer:
        many = scene.rng.randint(1, scene.sealed)
        writer.append_events([event(1000 + n, later) for n in range(many)])
    return Kind.TRUNCATED, None


def rechain(scene: Scene) -> Outcome:
    """Everything from a place on says something else, and every hash fits; the copies too."""
    rows, first = scene.rows(), scene.place(last=scene.sealed - 1)
    rows[first - 1 :] = [refit(row | {"execution_time_ms": 7_777}) for row in rows[first - 1 :]]
    scene.write(rows)
    return Kind.RECHAINED, set(range(first, scene.sealed + 1))


def replay_old_checkpoint(scene: Scene) -> Outcome:
    """The newest checkpoints vanish, so that an older one is the last; or are overwritten by it."""
    sizes = sorted(int(file.stem) for file in scene.folder.glob("*.checkpoint"))
    old = scene.folder / f"{scene.rng.choice(sizes[:-1]):020}.checkpoint"
    how = scene.rng.choice(["overwritten", "gone", "gone without copies"])
    for size in sizes:
        newer = scene.folder / f"{size:020}.checkpoint"
        if newer.name > old.name and how == "overwritten":
            newer.unlink()
            shutil.copyfile(old, newer)
        elif newer.name > old.name:
            newer.unlink()
            if how == "gone":
                newer.with_suffix(".leaves").unlink()
    if how == "gone without copies":
        left = [copy for copy in scene.copies() if copy["tree_size"] <= int(old.stem)]
        scene.write_copies(left)
    return Kind.ROLLED_BACK, None


def substitute_key(scene: Scene) -> Outcome:
    """Every note signed anew with another key, which takes the place of the one in `keys`."""
    name = Note.parse(next(scene.folder.glob("*.checkpoint")).read_bytes()).signatures[0].name
    other = Signer(name, Signer.new()._private)
    for file in scene.folder.glob("*.checkpoint"):
        body = Note.parse(file.read_bytes()).body
        file.unlink()
        file.write_text(str(other.sign(body)), encoding="utf-8")
    keys = scene.folder / "keys"
    keys.unlink()
    keys.write_text(f"{other.key}\n", encoding="utf-8")
    return Kind.KEY, None


ATTACKS: tuple[Callable[[Scene], Outcome], ...] = (
    edit,
    edit_and_refit,
    delete_one,
    delete_and_renumber,
    insert_fabricated,
    swap_two,
    reorder_block,
    truncate,
    truncate_and_append,
    rechain,
    replay_old_checkpoint,
    substitute_key,
)
