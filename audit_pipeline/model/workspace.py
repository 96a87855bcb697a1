"""A Databricks workspace as this project uses it: who asks, and where gold and the audit lie."""

import datetime as dt
from dataclasses import dataclass, field

SILENCE_MAX = 120.0
"""Seconds without a byte: longer statements are polled, no reply takes so long."""


JOB_FROM_ROWS = 200_000
"""Rows of gold: with fewer, a cluster takes longer to begin than the work takes."""


@dataclass(frozen=True)
class Job:
    """Where the heavy Python steps run: a cluster that is there, or a new one for each.

    Attributes:
        file: the entry point, a path of the workspace or of a volume.
        volume: a folder of a volume, for what the run worker and the job say to each other.
        cluster_id: a cluster that is there; empty for a new one.
        cluster: the Jobs service's `new_cluster`, as JSON; empty where `cluster_id` is not.
        from_rows: of gold; with fewer the run worker does the work itself.
    """

    file: str
    volume: str
    cluster_id: str = ""
    cluster: str = ""
    from_rows: int = JOB_FROM_ROWS


@dataclass(frozen=True)
class Workspace:
    """Where the warehouse is, who asks, and three schemas of one catalog.

    Attributes:
        host: the workspace's name, with `:port` where that is not 443.
        http_path: `/sql/1.0/warehouses/<id>`.
        catalog: where gold lies and the audit writes.
        token: a personal access token; empty where a service principal asks.
        client_id: of a service principal (OAuth machine to machine).
        client_secret: its secret.
        ca_file: certificates to trust in place of the usual ones, as a company's proxy needs.
        gold: the schema of gold tables; read only.
        audit: the schema of stored partitions and published flags, of one population.
        scratch: the schema of derived tables, which live as long as an audit.
        population: how the population is called; part of every flag's id.
        as_of: no later day counts as known; by default the last day up to today with a row.
        silence_max: seconds without a byte after which a request is given up.
        program: who asks, as the warehouse's query history shows it.
        job: where heavy Python steps run; None for the run worker itself.
    """

    host: str
    http_path: str
    catalog: str
    token: str = field(default="", repr=False)
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    ca_file: str = ""
    gold: str = "gold"
    audit: str = "audit"
    scratch: str = "audit_scratch"
    population: str = ""
    as_of: dt.date | None = None
    silence_max: float = SILENCE_MAX
    program: str = "audit_pipeline"
    job: Job | None = None

    @property
    def who(self) -> str:
        """Whose rights count, in the words of an error message."""
        return f"service principal {self.client_id}" if self.client_id else "the token's owner"

    @property
    def name(self) -> str:
        """The population's name; the place of its gold if none was given."""
        return self.population or f"{self.catalog}.{self.gold}"

    def gold_table(self, table: str) -> str:
        """The full name of a gold table, quoted."""
        return _name(self.catalog, self.gold, table)

    def stored_table(self, table: str) -> str:
        """The full name of a stored table, quoted."""
        return _name(self.catalog, self.audit, table)

    def schema(self, name: str) -> str:
        """The full name of a schema of the catalog, quoted."""
        return _name(self.catalog, name)

    def scratch_schema(self) -> str:
        """The full name of the scratch schema, quoted."""
        return _name(self.catalog, self.scratch)


def quoted(name: str) -> str:
    """An identifier, in the quotes of Databricks."""
    return "`" + name.replace("`", "``") + "`"


def literal(text: str) -> str:
    """A text as a literal of Databricks, where a backslash escapes; where no parameter may be."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _name(*parts: str) -> str:
    return ".".join(map(quoted, parts))
