"""Why a person may not decide on a flag, or not now."""

import datetime as dt

from sqlalchemy import select

from audit_pipeline.adapters.store.rows import FlagRow
from audit_pipeline.adapters.store.schema import USERS, WORKLIST
from audit_pipeline.adapters.store.writer import Writer
from audit_pipeline.model.errors import FlagTaken, OwnCharge
from audit_pipeline.model.person import same_person


def refuse_own(writer: Writer, flag: FlagRow, person_id: str) -> None:
    """Whoever the card names as its holder does not decide on the charge.

    Raises:
        OwnCharge: by the name the person signs in with, is shown as, or stands on cards with.
    """
    if not flag.cardholder:
        return
    # the command line takes any spelling of a name, which no SQL would find
    asked = select(USERS.c.user_id, USERS.c.cardholder, USERS.c.display_name)
    names = [person_id]
    for user in writer.connection.execute(asked):
        if same_person(user.user_id, person_id):
            names += [name for name in (user.cardholder, user.display_name) if name]
    if any(same_person(name, flag.cardholder) for name in names):
        raise OwnCharge(f"{flag.cardholder} spent this; somebody else has to decide on it")


def refuse_taken(
    writer: Writer, flag: FlagRow, person_id: str, seen_at: dt.datetime | None
) -> None:
    """Nobody else has the flag open, and it is as it was when the person looked at it.

    Args:
        seen_at: its `updated_at` then; None does not ask.

    Raises:
        FlagTaken: one of them does not hold.
    """
    asked = select(WORKLIST.c.locked_by, WORKLIST.c.locked_until_at).where(
        WORKLIST.c.flag_id == flag.flag_id
    )
    held = writer.connection.execute(asked).one_or_none()
    if (
        held is not None
        and held.locked_by is not None
        and not same_person(held.locked_by, person_id)
        and held.locked_until_at > writer.now
    ):
        raise FlagTaken(f"{held.locked_by} has this flag open; take another one")
    if seen_at is not None and seen_at != flag.updated_at:
        raise FlagTaken("the flag has changed since you opened it; look at it again")
