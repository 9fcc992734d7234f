"""Postgres of one stack."""

from pathlib import Path

import psycopg

from deploy.stack.errors import StackError
from deploy.stack.layout import write_private
from deploy.stack.stack import Stack

BINARIES = Path("/usr/lib/postgresql/15/bin")
# A command over many tenants' schemas (dump, drop) locks each table and index of each.
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "password_encryption": "scram-sha-256",
    "max_connections": "200",
    "max_locks_per_transaction": "512",
    "shared_buffers": "128MB",
    "logging_collector": "off",
}
_NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def folder(stack: Stack) -> Path:
    return stack.home.data / "postgres"


def prepare(stack: Stack) -> None:
    """Makes the cluster on the first start."""
    if (folder(stack) / "PG_VERSION").exists():
        return
    stack.owner.make(folder(stack))
    password = stack.home.etc / "postgres-password"
    write_private(password, stack.credentials["postgres"])
    stack.owner.owns(password)
    command = [str(BINARIES / "initdb"), "-D", str(folder(stack)), "-U", "ohmwatch"]
    command += ["-A", "scram-sha-256", f"--pwfile={password}", "--encoding=UTF8"]
    environment = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
    made = stack.owner.run(
        [*command, "--locale=C.UTF-8"], env=environment, capture_output=True, text=True
    )
    password.unlink()
    if made.returncode:
        raise StackError(f"initdb failed:\n{made.stderr}")


def command(stack: Stack) -> list[str]:
    settings = _SETTINGS if stack.shape.durable else _SETTINGS | _NOT_DURABLE
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    port = str(stack.ports.postgres)
    return [str(BINARIES / "postgres"), "-D", str(folder(stack)), "-p", port, *options]


def check(stack: Stack) -> None:
    """Raises until the server answers; makes the database once it does."""
    with psycopg.connect(
        host="127.0.0.1",
        port=stack.ports.postgres,
        user="ohmwatch",
        password=stack.credentials["postgres"],
        dbname="postgres",
        connect_timeout=2,
        autocommit=True,
    ) as connection:
        found = connection.execute("SELECT 1 FROM pg_database WHERE datname = 'ohmwatch'")
        if found.fetchone() is None:
            connection.execute("CREATE DATABASE ohmwatch")
