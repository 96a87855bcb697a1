-- RC-02 Charges that a statement's payment left out: the payment is lower than the statement's
-- lines, and these lines are the smallest set that makes up the difference to the cent. One row for
-- each charge and day; where two payments left one out, the first id counts. Measured: the whole
-- difference.
SELECT statement.audit_on, line.line_id AS transaction_id,
  statement.difference AS measured, 0 AS threshold,
  line.amount, line.vendor, line.line_on AS charged_on,
  statement.payment_id, statement.payment_on, statement.paid, statement.lines,
  statement.lines_total, statement.difference, statement.period_from, statement.period_to,
  array_length(statement.explained_by) AS set_size, statement.rivals
FROM (
  SELECT *, unnest(explained_by) AS line_id
  FROM audit.statements
  WHERE status = 'short' AND audit_on BETWEEN $from_on AND $to_on
) AS statement
JOIN audit.card_lines AS line ON line.line_id = statement.line_id
QUALIFY row_number() OVER (
  PARTITION BY statement.audit_on, line.line_id ORDER BY statement.payment_id) = 1
