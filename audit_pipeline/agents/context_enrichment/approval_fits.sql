-- Charges from the approval limit on, beside each approval that fits: a word of the vendor in the
-- thread, and the exact amount, or one within 5 % where the thread also names the cardholder or was
-- begun by them. Within 45 days before to 14 days after the charge; for an exact amount, longer
-- after it, since such an approval is a finding of its own.
-- `is_own`: the approver has the cardholder's name, or the local part of the one who asked: another
-- address of the same person.
WITH charges AS (
  SELECT transaction_id, occurred_at, occurred_on, amount, vendor, vendor_key, vendor_name, cardholder,
    list_filter(string_split(lower(cardholder), ' '), lambda word: length(word) >= 3) AS person,
    list_filter(string_split(regexp_replace(lower(cardholder), '[^\p{L}]+', ' ', 'g'), ' '),
      lambda word: length(word) >= 2) AS name_words
  FROM audit.transactions
  WHERE source = 'credit_card' AND amount >= $limit
),
named AS (
  SELECT email_id, approver, requester, approved_at, approved_on, words,
    regexp_replace(regexp_extract(approver, '([^<@\s]*)@', 1), '\+.*$', '') AS approver_local,
    regexp_replace(regexp_extract(requester, '([^<@\s]*)@', 1), '\+.*$', '') AS requester_local,
    unnest(amounts) AS named_amount
  FROM audit.approvals
),
addressed AS (
  SELECT *,
    string_split(regexp_replace(approver_local, '[^\p{L}]+', ' ', 'g'), ' ') AS approver_words,
    regexp_replace(approver_local, '[^\p{L}]+', '', 'g') AS approver_letters
  FROM named
)
SELECT charges.transaction_id, charges.occurred_at, charges.occurred_on, charges.amount,
  charges.vendor, charges.cardholder, addressed.email_id, addressed.approver,
  addressed.approved_at, addressed.approved_on,
  (approver_local <> '' AND approver_local = requester_local)
    OR (array_length(name_words) >= 2 AND (
      array_length(list_filter(name_words, lambda word: NOT list_contains(approver_words, word))) = 0
      OR approver_letters = array_to_string(name_words, '')
      OR approver_letters = array_to_string(list_reverse(name_words), ''))) AS is_own
FROM charges
JOIN addressed ON addressed.named_amount BETWEEN charges.amount * 0.95 AND charges.amount * 1.05
  AND addressed.approved_on BETWEEN charges.occurred_on - 45
    AND charges.occurred_on + CASE WHEN addressed.named_amount = charges.amount
      THEN greatest(14, CAST($late_days AS INTEGER)) ELSE 14 END
WHERE (array_length(list_filter(
    list_concat(string_split(charges.vendor_key, ' '),
      string_split(lower(coalesce(charges.vendor_name, '')), ' ')),
    lambda word: length(word) >= 4 AND contains(addressed.words, word))) > 0
    OR (length(charges.vendor_key) < 4 AND contains(
      ' ' || regexp_replace(addressed.words, '[^\p{L}\p{N}]+', ' ', 'g') || ' ',
      ' ' || charges.vendor_key || ' ')))
  AND (addressed.named_amount = charges.amount
    OR array_length(list_filter(charges.person,
      lambda word: contains(addressed.requester, word) OR contains(addressed.words, word))) > 0)
