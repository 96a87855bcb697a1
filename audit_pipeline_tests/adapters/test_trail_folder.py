"""The folder of checkpoints: files that are written once, files that somebody spoiled."""

import datetime as dt
import errno
import json
import os
import re
import shutil
from pathlib import Path

import pytest

from audit_pipeline.adapters.store import Store
from audit_pipeline.adapters.trail.folder import LEAVES, LeafFile, TrailFolder, replace, write_once
from audit_pipeline.adapters.trail.keys import trusted_keys
from audit_pipeline.adapters.trail.sealing import Sealer
from audit_pipeline.adapters.trail.verify import Verified, verify
from audit_pipeline.model.alignment import EXIT_CODES, Kind
from audit_pipeline.model.checkpoint import NoteInvalid
from audit_pipeline.model.merkle import Peaks
from audit_pipeline.verification import _ago
from audit_pipeline_tests.environment import Command
from audit_pipeline_tests.trail_attacks import NOON, Scene, build, event


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return build(f"sqlite:///{tmp_path / 'data' / 'audit.sqlite'}", tmp_path / "data" / "trail", 3)


def verified(scene: Scene) -> Verified:
    return verify(scene.url, scene.folder, trusted_keys(None, scene.folder))


# ---- writing


def test_a_file_is_written_once(tmp_path: Path) -> None:
    """The second writer is told so, and neither changes it nor leaves anything behind."""
    path = tmp_path / "note"
    assert write_once(path, b"first")
    assert not write_once(path, b"second")
    assert path.read_bytes() == b"first"
    assert path.stat().st_mode & 0o777 == 0o444
    assert [file.name for file in tmp_path.iterdir()] == ["note"]


@pytest.mark.parametrize("write", [write_once, replace])
def test_a_write_that_fails_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: object
) -> None:
    """No new file, no half of one, and the old one as it was."""
    (tmp_path / "kept").write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for name in ("new", "kept"):
        with pytest.raises(OSError, match="No space"):
            write(tmp_path / name, b"content")  # type: ignore[operator]
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"kept": b"old"}


def test_a_folder_that_cannot_be_synced_is_written_to_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some file systems refuse to sync a folder, which is no reason to lose a checkpoint."""
    sync, refused = os.fsync, []

    def of_files_only(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").is_dir():
            refused.append(descriptor)
            raise OSError(errno.EINVAL, "Invalid argument")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", of_files_only)
    assert write_once(tmp_path / "note", b"content")
    assert (tmp_path / "note").read_bytes() == b"content"
    assert len(refused) == 1


# ---- reading


def test_a_leaf_file_comes_back() -> None:
    leaves = [bytes([n]) * 32 for n in range(7)]
    tree = Peaks()
    tree.extend(leaves)
    whole = LeafFile(2, tree, NOON, leaves[2:])
    assert LeafFile.parse(whole.content()) == whole


@pytest.mark.parametrize(
    "line",
    [
        b"[" * 200_000,
        b'{"begin":0,"end":1e999,"peaks":[],"sealed_at":""}',
        b'{"begin":0,"end":0,"peaks":[],"sealed_at":"2025-03-01T12:00:00+00:00"}',
    ],
)
def test_a_line_that_heads_no_leaf_file(line: bytes) -> None:
    """Whatever somebody wrote there: nesting without end, infinity, no leaves at all."""
    with pytest.raises(NoteInvalid):
        LeafFile.parse(line + b"\n")


def test_files_that_are_not_checkpoints_are_passed_over(scene: Scene) -> None:
    folder = TrailFolder(scene.folder)
    before = folder.sizes()
    for name in ("1.checkpoint", f"{7:020}.checkpoint.old", f".{8:020}.checkpoint", "x.checkpoint"):
        (scene.folder / name).write_text("nonsense")
    assert folder.sizes() == before
    assert verified(scene).faults == []


def test_what_stands_in_place_of_a_leaf_file_accuses_no_entry(scene: Scene) -> None:
    """A folder, or the leaves of another checkpoint; sealing goes on from the rows."""
    last = scene.folder / f"{90:020}{LEAVES}"
    raw = last.read_bytes()
    last.unlink()
    last.mkdir()
    (fault,) = verified(scene).faults
    assert fault.kind is Kind.OUTSIDE
    assert fault.said.startswith(f"{last.name}: it cannot be read: ")
    with Store.open(scene.url) as store:
        head = Sealer(scene.folder, scene.folder / "signing.key").seal(store)
    assert head is not None
    assert head.tree_size == 95
    last.rmdir()
    last.write_bytes(raw)
    assert verified(scene).faults == []


def test_an_older_checkpoint_under_a_newer_ones_name(scene: Scene) -> None:
    """Its signature holds, but for another size than its name says."""
    older, *_, newest = TrailFolder(scene.folder).sizes()
    file = scene.folder / f"{newest:020}.checkpoint"
    file.unlink()
    shutil.copyfile(scene.folder / f"{older:020}.checkpoint", file)
    fault = verified(scene).faults[0]
    assert (fault.kind, fault.places) == (Kind.ROLLED_BACK, (newest,))
    assert fault.said == f"{file.name} holds the checkpoint of {older} entries"


# ---- how a person reads it


def test_a_trail_that_nobody_signed_is_said_to_have_no_checkpoint(
    command: Command, tmp_path: Path
) -> None:
    """No word on the entries after the last one, since there is none."""
    url = f"sqlite:///{tmp_path / 'data' / 'audit.sqlite'}"
    with Store.open(url) as store, store.writing() as writer:
        writer.append_events([event(number) for number in range(3)])
    ended = command("verify", "--data", tmp_path / "data")
    assert ended.code == EXIT_CODES[Kind.ROLLED_BACK]
    assert "3 entries, 0 checkpoints, the last over 0" in ended.out
    assert "nothing vouches for its entries" in ended.out
    assert "lie after the last checkpoint" not in ended.out
    said = json.loads(command("verify", "--data", tmp_path / "data", "--json", "-").out)
    assert (said["sealed_entries"], said["checkpoint"], said["sealed_at"]) == (0, None, None)


def test_a_checkpoint_without_its_leaves_has_no_age(command: Command, scene: Scene) -> None:
    """When it was made stands in the leaf file alone."""
    aged = r"5 entries lie after the last checkpoint, made [0-9]+ days ago; "
    assert re.search(aged, command("verify", "--data", scene.folder.parent).out)
    (scene.folder / f"{90:020}{LEAVES}").unlink()
    assert "after the last checkpoint; " in command("verify", "--data", scene.folder.parent).out


@pytest.mark.parametrize(
    ("age", "told"),
    [
        (dt.timedelta(days=2, hours=5), "2 days ago"),
        (dt.timedelta(hours=47, minutes=30), "47 hours ago"),
        (dt.timedelta(minutes=119, seconds=10), "119 minutes ago"),
        (dt.timedelta(seconds=30), r"\d\d seconds ago"),
    ],
)
def test_an_age_in_the_largest_unit_of_which_there_are_two(age: dt.timedelta, told: str) -> None:
    assert re.fullmatch(told, _ago(dt.datetime.now(dt.UTC) - age))
