"""The store's schema, version by version; `adapters/store/engine.py` runs them in-process.

A new version: change `adapters/store/schema.py`, then
`alembic -c audit_pipeline/migrations/alembic.ini -x url=sqlite:///scratch.db revision
--autogenerate -m "what changes"`, read what it wrote, and set `schema.HEAD`.
"""
