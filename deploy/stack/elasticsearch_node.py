"""The Elasticsearch node of one stack. Only the distribution is shared with other stacks."""

import platform
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from deploy.stack.errors import StackError
from deploy.stack.layout import ELASTICSEARCH_HOME, write_private
from deploy.stack.stack import Stack

# Watermarks in bytes: in per cent, a laptop whose disk is nine tenths full refuses to index.
_CONF = """\
cluster.name: ohmwatch
node.name: ohmwatch
path.data: {data}
path.logs: {logs}
path.repo: {snapshots}
network.host: 127.0.0.1
http.port: {http}
transport.port: {transport}
discovery.type: single-node
xpack.security.enabled: true
xpack.security.autoconfiguration.enabled: false
xpack.security.http.ssl.enabled: false
xpack.security.transport.ssl.enabled: false
action.destructive_requires_name: true
cluster.routing.allocation.disk.watermark.low: 3gb
cluster.routing.allocation.disk.watermark.high: 2gb
cluster.routing.allocation.disk.watermark.flood_stage: 1gb
"""


def _folder(stack: Stack) -> Path:
    return stack.home.etc / "elasticsearch"


def java_home() -> Path:
    """Debian names the folder by architecture."""
    names = {"x86_64": "amd64", "aarch64": "arm64"}
    machine = platform.machine()
    return Path(f"/usr/lib/jvm/java-17-openjdk-{names.get(machine, machine)}")


def _temporary(stack: Stack) -> Path:
    return stack.home.data / "elasticsearch-tmp"


def environment(stack: Stack) -> dict[str, str]:
    temporary = _temporary(stack)
    # Its launcher leaves a folder at each start. The script splits the options at spaces.
    launcher = "" if " " in str(temporary) else f"-Djava.io.tmpdir={temporary}"
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(stack.home.data),
        "LANG": "C.UTF-8",
        "ES_JAVA_HOME": str(java_home()),
        "ES_PATH_CONF": str(_folder(stack)),
        "ES_TMPDIR": str(temporary),
        "CLI_JAVA_OPTS": launcher,
    }


def prepare(stack: Stack) -> None:
    """Configuration of this stack, and on the first start its one user (file realm)."""
    data = stack.home.data / "elasticsearch"
    logs = stack.home.logs / "elasticsearch"
    stack.owner.make(data, logs, snapshots(stack), _temporary(stack))
    for left in _temporary(stack).glob("final-flags*"):
        shutil.rmtree(left)
    if not _folder(stack).exists():
        shutil.copytree(ELASTICSEARCH_HOME / "config", _folder(stack))
        stack.owner.owns(_folder(stack), *_folder(stack).rglob("*"))
    ports = stack.ports
    text = _CONF.format(
        data=data,
        logs=logs,
        snapshots=snapshots(stack),
        http=ports.elasticsearch,
        transport=ports.elasticsearch_transport,
    )
    heap = f"-Xms{stack.shape.heap}\n-Xmx{stack.shape.heap}\n"
    for path, content in (("elasticsearch.yml", text), ("jvm.options.d/heap.options", heap)):
        write_private(_folder(stack) / path, content)
        stack.owner.owns(_folder(stack) / path)
    if "ohmwatch:" not in (_folder(stack) / "users").read_text():
        _add_user(stack)


def command(stack: Stack) -> list[str]:
    return [str(ELASTICSEARCH_HOME / "bin" / "elasticsearch")]


def check(stack: Stack) -> None:
    """Raises until the node answers and can index."""
    with client(stack, timeout_s=5) as node:
        question = {"wait_for_status": "yellow", "timeout": "1s"}
        node.get("/_cluster/health", params=question).raise_for_status()


def client(stack: Stack, *, timeout_s: float | None = None) -> httpx.Client:
    """The node's REST interface; without a limit, because a snapshot takes as long as it takes."""
    return httpx.Client(
        base_url=f"http://127.0.0.1:{stack.ports.elasticsearch}",
        auth=("ohmwatch", stack.credentials["elasticsearch"]),
        timeout=timeout_s,
        trust_env=False,
    )


def snapshots(stack: Stack) -> Path:
    """The only place where this node may write snapshots and read them."""
    return stack.home.data / "snapshots"


@contextmanager
def repository(
    stack: Stack, name: str, *, fill: Callable[[Path], None] = lambda place: None
) -> Iterator[tuple[httpx.Client, Path]]:
    """A snapshot repository in a folder of its own, gone afterwards; `fill` lays one into it."""
    place = snapshots(stack) / name
    stack.owner.make(place)
    fill(place)
    with client(stack) as node:
        settings = {"type": "fs", "settings": {"location": str(place)}}
        node.put(f"/_snapshot/{name}", json=settings).raise_for_status()
        try:
            yield node, place
        finally:
            node.delete(f"/_snapshot/{name}")
            shutil.rmtree(place)


def _add_user(stack: Stack) -> None:
    """The password goes in by standard input: a command line is everybody's to read."""
    password = stack.credentials["elasticsearch"]
    tool = str(ELASTICSEARCH_HOME / "bin" / "elasticsearch-users")
    added = stack.owner.run(
        [tool, "useradd", "ohmwatch", "-r", "superuser"],
        env=environment(stack),
        input=f"{password}\n{password}\n",
        capture_output=True,
        text=True,
    )
    if added.returncode:
        raise StackError(f"elasticsearch-users failed:\n{added.stdout}{added.stderr}")
