"""Text that somebody else wrote adds no element and no attribute to a page, wherever it is."""

import datetime as dt
import hashlib
import json
from collections.abc import Iterator
from decimal import Decimal
from html.parser import HTMLParser

import pytest

from audit_pipeline.adapters.store import reviewing
from audit_pipeline.adapters.store.columns import storable
from audit_pipeline.model.decision import Decision, Reason, Verdict
from audit_pipeline.model.finding import Cell, Finding
from audit_pipeline.model.flag import Charge, Flag, Point, Severity, flag_id
from audit_pipeline.model.person import Role
from audit_pipeline_tests.environment import ROOT, skip_or_fail
from audit_pipeline_tests.review import doors
from audit_pipeline_tests.review.doors import Door

door = doors.door

NAUGHTY = ROOT.parent / "shared" / "data" / "naughty_strings.json"
DAY = dt.date(2026, 3, 2)
PAYLOADS = (
    '"><script>alert(1)</script>',
    "'><img src=x onerror=alert(1)>",
    "</td></tr></table><h1>",
    "</textarea><svg onload=alert(1)>",
    "</title><script>alert(1)</script>",
    "javascript:alert(1)",
    '" onmouseover="alert(1)" x="',
    "' hx-get='/evil' hx-trigger='load' x='",
    '" hx-post="/bulk" hx-trigger="load',
    "{{ 7 * 7 }}{% raw %}",
    "<!-- -->",
    "<![CDATA[<b>]]>",
    "\x00<b>\x1b[31m\u202e",
    "&lt;b&gt;&#60;b&#62;",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "\ud800<b>",
)
LINKS = ("href", "src", "action", "hx-get", "hx-post", "hx-trigger")


class Shape(HTMLParser):
    """The elements of a page with the names of their attributes, and where its links lead."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, tuple[str, ...]]] = []
        self.schemes: set[str] = set()
        self.feed(markup)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, tuple(name for name, _ in attrs)))
        for name, value in attrs:
            if name in LINKS:
                self.schemes.add((value or "")[:1])


def strings() -> list[str]:
    if not NAUGHTY.exists():
        skip_or_fail(f"{NAUGHTY.name} is not here")
    naughty = [text for text in json.loads(NAUGHTY.read_text()) if text.strip()]
    assert len(naughty) > 500
    # each once: a vendor that comes twice has another flag to show
    return list({storable(text): text for text in (*PAYLOADS, *naughty)}.values())


def flag_of(number: int, text: str) -> Flag:
    """With the text wherever a flag has one; ids stay different."""
    entry = f"{number} {text}"
    cells = (
        Cell("amount", "gold.recent_transactions.amount", text, text),
        Cell("email", "gold.emails.body", text, text),
        Cell(text, text, text, text),
    )
    finding = Finding(DAY, entry, "AN-08", 1, Decimal(3), Decimal(1), 50, cells)
    return Flag(
        flag_id(entry, "demo"), entry, "demo", DAY, Severity.WARNING, 50, 0.5, text or "-",
        (text,), (Point("AN-08", 50, text), Point("ES-04", 0, text)), (finding,),
        Charge(text, text, text, Decimal("1.00"), DAY),
    )  # fmt: skip


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Door, list[str]]]:
    """A flag, a decision, a comment and a view for each text; the first one is harmless."""
    texts = ["harmless", *strings()]
    flags = [flag_of(number, text) for number, text in enumerate(texts)]
    with doors.opened(tmp_path_factory.mktemp("hostile")) as door:
        _fill(door, flags, texts)
        yield door, [one.flag_id for one in flags]


def _fill(door: Door, flags: list[Flag], texts: list[str]) -> None:
    door.session("ann", Role.APPROVER)
    with door.desk.store.writing() as writer:
        for one in flags:
            writer.publish_flags("demo", [one], [one.transaction_id], "run")
        writer.replace_findings("demo", DAY, DAY, [f for one in flags for f in one.findings], {})
        at = dt.datetime(2026, 3, 3, tzinfo=dt.UTC)
        for one, text in zip(flags, texts, strict=True):
            said = Decision(one.flag_id, Verdict.NEEDS_MORE_INFO, Reason.NOT_KNOWN, "ann", at, text)
            reviewing.decide(writer, said)
            reviewing.comment(writer, one.flag_id, text, text)


ALL = pytest.mark.slow


@pytest.mark.parametrize(
    ("where", "every"),
    [
        ("", 9),
        ("/agents", 40),
        pytest.param("", 1, marks=ALL),
        pytest.param("/agents", 1, marks=ALL),
    ],
)
def test_a_flags_page(hostile: tuple[Door, list[str]], where: str, every: int) -> None:
    """The payloads, and some of the others; all of them in the slow tests."""
    door, ids = hostile
    client = door.browser(door.session("ann"))
    expected: list[tuple[str, tuple[str, ...]]] | None = None
    for identity in (*ids[: len(PAYLOADS)], *ids[len(PAYLOADS) :: every]):
        answer = client.get(f"/flags/{identity}{where}")
        assert answer.status_code == 200, identity
        shape = Shape(answer.text)
        expected = expected or shape.elements
        assert shape.elements == expected, answer.text[:2000]
        assert shape.schemes <= {"/", "#", "l", "f"}


def test_the_queue(hostile: tuple[Door, list[str]]) -> None:
    """Every row of every page has the shape of the harmless one."""
    door, ids = hostile
    client = door.browser(door.session("ann"))
    rows: list[tuple[tuple[str, tuple[str, ...]], ...]] = []
    address = "/flags"
    while address:
        answer = client.get(address)
        assert answer.status_code == 200
        body = answer.text.partition("<tbody")[2].partition("</tbody>")[0]
        each = (row.partition("</tr>")[0] for row in body.split('<tr id="f-')[1:])
        rows += [tuple(Shape(row).elements) for row in each]
        found = [line for line in answer.text.splitlines() if 'id="following"' in line]
        address = ""
        if found:
            address = found[0].partition('href="')[2].partition('"')[0].replace("&amp;", "&")
    assert len(rows) == len(ids)
    assert len(set(rows)) == 1


@pytest.mark.parametrize("name", ["q", "vendor", "cardholder", "rule", "assignee", "after", "from"])
def test_what_an_address_brings(door: Door, name: str) -> None:
    """A filter comes back in the form as what it is, or in an error that quotes nothing else."""
    client = door.browser(door.session("ann"))
    plain = client.get("/flags", params={name: "harmless"})
    for text in PAYLOADS:
        answer = client.get("/flags", params={name: storable(text)})
        assert answer.status_code == plain.status_code
        assert Shape(answer.text).elements == Shape(plain.text).elements


def test_a_saved_views_name(door: Door) -> None:
    client = door.browser(door.session("ann"))
    shapes = []
    for name in ("harmless", *(text.replace("\ud800", "") for text in PAYLOADS)):
        assert client.post("/views", data={"name": name, "query": "q=x"}).status_code == 303
        shapes.append(tuple(Shape(client.get("/flags").text).elements))
        client.post("/views/delete", data={"name": name})
    assert len(set(shapes)) == 1


HTMX_SHA256 = "a0abb04f2f45a1f89d1d4844023245537e5e6014c87b144553e0607b4cc32130"


def test_the_vendored_script_is_the_packages() -> None:
    """The one file that the browser runs and that is not ours."""
    script = ROOT / "audit_pipeline" / "review" / "static" / "htmx.min.js"
    assert hashlib.sha256(script.read_bytes()).hexdigest() == HTMX_SHA256
    assert 'version="4.0.1"' in script.read_text(encoding="utf-8")
