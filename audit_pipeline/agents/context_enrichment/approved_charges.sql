-- Charges from the approval limit on, each with the first approval that fits it: a word of the
-- vendor in the thread, within 45 days before to 14 days after the charge, and the exact amount, or
-- one within 5 % where the thread also names the cardholder or was begun by them.
WITH charges AS (
  SELECT transaction_id, occurred_at, occurred_on, amount, vendor, vendor_key, vendor_name, category,
    list_filter(string_split(lower(cardholder), ' '), lambda word: length(word) >= 3) AS person
  FROM audit.transactions
  WHERE source = 'credit_card' AND amount >= $limit
),
named AS (
  SELECT email_id, approver, requester, approved_at, approved_on, words, quote,
    unnest(amounts) AS named_amount
  FROM audit.approvals
),
fitting AS (
  SELECT charges.transaction_id, named.email_id, named.approver, named.approved_at,
    named.approved_on, named.quote
  FROM charges
  JOIN named ON named.named_amount BETWEEN charges.amount * 0.95 AND charges.amount * 1.05
    AND named.approved_on BETWEEN charges.occurred_on - 45 AND charges.occurred_on + 14
  WHERE (len(list_filter(
      list_concat(string_split(charges.vendor_key, ' '),
        string_split(lower(coalesce(charges.vendor_name, '')), ' ')),
      lambda word: length(word) >= 4 AND contains(named.words, word))) > 0
      OR (length(charges.vendor_key) < 4 AND contains(
        ' ' || regexp_replace(named.words, '[^\p{L}\p{N}]+', ' ', 'g') || ' ',
        ' ' || charges.vendor_key || ' ')))
    AND (named.named_amount = charges.amount
      OR len(list_filter(charges.person,
        lambda word: contains(named.requester, word) OR contains(named.words, word))) > 0)
)
SELECT charges.transaction_id, charges.occurred_at, charges.occurred_on, charges.amount,
  charges.vendor, charges.category,
  min(fitting.approved_at) AS approved_at, min(fitting.approved_on) AS approved_on,
  arg_min(fitting.email_id, (fitting.approved_at, fitting.email_id)) AS email_id,
  arg_min(fitting.approver, (fitting.approved_at, fitting.email_id)) AS approver
FROM charges
LEFT JOIN fitting ON fitting.transaction_id = charges.transaction_id
GROUP BY charges.transaction_id, charges.occurred_at, charges.occurred_on, charges.amount,
  charges.vendor, charges.category
