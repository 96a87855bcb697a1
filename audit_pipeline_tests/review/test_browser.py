"""The desk as its people use it: a real Chromium on the real command, over an audited company.

Screenshots go to `.test_output/screenshots`. The browser is the machine's own; nothing is fetched.
"""

import itertools
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    expect,
    sync_playwright,
)

from audit_pipeline.adapters.store import Store, accounts
from audit_pipeline.model.person import Role
from audit_pipeline.review import passwords
from audit_pipeline_tests.environment import ROOT, Workplace, skip_or_fail

pytest_plugins = ("audit_pipeline_tests.environment",)

PASSWORD = "a horse, a battery"
SHOTS = ROOT / ".test_output" / "screenshots"
MISSING = "no chromium on this machine; apt-get install chromium"
PEOPLE = {"ann": Role.REVIEWER, "bob": Role.APPROVER, "cem": Role.APPROVER, "vic": Role.VIEWER}
WAIT_MS = 60_000
expect.set_options(timeout=WAIT_MS)


@dataclass
class Site:
    """A desk that answers, over a store of its own."""

    address: str
    store: Path

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """What the store holds now."""
        with closing(sqlite3.connect(f"file:{self.store}?mode=ro", uri=True)) as connection:
            return connection.execute(sql, values).fetchall()


@dataclass
class Eyes:
    """A browser window, and everything that its console complained about."""

    page: Page
    complaints: list[str] = field(default_factory=list[str])


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        skip_or_fail(MISSING)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def site(audited: Workplace, tmp_path: Path) -> Iterator[Site]:
    """`audit-pipeline desk` on a copy of the audited small company, and four people."""
    data = tmp_path / "data"
    shutil.copytree(audited.data_dir, data)
    store = data / "audit.sqlite"
    known = passwords.hashed(PASSWORD)
    with Store.open(f"sqlite:///{store}") as opened, opened.writing() as writer:
        for name, role in PEOPLE.items():
            accounts.add_user(writer, name, role, known, display_name=name.title())
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("AUDIT_", "DAGSTER_"))}
    environment |= {"AUDIT_DATA_DIR": str(data), "AUDIT_FIXTURES": str(audited.fixtures)}
    log = tmp_path / "desk.log"
    command = [sys.executable, "-m", "audit_pipeline.cli", "desk", "--port", "0"]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=environment, cwd=ROOT)
    try:
        yield Site(_address(log, process), store)
    finally:
        process.terminate()
        process.wait(30)
    assert '"level": "ERROR"' not in log.read_text()


def _address(log: Path, process: "subprocess.Popen[bytes]") -> str:
    """As the command prints it, once it answers."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        found = re.search(r"https?://[\w.:\[\]]+", log.read_text())
        if found:
            return found[0]
        time.sleep(0.1)
    raise AssertionError(log.read_text())


@pytest.fixture
def look(browser: Browser, site: Site) -> Iterator[Callable[..., Eyes]]:
    """Opens a window in which a person is signed in; at the end no console has complained."""
    contexts: list[BrowserContext] = []
    windows: list[Eyes] = []

    def opened(name: str, **options: Any) -> Eyes:
        context = browser.new_context(
            base_url=site.address, viewport={"width": 1280, "height": 900}, **options
        )
        context.set_default_timeout(WAIT_MS)
        contexts.append(context)
        eyes = Eyes(context.new_page())
        windows.append(eyes)

        def said(message: ConsoleMessage) -> None:
            # a refusal is an answer of 409, which Chromium names as it names a missing file
            is_refusal = "status of 409" in message.text
            if message.type in ("error", "warning") and not is_refusal:
                eyes.complaints.append(f"{message.type}: {message.text}")

        eyes.page.on("console", said)
        eyes.page.on("pageerror", lambda fault: eyes.complaints.append(str(fault)))
        eyes.page.goto("/login?next=/flags")
        eyes.page.fill("[name=user_id]", name)
        eyes.page.fill("[name=password]", PASSWORD)
        eyes.page.click("button[type=submit]")
        expect(eyes.page).to_have_url(re.compile("/flags$"))
        return eyes

    yield opened
    for context in contexts:
        context.close()
    assert [complaint for eyes in windows for complaint in eyes.complaints] == []


def shot(page: Page, name: str) -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"{name}.png", full_page=True)


def current(page: Page) -> str:
    """The id of the flag that the keys are about."""
    identity = page.get_attribute("#rows tr[aria-current]", "data-flag")
    assert identity is not None
    return identity


def test_ten_flags_are_decided_by_keyboard(look: Callable[..., Eyes], site: Site) -> None:
    """J past the critical ones, then one key each; u takes the last one back."""
    page = look("ann").page
    shot(page, "queue")
    for _ in range(page.locator("#rows tr.critical").count()):
        page.keyboard.press("j")
    decided: list[tuple[str, str]] = []
    verdicts = {"a": "approved", "r": "rejected", "f": "false_positive"}
    for key in itertools.islice(itertools.cycle(verdicts), 10):
        identity = current(page)
        page.keyboard.press(key)
        expect(page.locator(f"#f-{identity}")).to_have_count(0)
        decided.append((identity, verdicts[key]))
    shot(page, "queue-after-ten")
    asked = "SELECT flag_id, human_decision FROM flags WHERE state = 'decided'"
    assert sorted(site.rows(asked)) == sorted(decided)
    reasons = dict(site.rows("SELECT verdict, reason FROM decisions"))
    assert reasons["false_positive"] == "detector_wrong"
    page.keyboard.press("u")
    expect(page.locator(f"#f-{decided[-1][0]}")).to_have_count(1)
    assert len(site.rows(asked)) == 9
    expect(page.locator("[data-count=decided]")).to_have_text("9")


@pytest.mark.slow
def test_many_at_once(look: Callable[..., Eyes], site: Site) -> None:
    """Three are chosen with x and the mouse, and decided with a reason and a note."""
    page = look("ann").page
    page.goto("/flags?severity=INFO")
    page.keyboard.press("x")
    page.keyboard.press("j")
    page.keyboard.press("x")
    page.locator("#rows input[name=ids]").nth(4).check()
    expect(page.locator("#bulk-count")).to_have_text("3 selected")
    page.select_option("#bulk [name=verdict]", "approved")
    page.select_option("#bulk [name=reason]", "management_exception")
    page.fill("#bulk [name=notes]", "agreed in March")
    shot(page, "bulk")
    page.click("#bulk button[value=decide]")
    expect(page.locator(".toast")).to_contain_text("3 decided")
    found = site.rows("SELECT verdict, reason, notes, reviewer_id FROM decisions")
    assert found == [("approved", "management_exception", "agreed in March", "ann")] * 3
    page.locator("#rows input[name=ids]").first.check()
    page.select_option("#bulk [name=assignee]", "bob")
    page.click("#bulk button[value=assign]")
    expect(page.locator(".standing", has_text="for bob")).to_have_count(1)


def test_a_critical_flag_takes_two_people(look: Callable[..., Eyes], site: Site) -> None:
    """Who proposed it is refused as the second person; another approver agrees."""
    bob = look("bob").page
    bob.keyboard.press("Enter")
    identity = str(bob.get_attribute("[data-open-flag]", "data-open-flag"))
    bob.fill("#decision [name=notes]", "the vendor confirms it")
    bob.keyboard.press("Tab")
    bob.locator("h1").click()
    bob.keyboard.press("a")
    expect(bob.locator(".pending")).to_contain_text("bob proposed")
    shot(bob, "proposed")
    bob.click("#second button[value=true]")
    expect(bob.locator(".toast.refused")).to_contain_text("second person")
    state = "SELECT state, reviewer_id, approver_id FROM flags WHERE flag_id = ?"
    assert site.rows(state, identity) == [("open", "bob", None)]
    cem = look("cem").page
    cem.goto("/flags?state=awaiting")
    cem.keyboard.press("Enter")
    expect(cem.locator(".pending")).to_contain_text("the vendor confirms it")
    cem.click("#second button[value=true]")
    expect(cem.locator(".toast")).to_contain_text("agreed")
    expect(cem.locator(".standing")).to_contain_text("bob and cem")
    assert site.rows(state, identity) == [("decided", "bob", "cem")]
    shot(cem, "agreed")
    assert site.rows("SELECT count(*) FROM second_reviews") == [(1,)]


@pytest.mark.slow
def test_a_viewer_looks_and_cannot_decide(look: Callable[..., Eyes], site: Site) -> None:
    page = look("vic").page
    page.keyboard.press("a")
    page.keyboard.press("Enter")
    expect(page.locator("[data-open-flag]")).to_have_count(1)
    expect(page.locator("#decision")).to_have_count(0)
    assert site.rows("SELECT count(*) FROM decisions") == [(0,)]


@pytest.mark.slow
def test_evidence_and_reperformance(look: Callable[..., Eyes]) -> None:
    """The vendor's history comes by itself, the query runs again, the row of gold is shown."""
    page = look("ann").page
    page.keyboard.press("Enter")
    expect(page.locator("circle.this")).to_have_count(1)
    page.click("#reperform")
    expect(page.locator("#reperformed .same").first).to_have_text("same")
    expect(page.locator("#reperformed .differs")).to_have_count(0)
    page.locator("details[open] table button.plain").first.click()
    expect(page.locator("#source dl.row")).to_have_count(1)
    shot(page, "flag")


def test_two_reviewers_at_once(look: Callable[..., Eyes]) -> None:
    """Each takes the next one: two flags; what one decides the other sees without asking."""
    ann, bob = look("ann").page, look("bob").page
    before = int(str(ann.text_content("[data-count=WARNING]")))
    taken: list[str] = []
    for page in (ann, bob):
        page.goto("/flags?severity=WARNING")
        page.keyboard.press("n")
        page.wait_for_selector("[data-open-flag]")
        taken.append(str(page.get_attribute("[data-open-flag]", "data-open-flag")))
    assert taken[0] != taken[1]
    ann.goto("/flags?severity=WARNING")
    expect(ann.locator(f"#f-{taken[1]} .standing")).to_have_text("open with bob")
    bob.keyboard.press("f")
    expect(bob.locator(".toast")).to_contain_text("false positive")
    expect(ann.locator("[data-count=WARNING]")).to_have_text(str(before - 1))
    expect(ann.locator(f"#f-{taken[1]}")).to_have_count(0)


@pytest.mark.slow
def test_views_comments_and_help(look: Callable[..., Eyes], site: Site) -> None:
    page = look("ann").page
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    shot(page, "help")
    page.keyboard.press("Escape")
    page.goto("/flags?severity=WARNING&vendor=cabs")
    expect(page.locator("#rows tr.flag")).to_have_count(2)
    page.fill("form.inline [name=name]", "cabs <b>")
    page.click("form.inline button:has-text('Save')")
    expect(page.locator(".view a")).to_have_text("cabs <b>")
    page.keyboard.press("Enter")
    page.fill("[name=body]", "asked Ada <script>alert(1)</script>")
    page.click("button:has-text('Say it')")
    expect(page.locator(".timeline .said").last).to_have_text("asked Ada <script>alert(1)</script>")
    assert site.rows("SELECT count(*) FROM comments") == [(1,)]


@pytest.mark.slow
def test_a_workpaper_is_downloaded(look: Callable[..., Eyes], tmp_path: Path) -> None:
    page = look("vic").page
    page.goto("/workpaper")
    shot(page, "workpaper")
    with page.expect_download() as downloading:
        page.click("form[action='/workpaper'] button >> nth=0")
    file = tmp_path / downloading.value.suggested_filename
    downloading.value.save_as(file)
    assert file.stat().st_size > 5_000


PAGES = {"queue": "/flags", "overview": "/overview", "workpaper": "/workpaper", "flag": ""}


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_readable_by_everybody(look: Callable[..., Eyes], scheme: str) -> None:
    """No serious finding of axe, nothing wider than a telephone of 380 pixels, light and dark."""
    from axe_playwright_python.sync_playwright import Axe

    page = look("ann", color_scheme=scheme).page
    addresses = PAGES | {"flag": str(page.get_attribute("#rows .what a", "href"))}
    for name, address in addresses.items():
        page.set_viewport_size({"width": 1280, "height": 900})
        page.goto(address)
        if name == "flag":
            page.wait_for_selector("circle.this")
        found = Axe().run(page)
        serious = [
            f"{one['id']}: {one['nodes'][0]['html'][:200]} {one['nodes'][0]['failureSummary']}"
            for one in found.response["violations"]
            if one["impact"] in ("serious", "critical")
        ]
        assert serious == [], json.dumps(serious, indent=1)
        shot(page, f"{name}-{scheme}")
        page.set_viewport_size({"width": 380, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= 380
        shot(page, f"{name}-{scheme}-380")
