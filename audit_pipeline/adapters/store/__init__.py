"""Where everything that must survive is kept: flags, decisions, trail, workflow state.

SQLAlchemy Core on SQLite or Postgres; one process, thread or worker writes at a time.
`schema.py` declares the tables, `ddl.py` prints them, `engine.py` opens a database and migrates
it, `rows.py` and `trail.py` hold what a reader gets, `writer.py` what a transaction may do,
`attempts.py` who may write which days, `reviewing.py` what people do to flags, `store.py` the rest.
"""

from audit_pipeline.adapters.store.store import Store as Store
