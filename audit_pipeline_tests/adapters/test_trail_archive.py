"""Archives: what is in them besides the entries, damage on the way there, forged manifests."""

import datetime as dt
import errno
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from audit_pipeline.adapters.store import Store, reviewing
from audit_pipeline.adapters.trail import archive
from audit_pipeline.adapters.trail.archive import MANIFEST, archive_to_immutable_log
from audit_pipeline.adapters.trail.archive_check import verify_archive
from audit_pipeline.adapters.trail.folder import TrailFolder
from audit_pipeline.adapters.trail.keys import Signer, trusted_keys
from audit_pipeline.adapters.trail.sealing import Sealer
from audit_pipeline.model.alignment import Kind
from audit_pipeline.model.checkpoint import Note
from audit_pipeline.model.errors import BadUsage, TrailBroken
from audit_pipeline.model.trail import TrailEvent
from audit_pipeline_tests.adapters.test_store import DAY, decision, flag, partition, publish
from audit_pipeline_tests.trail_attacks import NOON, Scene, build

pytest_plugins = ("audit_pipeline_tests.postgres",)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Ninety sealed entries of three runs and five after them, on SQLite."""
    return build(f"sqlite:///{tmp_path / 'store.db'}", tmp_path / "trail", 3)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgres":
        return request.getfixturevalue("postgres_url")
    return f"sqlite:///{tmp_path / 'store.db'}"


def archived(url: str, folder: Path, run: str = "run-1") -> Path:
    with Store.open(url) as store:
        return archive_to_immutable_log(store, Sealer(folder, folder / "signing.key"), run)


def kinds(place: Path) -> list[Kind]:
    return [fault.kind for fault in verify_archive(place, []).faults]


def documents(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def spoil(file: Path, content: bytes | None) -> None:
    """As somebody who may write to the folder: the file is read-only, its folder is not."""
    file.unlink(missing_ok=True)
    if content is not None:
        file.write_bytes(content)


# ---- what is in one


def test_a_run_is_archived_with_its_flags_and_its_days(url: str, tmp_path: Path) -> None:
    """Flags with their findings and decisions; money and scores to the digit; not other runs'."""
    folder, raised = tmp_path / "trail", flag()
    with Store.open(url) as store:
        publish(store, [raised])
        publish(store, [flag("t2")], ["t2"], run="run-2")
        with store.writing() as writer:
            writer.replace_findings("demo", DAY, DAY, list(raised.findings), {})
            writer.put_partitions([partition(run="run-1"), partition("other", run="run-2")])
            reviewing.decide(writer, decision(raised.flag_id))
            events = [
                TrailEvent(run, "escalation", "create_flags", NOON)
                for run in ("run-1", "run-2", "run-1")
            ]
            writer.append_events(events)
    place = archived(url, folder)
    (told,) = documents(place / "flags.jsonl")
    assert (told["flag_id"], told["transaction_id"]) == (raised.flag_id, "t1")
    assert told["audit_on"] == DAY.isoformat()
    (found,), (decided,) = told["findings"], told["decisions"]
    assert (found["rule_id"], found["measured"], found["threshold"]) == (
        "RC-01",
        "1234.5000",
        "0.0001",
    )
    assert (decided["reviewer_id"], decided["notes"]) == ("ann", "it's fine")
    instant = dt.datetime.fromisoformat(decided["decided_at"])
    assert instant == decision(raised.flag_id).decided_at
    (day,) = documents(place / "ledger.jsonl")
    assert (day["population"], day["amount"]) == ("demo", "99999999999999999.99")
    assert kinds(place) == []


def test_entries_of_other_runs_are_there_by_hash_alone(url: str, tmp_path: Path) -> None:
    """Two runs that took turns: each archive holds its own words, and verifies alone."""
    folder = tmp_path / "trail"
    runs = ["mine", "theirs", "mine", "theirs", "mine"]
    with Store.open(url) as store, store.writing() as writer:
        writer.append_events([TrailEvent(run, "escalation", f"of {run}", NOON) for run in runs])
    for run, entries, lines in (("mine", 3, 5), ("theirs", 2, 3)):
        place = archived(url, folder, run)
        found = verify_archive(place, trusted_keys(None, folder))
        assert (found.faults, found.entries) == ([], entries)
        written = documents(place / "entries.jsonl")
        assert len(written) == lines
        tools = {line["document"]["tool_called"] for line in written if "document" in line}
        assert tools == {f"of {run}"}


# ---- what stands in its way


def test_a_damaged_leaf_file_does_not_hinder_an_archive(scene: Scene, tmp_path: Path) -> None:
    """The rows say the same, so the same archive comes of them; the damage is for `verify`."""
    expected = archived(scene.url, scene.folder, "run-2")
    kept = {file.name: file.read_bytes() for file in expected.iterdir()}
    sizes = TrailFolder(scene.folder).sizes()
    before = max(size for size in sizes if size < 80)
    leaves = scene.folder / f"{before:020}.leaves"
    note = scene.folder / f"{before:020}.checkpoint"
    raw, signed = leaves.read_bytes(), note.read_bytes()
    bent = json.loads(raw.partition(b"\n")[0])
    bent["peaks"][0] = "00" * 32
    other_peaks = json.dumps(bent).encode() + b"\n" + raw.partition(b"\n")[2]
    for file, content in (
        (leaves, b"nonsense"),
        (leaves, other_peaks),
        (leaves, None),
        (note, b"nonsense"),
    ):
        spoil(file, content)
        shutil.rmtree(expected)
        assert archived(scene.url, scene.folder, "run-2") == expected
        assert {file.name: file.read_bytes() for file in expected.iterdir()} == kept
        spoil(leaves, raw)
        spoil(note, signed)


def test_a_broken_checkpoint_over_the_run_is_named(scene: Scene) -> None:
    """An older one than the last, which sealing has no reason to read; nothing is archived."""
    first = TrailFolder(scene.folder).sizes()[0]
    with Store.open(scene.url) as store, store.writing() as writer:
        writer.connection.exec_driver_sql(
            f"UPDATE audit_trail SET audit_run_id = 'early' WHERE log_sequence_number < {first}"
        )
    spoil(scene.folder / f"{first:020}.checkpoint", b"nonsense")
    with pytest.raises(
        TrailBroken, match=f"the checkpoint over entry {first - 1}: it is no signed"
    ):
        archived(scene.url, scene.folder, "early")
    assert not (scene.folder / "archive").exists()


def test_a_full_disk_leaves_no_half_archive(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The third file cannot be written: nothing stays, and the next attempt makes a whole one."""
    write, left = archive.write_once, iter([True, True])

    def filling(path: Path, content: bytes, mode: int) -> bool:
        if not next(left, False):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, content, mode)

    with monkeypatch.context() as full:
        full.setattr(archive, "write_once", filling)
        with pytest.raises(OSError, match="No space"):
            archived(scene.url, scene.folder)
    assert list((scene.folder / "archive").iterdir()) == []
    assert kinds(archived(scene.url, scene.folder)) == []


def test_two_processes_that_archive_the_same_run(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who comes second finds the folder there, takes it, and leaves nothing of its own."""
    ready = archived(scene.url, scene.folder)
    shutil.move(ready, tmp_path / "ready")

    def other_was_faster(failpoint: str) -> None:
        if failpoint == "archived.before":
            shutil.copytree(tmp_path / "ready", ready)

    monkeypatch.setattr(archive.failpoints, "here", other_was_faster)
    assert archived(scene.url, scene.folder) == ready
    assert [file.name for file in ready.parent.iterdir()] == [ready.name]
    assert kinds(ready) == []


# ---- forged ones


def forged(place: Path, change: dict[str, Any], run: dict[str, Any] | None = None) -> None:
    """A manifest that says something else, signed with a key of the forger's own."""
    manifest = json.loads(Note.parse((place / MANIFEST).read_bytes()).body)
    signer = Signer.new()
    said = {
        **manifest,
        "run": {**manifest["run"], "vkey": str(signer.key), **(run or {})},
        **change,
    }
    spoil(place / MANIFEST, str(signer.sign(json.dumps(said) + "\n")).encode())


@pytest.mark.parametrize(
    ("change", "run"),
    [
        ({"files": None}, {}),
        ({"files": [{"name": "entries.jsonl"}]}, {}),
        ({"files": [{"name": 1, "sha256": "00"}]}, {}),
        ({"run": []}, {}),
        ({}, {"first_entry": "1"}),
        ({}, {"last_entry": None}),
        ({}, {"audit_run_id": 7}),
        ({"retain_until": None}, {}),
    ],
)
def test_a_manifest_that_says_no_such_thing_is_none(
    scene: Scene, change: dict[str, Any], run: dict[str, Any]
) -> None:
    """Its own key signed it, and no key was brought along: its words are still not believed."""
    place = archived(scene.url, scene.folder)
    forged(place, change, run)
    (fault,) = verify_archive(place, []).faults
    assert fault.kind is Kind.KEY
    assert fault.said == "manifest: it is no manifest"


def test_a_manifest_nested_without_end_is_none(scene: Scene) -> None:
    place = archived(scene.url, scene.folder)
    deep = "[" * 200_000 + "\n"
    spoil(place / MANIFEST, str(Signer.new().sign(deep)).encode())
    assert kinds(place) == [Kind.KEY]


@pytest.mark.parametrize("run", [{"first_entry": 0}, {"first_entry": 41}, {"last_entry": 80}])
def test_a_manifest_that_names_other_entries_leads_nowhere(
    scene: Scene, run: dict[str, Any]
) -> None:
    """Who trusts the trail's key is told that the forger's is none; alone, that it does not fit."""
    place = archived(scene.url, scene.folder)
    forged(place, {}, run)
    keys = trusted_keys(None, scene.folder)
    assert [fault.kind for fault in verify_archive(place, keys).faults] == [Kind.KEY]
    # the checkpoint is of the trail's key: the forger's does not vouch for it
    assert kinds(place) == [Kind.KEY]
    forger = Signer.parse((scene.folder / "signing.key").read_text())
    manifest = json.loads(Note.parse((place / MANIFEST).read_bytes()).body)
    manifest["run"]["vkey"] = str(forger.key)
    spoil(place / MANIFEST, str(forger.sign(json.dumps(manifest) + "\n")).encode())
    assert kinds(place) == [Kind.UNPLACED]


def test_a_folder_in_place_of_a_file_is_not_that_file(scene: Scene) -> None:
    place = archived(scene.url, scene.folder)
    (place / "ledger.jsonl").unlink()
    (place / "ledger.jsonl").mkdir()
    assert kinds(place) == [Kind.EDITED]
    with pytest.raises(BadUsage, match="no archive"):
        verify_archive(place / "ledger.jsonl", [])
