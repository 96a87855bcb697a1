"""Column types that behave alike on SQLite and on Postgres.

The unused `dialect` arguments are SQLAlchemy's signature.
"""

import datetime as dt
import hashlib
from decimal import Decimal

from sqlalchemy import TIMESTAMP, Dialect, Numeric, String, Text
from sqlalchemy.types import TypeDecorator, TypeEngine

DIGEST_CHARACTERS = 16


def storable(text: str, length: int | None = None) -> str:
    """`text` as both databases can hold it; the same text always becomes the same.

    Postgres refuses NUL, both refuse half a surrogate pair: each becomes U+FFFD. Postgres refuses
    a text that is longer than its column, SQLite takes it: such a text keeps its beginning and
    ends in a digest of the whole, so that looking it up by the whole finds it and no other.
    """
    plain = text if type(text) is str else str(text)
    if "\x00" in plain:
        plain = plain.replace("\x00", "\ufffd")
    if not plain.isascii():
        plain = plain.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if length is None or len(plain) <= length:
        return plain
    digest = hashlib.sha256(str(text).encode("utf-8", "surrogatepass")).hexdigest()
    return f"{plain[: length - DIGEST_CHARACTERS - 1]}…{digest[:DIGEST_CHARACTERS]}"


class Words(TypeDecorator[str]):
    """Text: VARCHAR(length), or TEXT without a length. See `storable` for what it replaces."""

    impl = String
    cache_ok = True

    def __init__(self, length: int | None = None) -> None:
        super().__init__(length)
        self.length = length

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[str]:
        """TEXT where there is no length."""
        return Text() if self.length is None else String(self.length)

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """On the way in."""
        return None if value is None else storable(value, self.length)


class Instant(TypeDecorator[dt.datetime]):
    """A UTC instant: TIMESTAMP WITH TIME ZONE on Postgres, UTC as text on SQLite."""

    impl = TIMESTAMP(timezone=True)
    cache_ok = True

    def process_bind_param(
        self,
        value: dt.datetime | None,
        dialect: Dialect,
    ) -> dt.datetime | None:
        """On the way in: a naive datetime is refused."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone; instants in the store are UTC")
        return value.astimezone(dt.UTC)

    def process_result_value(
        self,
        value: dt.datetime | None,
        dialect: Dialect,
    ) -> dt.datetime | None:
        """On the way out: always aware, always UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)


class Exact(TypeDecorator[Decimal]):
    """A decimal that is never a float: NUMERIC on Postgres, TEXT on SQLite (which has none)."""

    impl = Numeric
    cache_ok = True

    def __init__(self, precision: int, scale: int) -> None:
        super().__init__(precision, scale)
        self.precision = precision
        self.scale = scale

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Decimal] | TypeEngine[str]:
        """TEXT on SQLite."""
        return Text() if dialect.name == "sqlite" else Numeric(self.precision, self.scale)

    def exact(self, value: Decimal) -> Decimal:
        """`value` rounded half to even at the column's scale.

        Raises:
            ValueError: it is not finite, or too large for the column.
        """
        digits = self.precision - self.scale
        if value.is_finite() and (not value or value.adjusted() < digits):
            rounded = round(value, self.scale)
            if not rounded:
                return Decimal(0).scaleb(-self.scale)  # Postgres has no negative zero
            if rounded.adjusted() < digits:
                return rounded
        raise ValueError(f"{value} does not fit NUMERIC({self.precision},{self.scale})")

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Decimal | str | None:
        """On the way in."""
        if value is None:
            return None
        exact = self.exact(value)
        return format(exact, "f") if dialect.name == "sqlite" else exact

    def process_result_value(self, value: object, dialect: Dialect) -> Decimal | None:
        """On the way out."""
        return None if value is None else Decimal(str(value))
