"""`backup`: everything that can't be made again, of one instant, in a folder that can be checked.

While it is made the workers rest and readings wait at the broker, so that Postgres and
Elasticsearch are of the same moment: what the one knows, the other has. Web goes on.
What the stores can make anew from each other is not the backup's business: Redis (queues, logs),
the broker's users, translations, assets.
"""

import hashlib
import json
import subprocess
import tarfile
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import httpx
import psycopg
from psycopg import sql

from deploy.stack import elasticsearch_node, postgres, supervisor
from deploy.stack.errors import StackError
from deploy.stack.layout import CHECKOUT, write_private
from deploy.stack.services import services
from deploy.stack.settings import files_folder
from deploy.stack.stack import Stack
from deploy.stack.steps import step

FORMAT = 1
MANIFEST = "manifest.json"
SECRET_KEY = "secret-key"  # noqa: S105 - a file's name
_CHUNK = 1024 * 1024
WRITES_LIMIT_S = 300
SNAPSHOTS_LIMIT = 5

Connection = psycopg.Connection[tuple[object, ...]]


@dataclass(frozen=True)
class Manifest:
    """What a backup says of itself; written last, so that a folder with one is complete.

    `rows`: of each table, as `schema.table`. `documents`: of each index. `migrations`: of the
    public schema, as `app.name`. `files`: SHA-256 of each file beside the manifest.
    """

    format: int
    made_at: str
    version: str
    rows: dict[str, int]
    documents: dict[str, int]
    migrations: list[str]
    files: dict[str, str]

    @property
    def schemas(self) -> list[str]:
        """public first, because tables of tenants may refer to it."""
        found = {name.partition(".")[0] for name in self.rows}
        return sorted(found, key=lambda name: (name != "public", name))


def make(stack: Stack, target: Path, *, now: datetime) -> Path:
    """Makes a backup in a new folder under `target`, and returns it.

    Raises StackError where a store refuses; what was written until then is left as `….partial`.
    """
    folder = target / f"ohmwatch-{now:%Y-%m-%dT%H-%M-%SZ}"
    partial = folder.with_suffix(".partial")
    partial.mkdir(mode=0o700, parents=True)
    with _workers_rest(stack):
        with step("Postgres"):
            rows, migrations = _dump_postgres(stack, partial)
        with step("Elasticsearch"):
            documents = _snapshot(stack, partial, folder.name.lower())
    with step("Files and the key that signs and seals"):
        _pack(files_folder(stack), partial / "files.tar")
        write_private(partial / SECRET_KEY, stack.credentials["secret_key"])
    manifest = Manifest(
        format=FORMAT,
        made_at=now.isoformat(),
        version=own_version(),
        rows=rows,
        documents=documents,
        migrations=migrations,
        files={path.name: sha256(path) for path in sorted(partial.iterdir())},
    )
    write_private(partial / MANIFEST, json.dumps(asdict(manifest), indent=1) + "\n")
    partial.rename(folder)
    return folder


def read(folder: Path) -> Manifest:
    """The manifest of a backup that is whole. Raises StackError where it isn't, and says why."""
    path = folder / MANIFEST
    if not path.exists():
        raise StackError(f"{folder} is no finished backup: there is no {MANIFEST} in it.")
    try:
        said = json.loads(path.read_text())
        if said["format"] > FORMAT:
            raise StackError(
                f"{folder} was made by a newer Ohmwatch ({said['version']}): restore it with that."
            )
        manifest = Manifest(**said)
    except (ValueError, KeyError, TypeError) as error:
        raise StackError(f"{path} can't be read: {error}. Take another backup.") from None
    for name, expected in manifest.files.items():
        file = folder / name
        if not file.exists():
            raise StackError(f"{folder} lacks {name}: it was not copied whole.")
        if sha256(file) != expected:
            raise StackError(f"{file} is damaged: its checksum differs. Take another backup.")
    return manifest


def own_version() -> str:
    """Of this checkout."""
    about = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    return str(about["project"]["version"])


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


# --- what the stores hold ---------------------------------------------------------------------


def postgres_of(
    stack: Stack, *, database: str = "ohmwatch"
) -> "psycopg.Connection[tuple[object, ...]]":
    """A connection to the stack's database."""
    return psycopg.connect(
        host="127.0.0.1",
        port=stack.ports.postgres,
        user="ohmwatch",
        password=stack.credentials["postgres"],
        dbname="ohmwatch",
    )


def count_rows(connection: Connection) -> dict[str, int]:
    """How many rows each table has, by `schema.table`."""
    found = connection.execute(
        "SELECT schemaname, tablename FROM pg_tables"
        " WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1, 2"
    ).fetchall()
    counts = {}
    for schema, table in found:
        query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(str(schema), str(table)))
        row = connection.execute(query).fetchone()
        counts[f"{schema}.{table}"] = int(str(row[0])) if row else 0
    return counts


def count_documents(stack: Stack) -> dict[str, int]:
    """How many documents each index has that can be found."""
    with elasticsearch_node.client(stack) as client:
        # An index that was made a moment ago has no count until its shards have started.
        started = {"wait_for_no_initializing_shards": "true", "timeout": "60s"}
        client.get("/_cluster/health", params=started).raise_for_status()
        client.post("/*/_refresh").raise_for_status()
        answer = client.get("/_cat/indices", params={"format": "json", "h": "index,docs.count"})
        return {
            row["index"]: int(row["docs.count"] or 0) for row in answer.raise_for_status().json()
        }


# --- Postgres ---------------------------------------------------------------------------------


def _dump_postgres(stack: Stack, folder: Path) -> tuple[dict[str, int], list[str]]:
    """A dump a schema, all of one snapshot; one command over all of them would lock too much."""
    with postgres_of(stack) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        row = connection.execute("SELECT pg_export_snapshot()").fetchone()
        assert row is not None
        rows = count_rows(connection)
        migrations = [
            f"{app}.{name}"
            for app, name in connection.execute("SELECT app, name FROM public.django_migrations")
        ]
        for schema in sorted({name.partition(".")[0] for name in rows}):
            _dump_schema(stack, schema, str(row[0]), folder / f"{schema}.dump")
    return rows, migrations


def _dump_schema(stack: Stack, schema: str, snapshot: str, file: Path) -> None:
    command = [str(postgres.BINARIES / "pg_dump"), "-Fc", "--no-owner", f"--snapshot={snapshot}"]
    command += ["-n", schema, "-f", str(file), "-h", "127.0.0.1", "-p", str(stack.ports.postgres)]
    run_client(stack, [*command, "-U", "ohmwatch", "ohmwatch"])


def run_client(stack: Stack, command: list[str]) -> None:
    """One of Postgres's clients. Raises StackError with what it said."""
    environment = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
    environment["PGPASSWORD"] = stack.credentials["postgres"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise StackError(f"{Path(command[0]).name} failed:\n{done.stderr[-2000:]}")


# --- Elasticsearch ----------------------------------------------------------------------------


def _snapshot(stack: Stack, folder: Path, name: str) -> dict[str, int]:
    """Anew where a document came or went meanwhile, of web, which goes on: a restore compares the
    snapshot with its count."""
    with elasticsearch_node.repository(stack, name) as (client, place):
        for _ in range(SNAPSHOTS_LIMIT):
            documents = count_documents(stack)
            _take_snapshot(client, f"/_snapshot/{name}/all")
            if count_documents(stack) == documents:
                _pack(place, folder / "elasticsearch.tar")
                return documents
            client.delete(f"/_snapshot/{name}/all").raise_for_status()
    raise StackError(
        f"Elasticsearch was written to during each of {SNAPSHOTS_LIMIT} snapshots, by something "
        "that is no worker of this stack. End it, and take the backup again.",
        service="elasticsearch",
    )


def _take_snapshot(client: httpx.Client, address: str) -> None:
    wanted = {"indices": "*,-.*", "include_global_state": False}
    answer = client.put(address, params={"wait_for_completion": "true"}, json=wanted)
    told = answer.raise_for_status().json()["snapshot"]
    if told["state"] != "SUCCESS":
        raise StackError(f"Elasticsearch's snapshot is {told['state']}: {told['failures']}")


def _pack(source: Path, file: Path) -> None:
    with tarfile.open(file, "w") as archive:
        archive.add(source, arcname=".")


def let_writes_end(client: httpx.Client) -> None:
    """Who is stopped leaves what it has sent to the store, which goes on with it.

    Raises StackError where it goes on for longer than WRITES_LIMIT_S.
    """
    until = time.monotonic() + WRITES_LIMIT_S
    while _writes(client):
        if time.monotonic() >= until:
            raise StackError(
                f"Elasticsearch has been writing for {WRITES_LIMIT_S} s what workers had sent.",
                service="elasticsearch",
            )
        time.sleep(0.2)


def _writes(client: httpx.Client) -> bool:
    answer = client.get("/_tasks", params={"actions": "indices:data/write/*"})
    return any(node["tasks"] for node in answer.raise_for_status().json()["nodes"].values())


@contextmanager
def _workers_rest(stack: Stack) -> Iterator[None]:
    """Nothing is stored, judged, sent or swept in here; those that ran before run after."""
    workers = [s.name for s in services(stack) if s.group == "product" and s.name != "web"]
    states = {state.name: state for state in supervisor.every_state(stack)}
    ran = [name for name in workers if name in states and states[name].is_running]
    if not ran:
        yield
        return
    with step("Workers rest; readings wait at the broker"):
        supervisor.stop_services(stack, ran)
    try:
        with step("What they had sent is stored"), elasticsearch_node.client(stack) as client:
            let_writes_end(client)
        yield
    finally:
        with step("Workers go on"):
            supervisor.start_services(stack, ran)
