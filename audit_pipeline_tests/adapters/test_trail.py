"""Checkpoints: when they are made, what is never signed, what verification says of the files."""

import datetime as dt
import json
import logging
import multiprocessing
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from audit_pipeline.adapters.store import Store, engine, reviewing, trail_reader
from audit_pipeline.adapters.store.leaves import COLUMNS, canonical_leaf, canonical_leaves
from audit_pipeline.adapters.store.trail import _InstantAsStored, leaf_document
from audit_pipeline.adapters.trail.archive import MANIFEST, archive_to_immutable_log
from audit_pipeline.adapters.trail.archive_check import verify_archive
from audit_pipeline.adapters.trail.folder import LeafFile, TrailFolder
from audit_pipeline.adapters.trail.keys import Signer, trusted_keys
from audit_pipeline.adapters.trail.sealing import Sealer
from audit_pipeline.adapters.trail.verify import Verified, verify
from audit_pipeline.model.alignment import EXIT_CODES, Kind
from audit_pipeline.model.checkpoint import Note, NoteInvalid
from audit_pipeline.model.errors import BadUsage, StoreUnavailable, TrailBroken
from audit_pipeline.model.trail import canonical
from audit_pipeline.settings import load_rules, rules_text
from audit_pipeline_tests.adapters.test_store import decision, flag, publish
from audit_pipeline_tests.environment import Command
from audit_pipeline_tests.trail_attacks import Scene, Ticking, build, event, refit

pytest_plugins = ("audit_pipeline_tests.postgres",)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgres":
        return request.getfixturevalue("postgres_url")
    return f"sqlite:///{tmp_path / 'store.db'}"


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Ninety sealed entries and five after them, on SQLite."""
    return build(f"sqlite:///{tmp_path / 'store.db'}", tmp_path / "trail", 3)


@pytest.fixture
def clock() -> Ticking:
    return Ticking(dt.datetime.now(dt.UTC))


@pytest.fixture
def sealed_store(url: str, tmp_path: Path, clock: Ticking) -> Iterator[Store]:
    """A store that is sealed into `trail`."""
    folder = tmp_path / "trail"
    with Store.open(url, sealer=Sealer(folder, folder / "signing.key", clock)) as store:
        yield store


def append(store: Store, *numbers: int) -> None:
    with store.writing() as writer:
        writer.append_events([event(number) for number in numbers])


def verified(scene: Scene, key: str | None = None, given: Path | None = None) -> Verified:
    return verify(scene.url, scene.folder, trusted_keys(key, scene.folder), given)


def kinds(found: Verified) -> list[Kind]:
    return [fault.kind for fault in found.faults]


def sizes(folder: Path) -> list[int]:
    return TrailFolder(folder).sizes()


# ---- leaves


CELLS = st.none() | st.text() | st.integers() | st.binary() | st.floats() | st.decimals(-1e12, 1e12)
ZONES = st.integers(-720, 720).map(lambda minutes: dt.timezone(dt.timedelta(minutes=minutes)))
SOME_DAY, SOME_OTHER = dt.datetime(2, 1, 1), dt.datetime(9998, 12, 31)  # noqa: DTZ001 - naive ones
INSTANTS = (
    st.none()
    | st.datetimes(SOME_DAY, SOME_OTHER)
    | st.datetimes(SOME_DAY, SOME_OTHER, timezones=ZONES)
)


@settings(max_examples=60, deadline=None)
@given(st.fixed_dictionaries(dict.fromkeys(COLUMNS, CELLS)), INSTANTS)
def test_leaves_are_hashed_over_the_canonical_document(
    row: dict[str, object], at: dt.datetime | None
) -> None:
    """As the driver of Postgres gives a row, and as that of SQLite does."""
    document = leaf_document({**row, "timestamp": at})
    for stored in (at, str(at) if at else None):
        raw = [{**row, "timestamp": stored}[name] for name in COLUMNS]
        assert canonical_leaf(raw) == canonical(document)
    assert canonical_leaf(raw, 7) == canonical({**document, "log_sequence_number": 7})


CLOCKS = (
    st.datetimes(SOME_DAY, SOME_OTHER).map(lambda at: at.isoformat(" ", "microseconds"))
    | st.sampled_from(
        (
            "2025-02-30 12:00:00.000000",
            "2025-02-28 24:00:00.000000",
            "0999-02-28 12:00:00.000000",
            "2025-W09-6 12:00:00.000000",
            "2025-02-28T12:00:00.000000",
            "2025-02-28 12:00:00,000000",
            "2025-02-28 12:00:00.00000٤",
            "2025-02-28 12:00:00.000000\n2025-02-28 12:00:00.000000",
            "0001-01-01 00:00:00+05:00",
            "",
        )
    )
    | st.text()
    | st.none()
)
ALIKE = st.sampled_from((st.text(), st.integers(), st.none(), st.booleans(), CELLS))


@settings(max_examples=100, deadline=None)
@given(st.data(), st.integers(0, 4))
def test_rows_that_are_hashed_together_are_hashed_as_each_alone(
    data: st.DataObject, many: int
) -> None:
    """Columns of one type, for which there is a short way, and of several."""
    columns = {
        name: data.draw(st.lists(data.draw(ALIKE), min_size=many, max_size=many))
        for name in COLUMNS
    }
    clock = data.draw(st.sampled_from((CLOCKS, st.just("2025-03-01 12:00:06.000000"))))
    columns["timestamp"] = data.draw(st.lists(clock, min_size=many, max_size=many))
    rows = list(zip(*columns.values(), strict=True))
    spelled = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
    for row in spelled:
        row["timestamp"] = _InstantAsStored().process_result_value(row["timestamp"], None)
    assert canonical_leaves(rows) == [canonical(leaf_document(row)) for row in spelled]


@pytest.mark.parametrize("at", ["x", "0001-01-01 00:00:00+05:00", "9999-12-31 23:00:00-05:00"])
def test_an_edited_timestamp_is_hashed_as_it_stands(scene: Scene, at: str) -> None:
    """Also one that is no instant in UTC."""
    with Store.open(scene.url) as store, store.writing() as writer:
        change = text("UPDATE audit_trail SET timestamp = :at WHERE log_sequence_number = 7")
        writer.connection.execute(change, {"at": at})
    assert f'"timestamp":"{at}"'.encode() in canonical_leaf([at] * len(COLUMNS))
    assert kinds(verified(scene)) == [Kind.EDITED]
    with Store.open(scene.url) as store:
        assert [entry.document["timestamp"] for entry in store.trail()][6] == at


def test_unreadable_texts_do_not_lose_a_row(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever they are among the rows that are fetched at once."""
    monkeypatch.setattr(trail_reader, "ROWS_AT_ONCE", 10)
    with Store.open(scene.url) as store, store.writing() as writer:
        writer.connection.exec_driver_sql(
            "UPDATE audit_trail SET tool_called = CAST(x'ff00fe' AS TEXT)"
            " WHERE log_sequence_number IN (10, 25, 31, 95)"
        )
    found = verified(scene)
    assert found.entries == 95
    assert {fault.kind: fault.places for fault in found.faults} == {
        Kind.EDITED: (10, 25, 31),
        Kind.HASH: (95,),
    }


# ---- when


def test_a_decision_is_sealed_at_once_and_other_commits_after_a_minute(
    sealed_store: Store, tmp_path: Path, clock: Ticking
) -> None:
    folder = tmp_path / "trail"
    append(sealed_store, 1)
    assert sizes(folder) == [1]  # there was none
    append(sealed_store, 2)
    publish(sealed_store, [flag()])
    assert sizes(folder) == [1]
    with sealed_store.writing() as writer:
        reviewing.decide(writer, decision(flag().flag_id))
    assert sizes(folder) == [1, 3]
    sealed_store.save_workflow_state("run", {"status": "in_progress"})
    append(sealed_store, 4)
    assert sizes(folder) == [1, 3]
    clock.now = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=61)
    append(sealed_store, 5)
    assert sizes(folder) == [1, 3, 5]
    append(sealed_store, 6)
    clock.now = dt.datetime.now(dt.UTC)
    sealed_store.mark_audit_complete("run", {})
    assert sizes(folder) == [1, 3, 5, 6]
    assert [copy.tree_size for copy in sealed_store.checkpoints()] == [1, 3, 5, 6]
    assert (
        verify(
            sealed_store._engine.url.render_as_string(hide_password=False),
            folder,
            trusted_keys(None, folder),
        ).faults
        == []
    )


def test_sealing_twice_signs_once(sealed_store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "trail"
    sealer = Sealer(folder, folder / "signing.key")
    assert sealer.seal(sealed_store) is None
    assert not folder.exists()
    append(sealed_store, 1)
    assert sealer.seal(sealed_store) == sealer.seal(sealed_store)
    assert sizes(folder) == [1]
    assert (folder / "signing.key").stat().st_mode & 0o777 == 0o600
    assert (folder / f"{1:020}.checkpoint").stat().st_mode & 0o777 == 0o444
    assert list(folder.glob(".*")) == []


def test_a_checkpoint_that_cannot_be_written_fails_nothing(
    sealed_store: Store,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder = tmp_path / "trail"
    folder.write_text("a file where the folder should be")
    with caplog.at_level(logging.WARNING):
        append(sealed_store, 1)
    assert "could not be sealed" in caplog.text
    assert len(list(sealed_store.trail())) == 1
    folder.unlink()
    append(sealed_store, 2)
    assert sizes(folder) == [2]


# ---- what is never signed


def reseal(scene: Scene) -> None:
    with Store.open(scene.url) as store:
        Sealer(scene.folder, scene.folder / "signing.key").seal(store)


def test_new_leaves_are_hashed_from_their_rows(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    """A stored hash is not believed, and one that does not fit is said."""
    rows = scene.rows()
    rows[92]["leaf_hash"] = "0" * 64
    scene.write(rows)
    with caplog.at_level(logging.WARNING):
        reseal(scene)
    assert "entry 93 does not fit" in caplog.text
    assert kinds(verified(scene)) == [Kind.HASH]
    assert verified(scene).faults[0].places == (93,)


def test_nothing_is_signed_on_a_trail_that_was_cut(scene: Scene) -> None:
    scene.write(scene.rows()[:80])
    with pytest.raises(TrailBroken, match="90 entries were signed and the trail has 80"):
        reseal(scene)


def test_nothing_is_signed_over_a_gap(scene: Scene) -> None:
    rows = scene.rows()
    scene.write(rows[:91] + rows[92:])
    with pytest.raises(TrailBroken, match="have a gap"):
        reseal(scene)
    assert kinds(verified(scene)) == [Kind.DELETED]
    assert "entry 92: gone, after the last checkpoint" in verified(scene).faults[0].said


def test_nothing_is_signed_on_a_forged_note(scene: Scene) -> None:
    """Of another key, even one that is listed; of another size; of no form."""
    newest = scene.folder / f"{90:020}.checkpoint"
    body = Note.parse(newest.read_bytes()).body
    forger = Signer.new()
    TrailFolder(scene.folder).add_key(str(forger.key))
    smallest = min(sizes(scene.folder))
    for content in (
        str(forger.sign(body)).encode(),
        (scene.folder / f"{smallest:020}.checkpoint").read_bytes(),
        b"no note",
    ):
        newest.unlink()
        newest.write_bytes(content)
        with pytest.raises(TrailBroken, match=f"{90:020}.checkpoint"):
            reseal(scene)


def test_nothing_is_signed_in_a_folder_that_was_put_back(scene: Scene) -> None:
    """The database has a copy of a longer checkpoint, with our signature."""
    (scene.folder / f"{90:020}.checkpoint").unlink()
    (scene.folder / f"{90:020}.leaves").unlink()
    with pytest.raises(TrailBroken, match="there was a checkpoint of 90 entries"):
        reseal(scene)
    copies = scene.copies()
    copies[-1]["signature"] = "AAAA"
    scene.write_copies(copies)
    reseal(scene)  # a copy that nobody signed proves nothing


def test_a_lost_key_is_not_replaced(scene: Scene) -> None:
    (scene.folder / "signing.key").unlink()
    with pytest.raises(TrailBroken, match=r"the signing key .* is gone"):
        reseal(scene)
    (scene.folder / "signing.key").write_text("nonsense")
    with pytest.raises(TrailBroken, match="cannot be read"):
        reseal(scene)


def test_lost_leaf_files_are_made_up_for_from_the_rows(scene: Scene) -> None:
    """Unless the rows are not what was signed."""
    for file in scene.folder.glob("*.leaves"):
        file.unlink()
    pristine = scene.rows()
    rows = scene.rows()
    rows[10] = refit(rows[10] | {"tool_called": "other"})
    scene.write(rows)
    with pytest.raises(TrailBroken, match="are not those that were signed"):
        reseal(scene)
    scene.write(pristine)
    reseal(scene)
    assert verified(scene).faults == []
    assert verified(scene).open_entries == 0


def test_a_new_key_goes_on_where_it_knows_the_old_one(scene: Scene) -> None:
    old = trusted_keys(None, scene.folder)[0]
    path = scene.folder / "signing.key"
    path.unlink()
    fresh = Signer.new()
    path.write_text(fresh.text())
    with pytest.raises(TrailBroken, match="does not know"):
        reseal(scene)
    path.write_text(f"{Signer(old.name, fresh._private).text()}{old}\n")
    reseal(scene)
    assert verified(scene).faults == []
    assert len(trusted_keys(None, scene.folder)) == 2


# ---- what is said of the files


def test_every_byte_of_a_checkpoint_file_counts(scene: Scene) -> None:
    newest = scene.folder / f"{90:020}.checkpoint"
    raw = newest.read_bytes()
    for at in range(len(raw)):
        bent = bytearray(raw)
        bent[at] ^= 1 << (at % 8)
        newest.unlink()
        newest.write_bytes(bytes(bent))
        assert Kind.KEY in kinds(verified(scene)), f"byte {at}"


def test_a_changed_leaf_file_accuses_no_entry(scene: Scene) -> None:
    for spoil in (b"nonsense", None, "peaks", "other"):
        file = scene.folder / f"{90:020}.leaves"
        raw = file.read_bytes()
        file.unlink()
        if spoil is None:
            file.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
        elif spoil == "peaks":
            whole = LeafFile.parse(raw)
            whole.tree.hashes[0] = bytes(32)
            file.write_bytes(whole.content())
        elif spoil == "other":
            file.write_bytes((scene.folder / f"{min(sizes(scene.folder)):020}.leaves").read_bytes())
        else:
            file.write_bytes(spoil)  # type: ignore[arg-type]
        assert kinds(verified(scene)) == [Kind.OUTSIDE]
        file.unlink()
        file.write_bytes(raw)


def test_without_leaf_files_a_change_is_seen_and_cannot_be_placed(scene: Scene) -> None:
    for file in scene.folder.glob("*.leaves"):
        file.unlink()
    assert verified(scene).faults == []
    rows = scene.rows()
    rows[88] = refit(rows[88] | {"tool_called": "other"})
    scene.write(rows)
    found = verified(scene)
    assert Kind.UNPLACED in kinds(found)
    assert found.faults[0].places[1] == 90


def test_no_checkpoint_is_no_clean_bill(tmp_path: Path) -> None:
    url, folder = f"sqlite:///{tmp_path / 's.db'}", tmp_path / "trail"
    with Store.open(url) as store:
        assert verify(url, folder, []).exit_code == 0  # an empty trail has nothing to vouch for
        append(store, 1)
    found = verify(url, folder, [])
    assert kinds(found) == [Kind.ROLLED_BACK]
    assert (found.open_entries, found.head, found.sealed_at) == (1, None, None)


def test_copies_in_the_database_are_compared(scene: Scene) -> None:
    copies = scene.copies()
    for change, says in (
        ({"root_hash": "00" * 32}, "another root"),
        ({"signature": "AAAA"}, "is not signed|broken"),
        ({"signature": "%"}, "is not signed"),
        ({"key_id": "else+00000000"}, "no key that is trusted"),
    ):
        scene.write_copies([*copies[:-1], copies[-1] | change])
        (fault,) = verified(scene).faults
        assert fault.kind is Kind.KEY
        assert re.search(says, fault.said), fault.said


def test_a_checkpoint_kept_elsewhere(scene: Scene, tmp_path: Path) -> None:
    """It shows that the folder lost it; two that contradict each other are told."""
    newest = scene.folder / f"{90:020}.checkpoint"
    mine = tmp_path / "mine"
    shutil.copyfile(newest, mine)
    assert verified(scene, given=mine).faults == []
    signer = Signer.parse((scene.folder / "signing.key").read_text())
    other = Note.parse(mine.read_bytes()).body.replace("\n90\n", "\n91\n")
    mine.write_text(str(signer.sign(other)))
    assert Kind.ROLLED_BACK in kinds(verified(scene, given=mine))
    root = Note.parse(newest.read_bytes()).body.split("\n")[2]
    forked = Note.parse(newest.read_bytes()).body.replace(root, "A" * 43 + "=")
    mine.write_text(str(signer.sign(forked)))
    assert Kind.ROLLED_BACK in kinds(verified(scene, given=mine))
    elsewhere = Signer(signer.key.name + "x", signer._private)
    mine.write_text(str(elsewhere.sign(forked.replace(signer.key.name, elsewhere.key.name))))
    assert Kind.KEY in kinds(verified(scene, given=mine))
    assert Kind.KEY in kinds(verified(scene, given=tmp_path / "nowhere"))


def test_checkpoints_of_two_trails_in_one_folder(scene: Scene) -> None:
    signer = Signer.parse((scene.folder / "signing.key").read_text())
    file = scene.folder / f"{min(sizes(scene.folder)):020}.checkpoint"
    body = Note.parse(file.read_bytes()).body.replace(signer.key.name, "another")
    file.unlink()
    file.write_text(str(signer.sign(body)))
    assert set(kinds(verified(scene))) == {Kind.KEY}
    assert any("2 trails" in fault.said for fault in verified(scene).faults)


def test_hostile_values_in_the_rows_are_named(tmp_path: Path) -> None:
    """Text that is no UTF-8, a number that is none, a hash that is none."""
    for number, change, expected in (
        (7, "tool_called = CAST(x'ff00fe' AS TEXT)", {Kind.EDITED}),
        (8, "log_sequence_number = 'eight'", {Kind.REORDERED}),
        (9, "log_sequence_number = 9.5", {Kind.REORDERED}),
        (9, "log_sequence_number = -4", {Kind.REORDERED}),
        (9, "log_sequence_number = 'none', tool_called = 'x'", {Kind.INSERTED, Kind.DELETED}),
        (9, "leaf_hash = 'none'", {Kind.HASH}),
        (9, "leaf_hash = 'none', tool_called = 'x', timestamp = 'never'", {Kind.EDITED}),
        (9, "timestamp = 'never'", {Kind.EDITED}),
        (9, "timestamp = x'ff00'", {Kind.EDITED}),
    ):
        place = tmp_path / f"{number}-{abs(hash(change))}"
        scene = build(f"sqlite:///{place}.db", place, 3)
        with Store.open(scene.url) as store, store.writing() as writer:
            writer.connection.execute(
                text(f"UPDATE audit_trail SET {change} WHERE log_sequence_number = {number}")
            )
        assert set(kinds(verified(scene))) == expected, change


def test_verifying_writes_nothing(scene: Scene, tmp_path: Path) -> None:
    before = sorted((str(p), p.stat().st_mtime_ns) for p in tmp_path.rglob("*"))
    assert verified(scene).faults == []
    assert sorted((str(p), p.stat().st_mtime_ns) for p in tmp_path.rglob("*")) == before
    with pytest.raises(StoreUnavailable, match="there is no store"):
        verify(f"sqlite:///{tmp_path / 'nowhere.db'}", scene.folder, [])
    assert not (tmp_path / "nowhere.db").exists()
    other = tmp_path / "other.db"
    other.write_text("no database " * 100)
    with pytest.raises(StoreUnavailable, match="something else"):
        verify(f"sqlite:///{other}", scene.folder, [])


def test_a_store_in_use_is_verified(scene: Scene) -> None:
    with Store.open(scene.url) as store:
        append(store, 96)
        assert verified(scene).open_entries == 6


def test_a_store_that_is_opened_meanwhile_is_to_be_verified_again(scene: Scene) -> None:
    said: list[str] = []

    def meddle(what: str) -> None:
        if not said:
            with Store.open(scene.url) as store:
                append(store, 96)
        said.append(what)

    with pytest.raises(StoreUnavailable, match="verify again"):
        verify(scene.url, scene.folder, trusted_keys(None, scene.folder), say=meddle)


@pytest.mark.parametrize("content", [b"", b"{}\n", b'{"begin":0,"end":1,"peaks":[]}\n', b"[]\n"])
def test_bytes_that_are_no_leaf_file(content: bytes) -> None:
    with pytest.raises(NoteInvalid):
        LeafFile.parse(content)


def test_keys_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("nonsense")
    for key in ("nonsense", str(tmp_path / "file"), str(tmp_path)):
        with pytest.raises(BadUsage, match="no key and no file of keys"):
            trusted_keys(key, tmp_path)


# ---- archives


def archived(scene: Scene, run: str = "run-1", years: int = 7) -> Path:
    with Store.open(scene.url) as store:
        sealer = Sealer(scene.folder, scene.folder / "signing.key")
        return archive_to_immutable_log(store, sealer, run, years)


def test_an_archive_verifies_alone_and_is_the_same_twice(scene: Scene, tmp_path: Path) -> None:
    place = archived(scene)
    found = verify_archive(place, trusted_keys(None, scene.folder))
    assert (found.faults, found.entries, found.retain_until) == ([], 40, "2032-03-01")
    assert (found.run["first_entry"], found.run["last_entry"]) == (40, 79)
    assert verify_archive(place / MANIFEST, []).faults == []
    assert kinds_of(place, [Signer.new().key]) == [Kind.KEY]
    before = {file.name: file.read_bytes() for file in place.iterdir()}
    assert {file.stat().st_mode & 0o777 for file in place.iterdir()} == {0o444}
    shutil.rmtree(place)
    assert archived(scene) == archived(scene) == place
    assert {file.name: file.read_bytes() for file in place.iterdir()} == before
    with Store.open(scene.url) as store:
        told = [e for e in store.trail() if e.document["tool_called"] == "archive_to_immutable_log"]
    assert len(told) == 1
    assert json.loads(told[0].document["output_summary"])["archive"] == place.name
    shutil.copytree(place, tmp_path / "elsewhere")
    shutil.rmtree(scene.folder)
    assert verify_archive(tmp_path / "elsewhere", []).faults == []


def kinds_of(place: Path, keys: list) -> list[Kind]:  # type: ignore[type-arg]
    return [fault.kind for fault in verify_archive(place, keys).faults]


def test_every_file_of_an_archive_counts(scene: Scene) -> None:
    place = archived(scene)
    for file in sorted(place.iterdir()):
        raw = file.read_bytes()
        file.unlink()
        file.write_bytes(raw[:-2] + bytes([raw[-2] ^ 1]) + raw[-1:] if raw else b"x")
        expected = Kind.KEY if file.name == MANIFEST else Kind.EDITED
        assert kinds_of(place, []) == [expected], file.name
        file.unlink()
        if file.name != MANIFEST:
            assert kinds_of(place, []) == [Kind.DELETED]
        file.write_bytes(raw)
    (place / "more").write_text("x")
    assert kinds_of(place, []) == [Kind.INSERTED]
    with pytest.raises(BadUsage, match="no archive"):
        verify_archive(place / "more", [])


def resigned(scene: Scene, place: Path, name: str, content: bytes) -> None:
    """As the holder of the key could: another content, with a manifest that says so."""
    import hashlib

    signer = Signer.parse((scene.folder / "signing.key").read_text())
    manifest = json.loads(Note.parse((place / MANIFEST).read_bytes()).body)
    for file in manifest["files"]:
        if file["name"] == name:
            file["sha256"] = hashlib.sha256(content).hexdigest()
    (place / name).unlink()
    (place / name).write_bytes(content)
    (place / MANIFEST).unlink()
    (place / MANIFEST).write_text(str(signer.sign(json.dumps(manifest) + "\n")))


def test_entries_that_do_not_lead_to_the_checkpoint(scene: Scene) -> None:
    place = archived(scene)
    entries = (place / "entries.jsonl").read_bytes()
    lines = entries.splitlines(keepends=True)
    for content in (
        entries.replace(b"tool 50", b"tool 51"),
        b"".join(lines[:-1]),
        b"".join([lines[1], lines[0], *lines[2:]]),
        entries.replace(b'"run-1"', b'"run-2"'),
        b"nonsense\n",
    ):
        resigned(scene, place, "entries.jsonl", content)
        assert kinds_of(place, []) == [Kind.UNPLACED]
    resigned(scene, place, "entries.jsonl", entries)
    assert kinds_of(place, []) == []
    resigned(scene, place, "checkpoint", b"nonsense")
    assert kinds_of(place, []) == [Kind.KEY]


def test_manifests_that_are_none(scene: Scene) -> None:
    place = archived(scene)
    signer = Signer.parse((scene.folder / "signing.key").read_text())
    for body in ("nonsense\n", "{}\n", '{"run": {"vkey": 1}, "retain_until": ""}\n'):
        (place / MANIFEST).unlink()
        (place / MANIFEST).write_text(str(signer.sign(body)))
        assert kinds_of(place, []) == [Kind.KEY]


def test_what_cannot_be_archived(scene: Scene) -> None:
    with pytest.raises(BadUsage, match="no entries of run nobody"):
        archived(scene, "nobody")
    rows = scene.rows()
    rows[50] = refit(rows[50] | {"tool_called": "other"})
    scene.write(rows)
    with pytest.raises(TrailBroken, match="not those that were signed"):
        archived(scene)
    assert not list((scene.folder / "archive").glob("*")) or not (scene.folder / "archive").exists()


def test_leap_days_and_odd_run_ids(tmp_path: Path) -> None:
    url, folder = f"sqlite:///{tmp_path / 's.db'}", tmp_path / "trail"
    at = dt.datetime(2024, 2, 29, tzinfo=dt.UTC)
    with Store.open(url) as store, store.writing() as writer:
        writer.append_events([event(1, at)])
        writer.connection.exec_driver_sql("UPDATE audit_trail SET audit_run_id = '../../x'")
    scene = Scene(url, folder, "", 1, None)  # type: ignore[arg-type]
    rows = scene.rows()
    scene.write([refit(row) for row in rows])
    place = archived(scene, "../../x")
    assert place.parent == folder / "archive"
    assert verify_archive(place, []).retain_until == "2031-02-28"


# ---- many at once


def append_and_seal(url: str, folder: str, times: int) -> None:
    """What one of several processes does."""
    sealer = Sealer(Path(folder), Path(folder) / "signing.key")
    with Store.open(url) as store:
        for number in range(times):
            append(store, number)
            if number % 20 == 0:
                sealer.seal(store)


def storm(url: str, folder: Path, processes: int, times: int) -> Verified:
    """Processes that append and seal at the same time."""
    Store.open(url).close()
    spawn = multiprocessing.get_context("spawn")
    running = [
        spawn.Process(target=append_and_seal, args=(url, str(folder), times))
        for _ in range(processes)
    ]
    for process in running:
        process.start()
    for process in running:
        process.join()
    assert [process.exitcode for process in running] == [0] * processes
    engine_ = engine.read_only_engine(url)
    with engine.read_connection(engine_) as connection:
        numbers = [
            row[COLUMNS.index("log_sequence_number")]
            for rows in trail_reader.raw_rows(connection)
            for row in rows
        ]
    engine_.dispose()
    assert numbers == list(range(1, processes * times + 1))
    return verify(url, folder, trusted_keys(None, folder))


def test_processes_that_seal_at_the_same_time(url: str, tmp_path: Path) -> None:
    found = storm(url, tmp_path / "trail", 3, 41)
    assert found.faults == []
    assert found.entries == 123
    assert len(trusted_keys(None, tmp_path / "trail")) == 1


@pytest.mark.slow
def test_eight_writers_of_a_thousand(url: str, tmp_path: Path) -> None:
    found = storm(url, tmp_path / "trail", 8, 1000)
    assert (found.faults, found.entries) == ([], 8000)


# ---- events


def test_rules_are_recorded_when_they_change(url: str) -> None:
    rules = load_rules(rules_text(None))
    changed = rules_text(None).replace("version: 1\n", "version: 2\n", 1)
    with Store.open(url) as store:
        for text_ in (rules_text(None), rules_text(None), changed):
            with store.writing() as writer:
                writer.record_rules(load_rules(text_), "run")
        first, second = [json.loads(e.document["output_summary"])["changed"] for e in store.trail()]
        assert set(first) == {rule_id for rule_id, _ in rules}
        assert [found["version"] for found in second.values()] == [2]
        edited = changed.replace("confidence: 0.", "confidence: 0.0", 1)
        with store.writing() as writer:
            writer.record_rules(load_rules(edited), "run")
        third = json.loads(list(store.trail())[-1].document["output_summary"])["changed"]
        (found,) = third.values()
        assert found["content_sha256"] != found["content_sha256_before"]


def test_a_migration_leaves_an_event(url: str) -> None:
    with Store.open(url) as store:
        append(store, 1)
        engine.downgrade(store._engine, "0002")
        engine.upgrade(store._engine)
        entries = [entry.document for entry in store.trail()]
    assert [entry["tool_called"] for entry in entries[1:]] == ["migrate", "migrate"]
    assert json.loads(entries[1]["output_summary"]) == {"version": "0002"}
    assert json.loads(entries[2]["input_data"]) == {"from_version": "0002"}


# ---- the command line


@pytest.fixture
def data(tmp_path: Path) -> Scene:
    """A sealed trail where `--data` looks for it."""
    place = tmp_path / "data"
    place.mkdir()
    return build(f"sqlite:///{place / 'audit.sqlite'}", place / "trail", 5)


def test_the_command_says_that_it_is_whole(command: Command, data: Scene) -> None:
    ended = command("verify", "--data", data.folder.parent)
    assert ended.code == 0
    assert "95 entries, 4 checkpoints, the last over 90: nothing was changed" in ended.out
    assert "5 entries lie after the last checkpoint" in ended.out
    assert "bring the one you trust with --key" in ended.out
    own = command("verify", "--data", data.folder.parent, "--key", data.key)
    assert (own.code, "--key" in own.out) == (0, False)


def test_the_command_names_what_happened(command: Command, data: Scene) -> None:
    rows = data.rows()
    del rows[30]
    data.write(rows)
    ended = command("verify", "--data", data.folder.parent)
    assert ended.code == EXIT_CODES[Kind.DELETED]
    assert "DELETED     entry 31: gone" in ended.out
    said = json.loads(command("verify", "--data", data.folder.parent, "--json", "-").out)
    assert (said["whole"], said["exit_code"]) == (False, EXIT_CODES[Kind.DELETED])
    assert said["faults"] == [{"kind": "deleted", "said": "entry 31: gone", "places": [31]}]
    assert f" {EXIT_CODES[Kind.DELETED]} entries are gone" in " ".join(
        command("verify", "--help").out.split()
    )


def test_the_command_proves(command: Command, data: Scene, tmp_path: Path) -> None:
    where = ("verify", "--data", data.folder.parent)
    old = data.folder / f"{min(sizes(data.folder)):020}.checkpoint"
    for what in (("--prove", 17), ("--consistency", old)):
        said = json.loads(command(*where, *what, "--json", "-").out)
        assert said["proof"]["holds"]
    held = command(*where, "--prove", 3, "--checkpoint", old)
    assert (held.code, "the inclusion proof holds" in held.out) == (0, True)
    for what, says in (
        (("--prove", 91), "not under the checkpoint of 90"),
        (("--prove", 0), "not under the checkpoint"),
        (("--consistency", tmp_path), "cannot be read"),
    ):
        assert says in command(*where, *what).one_line
    newest = data.folder / f"{90:020}.checkpoint"
    assert (
        "covers 90 entries"
        in command(*where, "--checkpoint", old, "--consistency", newest).one_line
    )
    rows = data.rows()
    rows[1] = refit(rows[1] | {"tool_called": "other"})
    data.write(rows)
    assert command(*where, "--prove", 2).code == EXIT_CODES[Kind.EDITED]
    assert command(*where, "--consistency", old).code == EXIT_CODES[Kind.FORKED]
    shutil.rmtree(data.folder)
    assert "no checkpoint to prove anything by" in command(*where, "--prove", 2).one_line


def test_the_command_verifies_an_archive(command: Command, data: Scene) -> None:
    place = archived(data)
    ended = command("verify", "--archive", place)
    assert (ended.code, "run run-1: 40 entries, whole" in ended.out) == (0, True)
    (place / "more").write_text("x")
    assert command("verify", "--archive", place, "--json", "-").code == EXIT_CODES[Kind.INSERTED]
    manifest = place / MANIFEST
    manifest.unlink()
    manifest.write_text("nonsense")
    assert command("verify", "--archive", place).code == EXIT_CODES[Kind.KEY]
