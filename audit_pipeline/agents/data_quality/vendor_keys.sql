-- Every vendor text of the gold tables, and the key under which its spellings meet.
-- Reference codes (three digits or more in one word; `*ADS123` keeps its letters), prefixes, legal forms and
-- punctuation go; letters of every alphabet stay, so that a look-alike keeps its own key.
WITH texts AS (
  SELECT vendor FROM gold.recent_transactions
  UNION SELECT vendor FROM gold.credit_cards
  UNION SELECT coalesce(payee, '') FROM gold.bank_accounts
  UNION SELECT vendor FROM gold.receipts
  UNION SELECT vendor_name FROM gold.vendors
  UNION SELECT alias FROM (SELECT unnest(aliases) AS alias FROM gold.vendors) AS named
),
stripped AS (
  SELECT vendor,
    regexp_replace(
      regexp_replace(
        regexp_replace(
          regexp_replace(lower(vendor), '^(sq|tst|pp|paypal|sp|ppl|zlr|bb)\s*\*\s*', ''),
          '\*([a-z][a-z][a-z]+)[0-9]+( |$)', ' \1 ', 'g'),
        '\*[^ ]*[0-9][^ ]*', ' ', 'g'),
      '[^ ]*[0-9][^ ]*[0-9][^ ]*[0-9][^ ]*', ' ', 'g') AS words
  FROM texts
  WHERE vendor IS NOT NULL
),
spaced AS (
  SELECT vendor, ' ' || regexp_replace(words, '[^\p{L}\p{N}]+', ' ', 'g') || ' ' AS words
  FROM stripped
)
SELECT vendor,
  coalesce(
    nullif(trim(regexp_replace(words, ' (inc|llc|ltd|limited|gmbh|corp|plc|sa|ag|bv)(?: |$)', ' ', 'g')), ''),
    lower(trim(vendor))) AS vendor_key
FROM spaced
