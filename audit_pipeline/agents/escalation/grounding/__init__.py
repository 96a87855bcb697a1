"""Whether a generated explanation says what the evidence says, and nothing beside it."""

from audit_pipeline.agents.escalation.grounding.gate import ungrounded as ungrounded
