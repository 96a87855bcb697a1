-- AN-16 A charge on a Saturday, a Sunday or a holiday of the rules file, on a card that hardly ever
-- is used on such days, at a vendor that hardly ever charges on them (a subscription renews on any
-- day). Days are UTC. Measured: bits of surprise at the larger of the two shares; both are counted
-- over the days before and lean on the company's.
WITH cards AS MATERIALIZED (
  SELECT payer, occurred_on, count(*) AS charges
  FROM audit.transactions
  WHERE source = 'credit_card' AND cents > 0
  GROUP BY payer, occurred_on
),
days AS MATERIALIZED (
  SELECT occurred_on, sum(charges) AS charges,
    CASE WHEN isodow(occurred_on) >= 6
      OR list_contains(string_split($holidays, ' '), CAST(occurred_on AS VARCHAR))
      OR list_contains(string_split($holidays, ' '), right(CAST(occurred_on AS VARCHAR), 5))
    THEN 1 ELSE 0 END AS is_off
  FROM cards
  GROUP BY occurred_on
),
company AS (
  SELECT occurred_on, is_off, sum(charges) OVER before AS company_before,
    sum(charges * is_off) OVER before AS company_off
  FROM days
  WINDOW before AS (ORDER BY occurred_on ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
),
habits AS (
  SELECT cards.payer, cards.occurred_on, company.is_off,
    sum(cards.charges) OVER before AS card_before,
    sum(cards.charges * company.is_off) OVER before AS card_off,
    company.company_off / company.company_before AS company_share
  FROM cards
  JOIN company ON company.occurred_on = cards.occurred_on
  WINDOW before AS (PARTITION BY cards.payer ORDER BY cards.occurred_on
    ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
),
entries AS (
  SELECT entry.audit_on, entry.transaction_id, entry.amount, entry.vendor, entry.vendor_id,
    entry.occurred_on, habits.card_before, habits.card_off, habits.company_share,
    greatest((habits.card_off + $prior_weight * habits.company_share)
      / (habits.card_before + $prior_weight), $share_min) AS card_share
  FROM audit.transactions AS entry
  JOIN habits ON habits.payer = entry.payer AND habits.occurred_on = entry.occurred_on
  WHERE entry.source = 'credit_card' AND habits.is_off = 1 AND habits.card_before >= $charges_min AND entry.amount >= $amount_min
    AND entry.audit_on BETWEEN $from_on AND $to_on
),
surprising AS (
  SELECT * FROM entries WHERE round(-log2(card_share), 4) >= $bits_min
),
vendors AS (
  SELECT entry.transaction_id, count(other.transaction_id) AS vendor_before,
    coalesce(sum(days.is_off), 0) AS vendor_off
  FROM surprising AS entry
  LEFT JOIN audit.transactions AS other ON other.vendor_id = entry.vendor_id
    AND other.cents > 0 AND other.occurred_on < entry.occurred_on
  LEFT JOIN days ON days.occurred_on = other.occurred_on
  GROUP BY entry.transaction_id
),
weighed AS (
  SELECT entry.*, vendors.vendor_before, vendors.vendor_off,
    round(-log2(greatest(card_share, (vendors.vendor_off + $prior_weight * company_share)
      / (vendors.vendor_before + $prior_weight))), 4) AS bits
  FROM surprising AS entry
  JOIN vendors ON vendors.transaction_id = entry.transaction_id
)
SELECT audit_on, transaction_id, bits AS measured, $bits_min AS threshold, amount, vendor,
  CASE isodow(occurred_on) WHEN 6 THEN 'Saturday' WHEN 7 THEN 'Sunday' ELSE 'holiday' END AS day_off,
  card_before, card_off, vendor_before, vendor_off
FROM weighed
WHERE bits >= $bits_min
