"""The control: the same audit with the writes that one would write first.

Nobody would see the difference while nothing happens. Killed, it must be found out.
"""

from audit_pipeline import publishing
from audit_pipeline.adapters.store import Store
from audit_pipeline.adapters.store.rows import FlagChanges
from audit_pipeline.steps import Step


def publish(step: Step, store: Store, publication: publishing.Publication) -> object:
    """Each flag in a transaction of its own, then all the rest, then the trail."""
    raised, population = publication.raised, publication.population
    ids = {rule_id: query.query_id for rule_id, query in publication.queries.items()}
    with store.writing("publish") as writer:
        writer.put_queries(publication.queries.values())
        writer.replace_findings(population, raised.from_on, raised.to_on, raised.findings, ids)
    changes: list[FlagChanges] = []
    for flag in raised.flags:
        with store.writing("publish") as writer:
            changes.append(writer.publish_flags(population, [flag], (), step.run_id))
    standing = {flag.transaction_id for flag in raised.flags}
    with store.writing("publish") as writer:
        gone = writer.publish_flags(population, [], raised.touched - standing, step.run_id)
        writer.put_partitions(publication.days)
        writer.record_rules(publication.rules, step.run_id)
    with store.writing("publish") as writer:
        together = [
            sum((getattr(change, name) for change in [*changes, gone]), ())
            for name in ("created", "updated", "unchanged", "superseded", "reopened")
        ]
        writer.append_events(publishing.flag_events(step.run_id, raised, FlagChanges(*together)))
    return None
