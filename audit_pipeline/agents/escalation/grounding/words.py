"""Words that are numbers, dates and currencies, that open a sentence, or that nobody may say."""

from decimal import Decimal

ABBREVIATIONS = frozenset("e.g i.e a.m p.m and/or".split())

OPENERS = frozenset(
    "a about according after again all already also although among an and another any as at based "
    "because before below besides both but by compared despite due during each earlier either "
    "every for from further given has having here however if in instead it its just later like "
    "likewise many meanwhile more moreover most nearly neither no nor not nothing of on only or "
    "other otherwise over see several since so some still such than that the their then there "
    "therefore these they this those though thus to together under unlike unusual until usual "
    "usually what when where whereas whether which while why with within without yet account "
    "amount approval balance bank card charge charges date entry evidence invoice ledger line "
    "payment payments purchase receipt record statement transaction vendor".split()
)
"""Words that begin a sentence and name nobody."""

MONTHS = {
    name: number
    for number, names in enumerate(
        "january/jan february/feb march/mar april/apr may june/jun july/jul august/aug "
        "september/sept/sep october/oct november/nov december/dec".split(),
        start=1,
    )
    for name in names.split("/")
}
CALENDAR = frozenset(MONTHS) - {"may", "march", "mar", "dec", "jan", "sep"} | frozenset(
    "monday tuesday wednesday thursday friday saturday sunday today tomorrow yesterday".split()
)
"""Names also in small letters."""

CARDINALS: dict[str, Decimal] = {
    word: Decimal(value)
    for value, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
        "fifteen sixteen seventeen eighteen nineteen".split()
    )
} | {
    word: Decimal(10 * ten)
    for ten, word in enumerate(
        "twenty thirty forty fifty sixty seventy eighty ninety".split(), start=2
    )
}
SCALES = {
    "hundred": Decimal(100),
    "thousand": Decimal(1000),
    "million": Decimal(10**6),
    "billion": Decimal(10**9),
    "dozen": Decimal(12),
}
MULTIPLES: dict[str, Decimal] = {
    "once": Decimal(1),
    "twice": Decimal(2),
    "double": Decimal(2),
    "doubled": Decimal(2),
    "thrice": Decimal(3),
    "triple": Decimal(3),
    "tripled": Decimal(3),
    "half": Decimal("0.5"),
    "quarter": Decimal("0.25"),
}
ORDINALS: dict[str, Decimal] = {
    word: Decimal(value)
    for value, word in enumerate(
        "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth "
        "thirteenth fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth "
        "twentieth".split(),
        start=1,
    )
} | {"thirtieth": Decimal(30), "hundredth": Decimal(100), "thousandth": Decimal(1000)}
VAGUE = frozenset(
    "tens dozens scores hundreds thousands millions billions halves thirds quarters fifths sixths "
    "eighths tenths hundredths thousandths".split()
)
"""No numbers by themselves."""

CURRENCIES = {
    "$": "USD", "us$": "USD", "usd": "USD", "dollar": "USD", "dollars": "USD",
    "€": "EUR", "eur": "EUR", "euro": "EUR", "euros": "EUR",
    "£": "GBP", "gbp": "GBP", "pounds": "GBP", "sterling": "GBP",
    "¥": "JPY", "jpy": "JPY", "yen": "JPY",
    **{code.lower(): code for code in "CHF SEK NOK DKK PLN CZK HUF CNY INR BRL MXN ZAR".split()},
}  # fmt: skip

DECISIONS = frozenset(
    tuple(phrase.split())
    for phrase in (
        # one word is also found in two halves, hence no short ones here
        "approve|approves|approved|approving|preapproved|approvable|authorise|authorises|authorised"
        "|authorising|authorize|authorizes|authorized|authorizing|reject|rejects|rejected|rejecting"
        "|dismiss|dismisses|dismissed|dismissing|ignore|ignores|ignored|ignoring|disregard"
        "|disregarded|overlook|cleared|exonerated|legitimate|legitimately|legit|benign|harmless"
        "|innocent|innocuous|genuine|trustworthy|verified|validated|acceptable|accept|accepted"
        "|waive|waived|whitelist|whitelisted|allowlist|downgrade|downgraded|recommend|recommends"
        "|recommended|recommendation|advise|advised|should|ought|please|kindly|fraud|frauds"
        "|fraudulent|fraudster|embezzlement|embezzled|theft|stolen|stole|guilty|criminal|laundering"
        "|safe|safely|okay|resolved|compliant|permissible|justified|nonissue"
        # and phrases
        "|ok to|is ok|are ok|looks ok|is fine|are fine|looks fine|all good|good to go"
        "|no action|no actions|no further|no need|not needed|not necessary|not required|no issue"
        "|no issues|no concern|no concerns|no problem|no problems|no risk|low risk|nothing wrong"
        "|nothing to worry|nothing suspicious|nothing unusual|not suspicious|not unusual"
        "|not an issue|not a problem|not a concern|not an anomaly|not a duplicate|not an error"
        "|need not|neednt|false positive|false positives|false alarm|false alarms|false flag"
        "|close this|close the|close it|be closed|clear this|clear the|clear it|clear them"
        "|be cleared|mark as|marked as|mark it|lower the|lowered to|skip this|skip the"
        "|business as usual|as intended|signed off|sign off|given approval|with approval"
        "|has approval|have approval|approval was given|approval was granted|approval granted"
        "|approval was obtained|approval is not|pay it|pay this|release the|refund the"
    ).split("|")
)
"""What only a person decides, advises or accuses of."""

PHRASE_WORDS_MAX = max(map(len, DECISIONS))


NUMBER_WORDS = CARDINALS | ORDINALS | MULTIPLES
