"""The same readings in Postgres, as one would keep them there: the yardstick.

A row a reading with the ids and dimensions that a document has, `real` for quantities, the index
by connector and time that each connector's question needs, and BRIN over time, which costs nearly
nothing. Written in order of time within a connector, which is the best for both.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import LiteralString

import psycopg
from django.conf import settings
from psycopg import sql

from benchmarks.corpus import QUANTITIES, Connector, Stretch, copy_lines

TABLE = sql.Identifier("bench_readings")


@contextmanager
def connected() -> Iterator[psycopg.Connection]:
    """The bench's own database; its tables are gone afterwards."""
    with psycopg.connect(str(settings.ENVIRONMENT.postgres_url), autocommit=True) as connection:
        try:
            yield connection
        finally:
            connection.execute("DROP TABLE IF EXISTS bench_readings, bench_states")


def make(connection: psycopg.Connection) -> None:
    """An empty table."""
    columns = (
        "tenant text NOT NULL, connector uuid NOT NULL, model uuid, batch text, organisation uuid,"
        " vehicle uuid, position text, device text, measured_ms bigint NOT NULL,"
        " arrived_ms bigint NOT NULL, batch_id bigint NOT NULL"
    )
    quantities = [sql.SQL(", {} real").format(sql.Identifier(name)) for name in QUANTITIES]
    connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(TABLE))
    connection.execute(
        sql.SQL("CREATE UNLOGGED TABLE {} (").format(TABLE)
        + sql.SQL(columns)
        + sql.Composed(quantities)
        + sql.SQL(")")
    )


def load(connection: psycopg.Connection, connector: Connector, readings: Stretch) -> None:
    """A connector's readings by COPY."""
    statement = sql.SQL("COPY {} FROM STDIN").format(TABLE)
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(copy_lines(connector, readings))


def finish(connection: psycopg.Connection) -> None:
    """Make the indices, if they are not there yet, and let the planner know the table."""
    for statement in (
        "CREATE UNIQUE INDEX IF NOT EXISTS bench_identity ON {} (connector, measured_ms)",
        "CREATE INDEX IF NOT EXISTS bench_brin ON {} USING brin (measured_ms)",
    ):
        connection.execute(sql.SQL(statement).format(TABLE))
    connection.execute(sql.SQL("VACUUM ANALYZE {}").format(TABLE))


def index_for_fleets(connection: psycopg.Connection) -> None:
    """An index that holds all that the questions about a fleet read: the table is not touched."""
    connection.execute(
        "CREATE INDEX IF NOT EXISTS bench_fleet ON bench_readings (measured_ms)"
        " INCLUDE (model, vehicle, temperature_pos_c)"
    )


def bytes_held(connection: psycopg.Connection) -> tuple[int, int]:
    """Of the table, and of the table with its indices."""
    row = connection.execute(
        "SELECT pg_relation_size('bench_readings'), pg_total_relation_size('bench_readings')"
    ).fetchone()
    assert row is not None
    return int(row[0]), int(row[1])


def count(connection: psycopg.Connection) -> int:
    """Rows."""
    row = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(TABLE)).fetchone()
    assert row is not None
    return int(row[0])


def ask(
    connection: psycopg.Connection, query: LiteralString, values: Sequence[object]
) -> list[tuple[object, ...]]:
    """All rows of a query."""
    return connection.execute(query, values).fetchall()


def ask_by_brin(
    connection: psycopg.Connection, query: LiteralString, values: Sequence[object]
) -> list[tuple[object, ...]]:
    """The same where there is no index for fleets."""
    with connection.transaction(force_rollback=True):
        connection.execute("DROP INDEX bench_fleet")
        return ask(connection, query, values)
