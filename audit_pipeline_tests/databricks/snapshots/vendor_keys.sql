-- Every vendor text of the gold tables, and the key under which its spellings meet.
-- Reference codes (three digits or more in one word; `*ADS123` keeps its letters), prefixes, legal forms and
-- punctuation go; letters of every alphabet stay, so that a look-alike keeps its own key.

WITH texts AS (
  SELECT
    vendor
  FROM gold.recent_transactions AS recent_transactions
  UNION
  SELECT
    vendor
  FROM gold.credit_cards AS credit_cards
  UNION
  SELECT
    COALESCE(payee, '')
  FROM gold.bank_accounts AS bank_accounts
  UNION
  SELECT
    vendor
  FROM gold.receipts AS receipts
  UNION
  SELECT
    vendor_name
  FROM gold.vendors AS vendors
  UNION
  SELECT
    alias
  FROM (
    SELECT
      EXPLODE(aliases) AS alias
    FROM gold.vendors AS vendors
  ) AS named
), stripped AS (
  SELECT
    vendor,
    REGEXP_REPLACE(
      REGEXP_REPLACE(
        REGEXP_REPLACE(
          REGEXP_REPLACE(
            LOWER(TRANSLATE(vendor, 'İΣ', 'iσ')),
            '^(sq|tst|pp|paypal|sp|ppl|zlr|bb)[\\t\\n\\f\\r ]*\\*[\\t\\n\\f\\r ]*',
            ''
          ),
          '\\*([a-z][a-z][a-z]+)[0-9]+( |\\z)',
          ' $1 '
        ),
        '\\*[^ ]*[0-9][^ ]*',
        ' '
      ),
      '[^ ]*[0-9][^ ]*[0-9][^ ]*[0-9][^ ]*',
      ' '
    ) AS words
  FROM texts
  WHERE
    NOT vendor IS NULL
), spaced AS (
  SELECT
    vendor,
    ' ' || REGEXP_REPLACE(words, '[^\\p{L}\\p{N}]+', ' ') || ' ' AS words
  FROM stripped
)
SELECT
  vendor,
  COALESCE(
    NULLIF(
      TRIM(BOTH '\u0020\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000' FROM REGEXP_REPLACE(words, ' (inc|llc|ltd|limited|gmbh|corp|plc|sa|ag|bv)(?: |\\z)', ' ')),
      ''
    ),
    LOWER(
      TRANSLATE(
        TRIM(BOTH '\u0020\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000' FROM vendor),
        'İΣ',
        'iσ'
      )
    )
  ) AS vendor_key
FROM spaced
