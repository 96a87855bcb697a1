-- RC-06 Card payments that are not the sum of their period's lines, where no small set of lines
-- explains the difference, or where more was paid than the statement has. Left out are payments
-- that are settled, or short by a set that RC-02 names. Measured: the difference without its sign.
SELECT statement.audit_on, statement.payment_id AS transaction_id,
  abs(statement.difference) AS measured, 0 AS threshold, statement.paid, statement.payment_on,
  statement.card, statement.lines, statement.lines_total, statement.difference,
  statement.period_from, statement.period_to
FROM audit.statements AS statement
WHERE statement.status IN ('over', 'unexplained')
  AND statement.audit_on BETWEEN $from_on AND $to_on
QUALIFY row_number() OVER (
  PARTITION BY statement.audit_on, statement.payment_id ORDER BY statement.card) = 1
