"""What a person must be able to read from an error of the warehouse."""

import pytest

from audit_pipeline.model.errors import WarehouseError
from audit_pipeline.model.workspace import Workspace


def told(fault: pytest.ExceptionInfo[WarehouseError], workspace: Workspace, *words: str) -> None:
    """The message is one line for a person: it names a remedy and whose rights count."""
    said = str(fault.value)
    assert "\n" not in said
    assert len(said) < 900
    assert workspace.who in said
    for word in words:
        assert word in said
    for secret in (workspace.token, workspace.client_secret):
        assert not secret or secret not in said
