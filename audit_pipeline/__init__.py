"""Continuous audit of a company's money, every day.

The flow, which `assets.py` draws as a graph::

    gold tables → quality gate → reconciliation ┐
                               → anomalies      ┴→ context → escalation → flags → review
                         every step → audit trail

`model/` holds the nouns, `agents/` the verbs (pure: tables in, table out), `adapters/` the
outside world, and the five modules beside this one the Dagster project. This file imports
nothing, so that `import audit_pipeline.agents` costs what the agents cost.
"""
