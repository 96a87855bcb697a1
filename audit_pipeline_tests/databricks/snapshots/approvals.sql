-- Approvals given by mail: who approved what, when. A thread asks (its first message), somebody
-- else answers with an approval; the amounts that the thread names up to that answer are approved.

WITH mails AS (
  SELECT
    email_id,
    LOWER(TRANSLATE(sender, 'İΣ', 'iσ')) AS sender,
    date AS sent_at,
    audit_on,
    subject,
    body,
    COALESCE(
      thread_id,
      'subject:' || REGEXP_REPLACE(LOWER(TRANSLATE(subject, 'İΣ', 'iσ')), '^((re|fwd?|aw): *)+', '')
    ) AS thread_key,
    related_transactions
  FROM (
    SELECT
      *,
      ROW_NUMBER() OVER (PARTITION BY email_id ORDER BY audit_on NULLS LAST, row_number NULLS LAST) AS copy_number
    FROM gold.emails AS emails
    WHERE
      NOT email_id IS NULL
      AND NOT sender IS NULL
      AND NOT date IS NULL
      AND NOT subject IS NULL
      AND NOT body IS NULL
      AND CAST(date AS DATE) <= audit_on
  ) AS emails
  WHERE
    copy_number = 1
), asked AS (
  SELECT
    thread_key,
    MIN(sent_at) AS asked_at,
    MIN_BY(sender, (sent_at, email_id)) AS requester
  FROM mails
  GROUP BY
    thread_key
), answers AS (
  SELECT
    mails.*,
    asked.requester,
    asked.asked_at
  FROM mails
  JOIN asked
    ON asked.thread_key = mails.thread_key
  WHERE
    mails.sender <> asked.requester
    AND REGEXP_LIKE(
      LOWER(TRANSLATE(body, 'İΣ', 'iσ')),
      '(?:(?<=[0-9A-Za-z_])(?![0-9A-Za-z_])|(?<![0-9A-Za-z_])(?=[0-9A-Za-z_]))(approved|i approve|approve this|go ahead|please proceed|ok to (buy|pay|book|proceed|order)|fine with me)(?:(?<=[0-9A-Za-z_])(?![0-9A-Za-z_])|(?<![0-9A-Za-z_])(?=[0-9A-Za-z_]))'
    )
    AND NOT REGEXP_LIKE(
      LOWER(TRANSLATE(body, 'İΣ', 'iσ')),
      '(?:(?<=[0-9A-Za-z_])(?![0-9A-Za-z_])|(?<![0-9A-Za-z_])(?=[0-9A-Za-z_]))(not approved|cannot approve|can\'t approve|do not go ahead|needs? to be approved|unapproved)(?:(?<=[0-9A-Za-z_])(?![0-9A-Za-z_])|(?<![0-9A-Za-z_])(?=[0-9A-Za-z_]))'
    )
), said AS (
  SELECT
    answers.email_id,
    answers.thread_key,
    answers.sender AS approver,
    answers.requester,
    answers.sent_at AS approved_at,
    answers.audit_on AS approved_on,
    LOWER(
      TRANSLATE(
        LISTAGG(mails.subject || ' ' || mails.body, ' ') WITHIN GROUP (ORDER BY
          mails.sent_at NULLS LAST,
          mails.email_id NULLS LAST),
        'İΣ',
        'iσ'
      )
    ) AS words,
    FIRST(answers.body) AS quote
  FROM answers
  JOIN mails
    ON mails.thread_key = answers.thread_key AND mails.sent_at <= answers.sent_at
  GROUP BY
    answers.email_id,
    answers.thread_key,
    answers.sender,
    answers.requester,
    answers.sent_at,
    answers.audit_on
)
SELECT
  email_id,
  thread_key,
  approver,
  requester,
  approved_at,
  approved_on,
  words,
  quote,
  TRANSFORM(
    REGEXP_EXTRACT_ALL(words, '[0-9]{1,3}(?:,[0-9]{3})+(?:\\.[0-9]{2})?|[0-9]+(?:\\.[0-9]{2})?', 0),
    text -> TRY_CAST(REPLACE(text, ',', '') AS DECIMAL(18, 2))
  ) AS amounts
FROM said
