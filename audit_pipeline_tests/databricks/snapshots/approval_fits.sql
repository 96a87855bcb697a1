-- Charges from the approval limit on, beside each approval that fits: a word of the vendor in the
-- thread, and the exact amount, or one within 5 % where the thread also names the cardholder or was
-- begun by them. Within 45 days before to 14 days after the charge; for an exact amount, longer
-- after it, since such an approval is a finding of its own.
-- `is_own`: the approver has the cardholder's name, or the local part of the one who asked: another
-- address of the same person.

WITH charges AS (
  SELECT
    transaction_id,
    occurred_at,
    occurred_on,
    amount,
    vendor,
    vendor_key,
    vendor_name,
    cardholder,
    FILTER(SPLIT(LOWER(TRANSLATE(cardholder, 'İΣ', 'iσ')), ' '), word -> LENGTH(word) >= 3) AS person,
    FILTER(
      SPLIT(REGEXP_REPLACE(LOWER(TRANSLATE(cardholder, 'İΣ', 'iσ')), '[^\\p{L}]+', ' '), ' '),
      word -> LENGTH(word) >= 2
    ) AS name_words
  FROM audit.transactions AS transactions
  WHERE
    source = 'credit_card' AND amount >= :limit
), named AS (
  SELECT
    email_id,
    approver,
    requester,
    approved_at,
    approved_on,
    words,
    REGEXP_REPLACE(REGEXP_EXTRACT(approver, '([^<@\\t\\n\\f\\r ]*)@', 1), '\\+[^\\n]*\\z', '') AS approver_local,
    REGEXP_REPLACE(REGEXP_EXTRACT(requester, '([^<@\\t\\n\\f\\r ]*)@', 1), '\\+[^\\n]*\\z', '') AS requester_local,
    EXPLODE(amounts) AS named_amount
  FROM audit.approvals AS approvals
), addressed AS (
  SELECT
    *,
    SPLIT(REGEXP_REPLACE(approver_local, '[^\\p{L}]+', ' '), ' ') AS approver_words,
    REGEXP_REPLACE(approver_local, '[^\\p{L}]+', '') AS approver_letters
  FROM named
)
SELECT
  charges.transaction_id,
  charges.occurred_at,
  charges.occurred_on,
  charges.amount,
  charges.vendor,
  charges.cardholder,
  addressed.email_id,
  addressed.approver,
  addressed.approved_at,
  addressed.approved_on,
  (
    approver_local <> '' AND approver_local = requester_local
  )
  OR (
    SIZE(name_words) >= 2
    AND (
      SIZE(
        FILTER(name_words, word -> NOT ARRAY_CONTAINS(ARRAY_COMPACT(approver_words), word))
      ) = 0
      OR approver_letters = ARRAY_JOIN(name_words, '')
      OR approver_letters = ARRAY_JOIN(REVERSE(name_words), '')
    )
  ) AS is_own
FROM charges
JOIN addressed
  ON addressed.named_amount BETWEEN charges.amount * 0.95 AND charges.amount * 1.05
  AND addressed.approved_on BETWEEN charges.occurred_on - 45 AND charges.occurred_on + CASE
    WHEN addressed.named_amount = charges.amount
    THEN GREATEST(14, CAST(:late_days AS INT))
    ELSE 14
  END
WHERE
  (
    SIZE(
      FILTER(
        CONCAT(
          SPLIT(charges.vendor_key, ' '),
          SPLIT(LOWER(TRANSLATE(COALESCE(charges.vendor_name, ''), 'İΣ', 'iσ')), ' ')
        ),
        word -> LENGTH(word) >= 4 AND CONTAINS(addressed.words, word)
      )
    ) > 0
    OR (
      LENGTH(charges.vendor_key) < 4
      AND CONTAINS(
        ' ' || REGEXP_REPLACE(addressed.words, '[^\\p{L}\\p{N}]+', ' ') || ' ',
        ' ' || charges.vendor_key || ' '
      )
    )
  )
  AND (
    addressed.named_amount = charges.amount
    OR SIZE(
      FILTER(
        charges.person,
        word -> CONTAINS(addressed.requester, word) OR CONTAINS(addressed.words, word)
      )
    ) > 0
  )
