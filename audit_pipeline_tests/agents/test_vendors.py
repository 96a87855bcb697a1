"""Entity resolution: which text means which vendor, how that was decided, what looks alike."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_pipeline.agents.reconciliation.vendors import (
    VendorEntity,
    fuzzy_match_vendor,
    resolve_vendors,
    skeleton,
)
from audit_pipeline.model.query import Query
from audit_pipeline_tests.books_of import (
    bank_line,
    books_of,
    day,
    ledger,
    packaged_rules,
    receipt,
    vendor,
)

GRAPH = [
    ("V1", "Amazon Web Services", ["amazon web services", "aws"]),
    ("V2", "Microsoft", ["microsoft", "msft azure"]),
]


def resolved(key: str) -> VendorEntity:
    (entity,) = resolve_vendors([key], GRAPH, 92, 4)
    return entity


@pytest.mark.parametrize(
    ("key", "vendor_id", "method"),
    [
        ("aws", "V1", "alias"),
        ("microsoft", "V2", "alias"),
        ("microsoft azure germany", "V2", "prefix"),
        ("aws emea", "name:aws emea", "own"),
        ("microsoftazure", "name:microsoftazure", "own"),
        ("services web amazon", "V1", "fuzzy"),
        ("amazon web service", "V1", "fuzzy"),
        ("zebra foods", "name:zebra foods", "own"),
    ],
)
def test_how_a_key_is_resolved(key: str, vendor_id: str, method: str) -> None:
    """By its name, by a prefix of four letters or more that ends with a word, or by likeness."""
    entity = resolved(key)
    assert (entity.vendor_id, entity.method) == (vendor_id, method)
    assert entity.similarity == 100 or method == "fuzzy"


def test_an_own_entity_is_named_by_its_key() -> None:
    assert resolved("zebra foods").vendor_name == "zebra foods"
    assert resolved("aws").vendor_name == "Amazon Web Services"


@pytest.mark.parametrize(("similarity_min", "found"), [(94, True), (95, False)])
def test_a_likeness_counts_from_the_threshold_on(similarity_min: int, *, found: bool) -> None:
    """`abcdefghij` and `abcdefghi` share 18 of 19 letters, 94.7 %."""
    match = fuzzy_match_vendor("abcdefghi", {"abcdefghij": "V"}, similarity_min)
    assert (match is not None) is found


def test_no_vendors_no_matches() -> None:
    assert fuzzy_match_vendor("acme", {}, 92) is None
    assert resolve_vendors([], GRAPH, 92, 4) == []
    assert [e.method for e in resolve_vendors(["acme"], [], 92, 4)] == ["own"]


def test_two_vendors_that_claim_one_alias_share_it_in_one_way() -> None:
    """The lower vendor id has it, in whatever order the graph comes."""
    graph = [("V2", "Second", ["acme"]), ("V1", "First", ["acme"])]
    for order in (graph, graph[::-1]):
        assert resolve_vendors(["acme"], order, 92, 4)[0].vendor_id == "V1"


keys = st.lists(
    st.text("abcdmi 10é", min_size=1, max_size=14).map(str.strip).filter(bool), unique=True
)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(keys, st.randoms(use_true_random=False))
def test_each_key_is_resolved_without_regard_to_the_others(
    names: list[str], random: Random
) -> None:
    """So that the answer does not depend on which days are audited, nor on any order."""
    graph = [("V1", "A", ["abc"]), ("V2", "B", ["dmi cab"])]
    alone = [resolve_vendors([name], graph, 92, 3)[0] for name in sorted(names)]
    shuffled, other = list(names), list(graph)
    random.shuffle(shuffled)
    random.shuffle(other)
    assert resolve_vendors(shuffled, other, 92, 3) == alone


# ── what looks alike ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("microsoft", "micr0soft"),
        ("microsoft", "rnicrosoft"),
        ("paypal", "раураl"),
        ("google", "g00g1e"),
        ("wework", "vvevvork"),
        ("acme cloud", "acmecloud"),
        ("apple", "аpple"),
        ("intel", "lntel"),
    ],
)
def test_lookalikes_share_a_skeleton(one: str, other: str) -> None:
    assert one != other
    assert skeleton(one) == skeleton(other)


@pytest.mark.parametrize(("one", "other"), [("apple", "maple"), ("acme", "acne"), ("", "a")])
def test_other_names_do_not(one: str, other: str) -> None:
    assert skeleton(one) != skeleton(other)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text())
def test_a_skeleton_has_no_spaces_and_never_fails(text: str) -> None:
    assert " " not in skeleton(text)


# ── the keys ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("ACME Inc", "acme"),
        ("Acme, Inc.", "acme"),
        ("ACME GmbH 12345", "acme"),
        ("SQ *BLUE BOTTLE", "blue bottle"),
        ("PAYPAL *EBAY", "ebay"),
        ("AMZN Mktp US*2A4B67", "amzn mktp us"),
        ("GOOGLE *ADS123", "google ads"),
        ("UBER   TRIP\nHELP.UBER.COM", "uber trip help uber com"),
        ("Café Zoë", "café zoë"),
        ("МТС", "мтс"),
        ("***", "***"),
        ("12345", "12345"),
        ("7-Eleven 4821", "7 eleven"),
        ("Inc", "inc"),
        ("😀 Bar", "bar"),
        ("O'Neill {x} 50% $from_on", "o neill x 50 from on"),
    ],
)
def test_the_spellings_of_a_vendor_meet_in_one_key(text: str, key: str) -> None:
    gold = {"recent_transactions": [ledger("a", "1.00", text, day(0))]}
    with books_of(gold, day(0), day(0)) as books:
        books.need("vendor_keys")
        rows = books.warehouse.rows(Query("SELECT * FROM audit.vendor_keys"))
    assert rows == [{"vendor": text, "vendor_key": key}]


def test_every_text_has_one_entity() -> None:
    """Of the ledger, the statements, the receipts and the graph; none is lost, none twice."""
    gold = {
        "recent_transactions": [ledger("a", "1.00", "ACME Inc", day(0))],
        "bank_accounts": [
            bank_line("b", "1.00", "Zebra 1234", day(0)),
            bank_line("c", "1", None, day(0)),
        ],
        "receipts": [receipt("r", "1.00", "acme", day(0)), receipt("s", "1", None, day(0))],
        "vendors": [vendor("V1", "Acme", "Acme Inc", "acme holding"), vendor("V2", "Other")],
    }
    with books_of(gold, day(0), day(0)) as books:
        books.need("vendor_entities")
        keys_of = books.warehouse.rows(Query("SELECT * FROM audit.vendor_keys ORDER BY 1"))
        rows = books.warehouse.rows(Query("SELECT * FROM audit.vendor_entities ORDER BY 1"))
    assert [row["vendor"] for row in keys_of] == sorted(
        ["", "ACME Inc", "Acme", "Acme Inc", "Other", "Zebra 1234", "acme", "acme holding"]
    )
    assert {row["vendor_key"]: row["vendor_id"] for row in rows} == {
        "": "name:",
        "acme": "V1",
        "acme holding": "V1",
        "other": "V2",
        "zebra": "name:zebra",
    }
    assert len(rows) == 5


def test_an_empty_graph_leaves_every_vendor_its_own() -> None:
    gold = {"recent_transactions": [ledger("a", "1.00", "ACME", day(0))]}
    with books_of(gold, day(0), day(0), rules=packaged_rules()) as books:
        books.need("transactions")
        rows = books.warehouse.rows(
            Query("SELECT vendor_id, vendor_name, vendor_key FROM audit.transactions")
        )
    assert rows == [{"vendor_id": "name:acme", "vendor_name": "acme", "vendor_key": "acme"}]
