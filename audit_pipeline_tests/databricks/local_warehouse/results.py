"""Arrow tables as the Thrift protocol carries them: inline batches, or links to chunks."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import lz4.frame
import pyarrow as pa
from databricks.sql.thrift_api.TCLIService import ttypes

LINK_SECONDS = 900
Kind = ttypes.TTypeId

_PRIMITIVES: tuple[tuple[Callable[[pa.DataType], bool], int], ...] = (
    (pa.types.is_boolean, Kind.BOOLEAN_TYPE),
    (pa.types.is_int8, Kind.TINYINT_TYPE),
    (pa.types.is_int16, Kind.SMALLINT_TYPE),
    (pa.types.is_int32, Kind.INT_TYPE),
    (pa.types.is_int64, Kind.BIGINT_TYPE),
    (pa.types.is_float32, Kind.FLOAT_TYPE),
    (pa.types.is_float64, Kind.DOUBLE_TYPE),
    (pa.types.is_timestamp, Kind.TIMESTAMP_TYPE),
    (pa.types.is_date, Kind.DATE_TYPE),
    (pa.types.is_binary, Kind.BINARY_TYPE),
    (pa.types.is_null, Kind.NULL_TYPE),
    (pa.types.is_list, Kind.ARRAY_TYPE),
    (pa.types.is_map, Kind.MAP_TYPE),
    (pa.types.is_struct, Kind.STRUCT_TYPE),
    (pa.types.is_decimal, Kind.DECIMAL_TYPE),
)


@dataclass
class ResultRows:
    """The rows of one statement, handed out from the front.

    Attributes:
        table: all of them.
        by_link: as links to chunks (CloudFetch) rather than in the reply.
        compressed: by lz4.
        given: how many rows have been handed out.
        chunks: how many chunks have been made of them.
    """

    table: pa.Table
    by_link: bool
    compressed: bool
    given: int = field(default=0)
    chunks: int = field(default=0)

    @property
    def has_more(self) -> bool:
        """Whether rows are left."""
        return self.given < self.table.num_rows

    def take(self, rows_max: int) -> tuple[int, pa.Table]:
        """The next rows, and the number of the first of them."""
        start = self.given
        # a table without columns, as DDL answers, claims as many rows as it is asked for
        part = self.table.slice(start, min(rows_max, self.table.num_rows - start))
        self.given += part.num_rows
        return start, part

    def metadata(self) -> ttypes.TGetResultSetMetadataResp:
        """Names and types."""
        columns = [
            ttypes.TColumnDesc(column.name, _described(column.type), position)
            for position, column in enumerate(self.table.schema, start=1)
        ]
        return ttypes.TGetResultSetMetadataResp(
            status=ttypes.TStatus(ttypes.TStatusCode.SUCCESS_STATUS),
            schema=ttypes.TTableSchema(columns),
            resultFormat=(
                ttypes.TSparkRowSetType.URL_BASED_SET
                if self.by_link
                else ttypes.TSparkRowSetType.ARROW_BASED_SET
            ),
            lz4Compressed=self.compressed,
            arrowSchema=self.table.schema.serialize().to_pybytes(),
            isStagingOperation=False,
        )

    def inline(self, start: int, part: pa.Table) -> ttypes.TRowSet:
        """Rows in the reply itself."""
        batches = [
            ttypes.TSparkArrowBatch(self._packed(batch.serialize().to_pybytes()), batch.num_rows)
            for batch in part.to_batches()
            if batch.num_rows
        ]
        return ttypes.TRowSet(startRowOffset=start, rows=[], arrowBatches=batches)

    def chunk(self, part: pa.Table) -> tuple[bytes, int]:
        """Rows as a file of their own: its bytes, and their number before compression."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, part.schema) as stream:
            stream.write_table(part)
        whole = sink.getvalue().to_pybytes()
        self.chunks += 1
        return self._packed(whole), len(whole)

    def _packed(self, plain: bytes) -> bytes:
        return lz4.frame.compress(plain) if self.compressed else plain


def link(
    url: str, start: int, rows: int, plain_bytes: int, *, expired: bool
) -> ttypes.TSparkArrowResultLink:
    """A link to a chunk."""
    expires_at = int(time.time()) + (-1 if expired else LINK_SECONDS)
    return ttypes.TSparkArrowResultLink(url, expires_at, start, rows, plain_bytes, {})


def _described(kind: pa.DataType) -> ttypes.TTypeDesc:
    number = next((number for test, number in _PRIMITIVES if test(kind)), Kind.STRING_TYPE)
    qualifiers = None
    if isinstance(kind, pa.Decimal128Type):
        qualifiers = ttypes.TTypeQualifiers(
            {
                "precision": ttypes.TTypeQualifierValue(i32Value=kind.precision),
                "scale": ttypes.TTypeQualifierValue(i32Value=kind.scale),
            }
        )
    entry = ttypes.TTypeEntry(
        primitiveEntry=ttypes.TPrimitiveTypeEntry(type=number, typeQualifiers=qualifiers)
    )
    return ttypes.TTypeDesc([entry])
