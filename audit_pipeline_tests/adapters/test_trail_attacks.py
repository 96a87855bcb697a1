"""Each attack on the trail is named, with its place; nothing that is whole is accused."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from audit_pipeline.adapters.trail.keys import trusted_keys
from audit_pipeline.adapters.trail.verify import Verified, verify
from audit_pipeline.model.alignment import EXIT_CODES
from audit_pipeline_tests.trail_attacks import ATTACKS, Outcome, Scene, build

pytest_plugins = ("audit_pipeline_tests.postgres",)

URLS = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]


@pytest.fixture(params=URLS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgres":
        return request.getfixturevalue("postgres_url")
    return f"sqlite:///{tmp_path / 'store.db'}"


def verified(scene: Scene, key: str | None = None) -> Verified:
    return verify(scene.url, scene.folder, trusted_keys(key, scene.folder))


def besiege(
    attack: Callable[[Scene], Outcome], url: str, folder: Path, times: int, seed: int = 0
) -> list[str]:
    """Attack `times` random places; returns what was named wrongly."""
    wrong: list[str] = []
    scene = build(url, folder, seed)
    pristine, copies, kept = scene.rows(), scene.copies(), folder.with_name("kept")
    shutil.copytree(folder, kept)
    for turn in range(times):
        scene.rng.seed(f"{seed} {turn}")
        kind, places = attack(scene)
        found = verified(scene)
        first = found.faults[0] if found.faults else None
        if (
            first is None
            or first.kind is not kind
            or (places is not None and set(first.places) != places)
            or found.exit_code != EXIT_CODES[kind]
        ):
            wrong.append(f"turn {turn}: expected {kind} {places}, found {found.faults}")
        scene.write(pristine)
        scene.write_copies(copies)
        shutil.rmtree(folder)
        shutil.copytree(kept, folder)
    return wrong


def test_a_whole_trail_is_not_accused(url: str, tmp_path: Path) -> None:
    scene = build(url, tmp_path / "trail", 1)
    found = verified(scene)
    assert found.faults == []
    assert (found.entries, found.open_entries, found.exit_code) == (95, 5, 0)
    assert found.checkpoints == 4


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_an_attack_is_named(attack: Callable[[Scene], Outcome], url: str, tmp_path: Path) -> None:
    assert besiege(attack, url, tmp_path / "trail", 3) == []


@pytest.mark.slow
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_fifty_places_are_named(
    attack: Callable[[Scene], Outcome], url: str, tmp_path: Path
) -> None:
    assert besiege(attack, url, tmp_path / "trail", 50, seed=7) == []
