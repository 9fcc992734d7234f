"""`restore`: a stack without data becomes what a backup was."""

from pathlib import Path

from deploy.stack import backup, elasticsearch_node, management, postgres, running, supervisor
from deploy.stack.backup import Manifest
from deploy.stack.errors import StackError
from deploy.stack.layout import CHECKOUT
from deploy.stack.settings import files_folder
from deploy.stack.stack import Stack
from deploy.stack.steps import step


def restore(stack: Stack, folder: Path) -> Manifest:
    """Fills the stores of an empty stack and leaves them running.

    Raises StackError where the backup is damaged, unfinished or newer than this Ohmwatch, where
    the stack has data, or where what was restored differs from what the backup says. Nobody is
    told again what they were told before: messages that waited in the backup are given up.
    """
    with step("The backup is whole"):
        manifest = backup.read(folder)
    _refuse_newer(manifest)
    _refuse_data(stack)
    stack.credentials.generate()
    stack.credentials.replace("secret_key", (folder / backup.SECRET_KEY).read_text())
    with step("Folders, secrets, configuration"):
        running.prepare(stack)
    if not supervisor.is_running(stack):
        supervisor.start(stack)
    with step("Postgres, Redis, Elasticsearch"):
        running.start_group(stack, "stores")
    with step("Postgres is filled"):
        _fill_postgres(stack, folder, manifest)
    with step("Elasticsearch is filled"):
        _fill_elasticsearch(stack, folder)
    with step("Files are laid back"):
        _unpack(stack, folder / "files.tar", files_folder(stack))
    with step("Counted: every row and document is there"):
        _compare(stack, manifest)
    with step("Messages that waited are given up, searches follow Postgres"):
        management.must(stack, "settle_restored")
    return manifest


def _refuse_newer(manifest: Manifest) -> None:
    unknown = [name for name in manifest.migrations if not _is_known(name)]
    if unknown:
        raise StackError(
            f"The backup was made by Ohmwatch {manifest.version}; this one is older and lacks "
            f"{unknown[0]}. Restore it with the newer one."
        )


def _is_known(migration: str) -> bool:
    """Whether a migration of ours is there; those of libraries come with the lock."""
    app, _, name = migration.partition(".")
    folder = CHECKOUT / "apps" / app / "migrations"
    return not folder.exists() or (folder / f"{name}.py").exists()


def _refuse_data(stack: Stack) -> None:
    if (postgres.folder(stack) / "PG_VERSION").exists():
        raise StackError(
            "This stack has data, which a restore would mix with the backup's. Keep it with "
            "`./ohmwatch backup`, throw it away with `./ohmwatch reset`, then restore."
        )


def _fill_postgres(stack: Stack, folder: Path, manifest: Manifest) -> None:
    with backup.postgres_of(stack) as connection:
        connection.execute("DROP SCHEMA public")  # a new database's own; the dump brings it
    for schema in manifest.schemas:
        command = [str(postgres.BINARIES / "pg_restore"), "--exit-on-error", "--no-owner"]
        command += ["--single-transaction", "-h", "127.0.0.1", "-p", str(stack.ports.postgres)]
        command += ["-U", "ohmwatch", "-d", "ohmwatch", str(folder / f"{schema}.dump")]
        backup.run_client(stack, command)


def _fill_elasticsearch(stack: Stack, folder: Path) -> None:
    with elasticsearch_node.repository(
        stack, "restored", fill=lambda place: _unpack(stack, folder / "elasticsearch.tar", place)
    ) as (client, _place):
        answer = client.post(
            "/_snapshot/restored/all/_restore",
            params={"wait_for_completion": "true"},
            json={"indices": "*", "include_global_state": False},
        )
        shards = answer.raise_for_status().json()["snapshot"]["shards"]
        if shards["failed"]:
            raise StackError(
                f"{shards['failed']} shards can't be restored.", service="elasticsearch"
            )


def _unpack(stack: Stack, file: Path, folder: Path) -> None:
    """As the services' user, and by tar: it leaves the folder under no name in an archive."""
    stack.owner.make(folder)
    with file.open("rb") as archive:
        command = ["tar", "--extract", "--no-same-owner", "--directory", str(folder)]
        done = stack.owner.run(command, stdin=archive, capture_output=True)
    if done.returncode:
        raise StackError(f"{file} can't be unpacked:\n{done.stderr.decode(errors='replace')}")


def _compare(stack: Stack, manifest: Manifest) -> None:
    with backup.postgres_of(stack) as connection:
        rows = backup.count_rows(connection)
    apart = _apart("rows of", manifest.rows, rows)
    apart += _apart("documents of", manifest.documents, backup.count_documents(stack))
    if apart:
        raise StackError("What was restored differs from the backup:\n" + "\n".join(apart))


def _apart(what: str, expected: dict[str, int], found: dict[str, int]) -> list[str]:
    return [
        f"  {what} {name}: {expected.get(name, 0)} in the backup, {found.get(name, 0)} here"
        for name in sorted(expected.keys() | found.keys())
        if expected.get(name, 0) != found.get(name, 0)
    ]
