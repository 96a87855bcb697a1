"""Every error that this project raises on purpose.

::

    AuditError                       one line that a user can act on; never a traceback
    ├── BadUsage                     the command line or a setting asks for the impossible
    ├── RulesInvalid                 rules.yaml: every mistake at once, each with its key path
    ├── GoldUnreadable               a gold source is missing, or holds nothing to audit
    ├── GateClosed                   the quality gate halts the audit of a partition
    ├── LedgerUnbalanced             flagged + cleared + quarantined ≠ gold
    ├── FlagUnknown                  no flag has this id
    ├── TransitionRefused            a flag cannot go from this state to that one
    ├── DecisionRefused              this person may not decide this, or not now:
    │   ├── OwnCharge                it is the person's own charge
    │   ├── SamePerson               the second pair of eyes would be the first one
    │   └── FlagTaken                somebody else is at work on it, or was faster
    ├── PartitionBusy                another audit of these days is at work
    ├── AttemptSuperseded            a later attempt has taken these days over
    ├── StoreUnavailable             the store cannot be opened or is of another version
    ├── TrailBroken                  the trail and what is signed of it do not fit each other
    ├── BrokerUnavailable            the Redis that hands steps to workers does not answer
    └── WarehouseError               Databricks, told apart by who must act:
        ├── WarehouseRejected        it refuses a statement; asking again changes nothing
        ├── WarehouseUnavailable     it cannot be reached now; asking again later helps
        └── WarehouseUnauthorised    it refuses these credentials; a person must act

The exit code of each is decided at the edge, in `cli.py`.
"""


class AuditError(Exception):
    """Base of the tree: a message that names the fault and the remedy."""


class BadUsage(AuditError):
    """The command line or a setting asks for the impossible."""


class RulesInvalid(AuditError):
    """The rules file has mistakes; `mistakes` lists all of them, each with its key path."""

    def __init__(self, source: str, mistakes: list[str]) -> None:
        self.mistakes = mistakes
        lines = "\n".join(f"  - {mistake}" for mistake in mistakes)
        super().__init__(f"{source}: {len(mistakes)} mistake(s)\n{lines}")


class GoldUnreadable(AuditError):
    """A gold source is missing, or holds nothing to audit."""


class GateClosed(AuditError):
    """The quality gate halts the audit of a partition."""


class LedgerUnbalanced(AuditError):
    """Flagged + cleared + quarantined is not the gold population, by count or by amount."""


class FlagUnknown(AuditError):
    """No flag has this id."""


class TransitionRefused(AuditError):
    """A flag cannot go from this state to that one."""


class DecisionRefused(AuditError):
    """A person may not decide this; one of the three below."""


class OwnCharge(DecisionRefused):
    """Who spent the money never decides on the charge."""


class SamePerson(DecisionRefused):
    """A decision on a critical flag takes two people."""


class FlagTaken(DecisionRefused):
    """Somebody else is at work on the flag, or has changed it since it was looked at."""


class PartitionBusy(AuditError):
    """Another audit of the same days is at work: the step is tried again later."""


class AttemptSuperseded(AuditError):
    """A later attempt at the same days has begun: what this one would write is refused."""


class StoreUnavailable(AuditError):
    """The store cannot be opened, or its schema is of another version."""


class TrailBroken(AuditError):
    """The trail and what is signed of it, outside the database, do not fit each other."""


class BrokerUnavailable(AuditError):
    """The Redis that hands steps to workers does not answer."""


class WarehouseError(AuditError):
    """Databricks; one of the three below, told apart by who must act."""


class WarehouseRejected(WarehouseError):
    """The warehouse refuses a statement: a defect here, or tables that are not as declared."""


class WarehouseUnavailable(WarehouseError):
    """The warehouse cannot be reached, or not now: the step is tried again later."""


class WarehouseUnauthorised(WarehouseError):
    """The warehouse refuses the credentials, or they may not do this: a person must act."""
