"""The Elasticsearch node of one stack. Only the distribution is shared with other stacks."""

import platform
import shutil
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


def environment(stack: Stack) -> dict[str, str]:
    temporary = stack.home.data / "elasticsearch-tmp"
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(stack.home.data),
        "LANG": "C.UTF-8",
        "ES_JAVA_HOME": str(java_home()),
        "ES_PATH_CONF": str(_folder(stack)),
        "ES_TMPDIR": str(temporary),
    }


def prepare(stack: Stack) -> None:
    """Configuration of this stack, and on the first start its one user (file realm)."""
    data = stack.home.data / "elasticsearch"
    logs = stack.home.logs / "elasticsearch"
    stack.owner.make(data, logs, stack.home.data / "elasticsearch-tmp")
    if not _folder(stack).exists():
        shutil.copytree(ELASTICSEARCH_HOME / "config", _folder(stack))
        stack.owner.owns(_folder(stack), *_folder(stack).rglob("*"))
    ports = stack.ports
    text = _CONF.format(
        data=data, logs=logs, http=ports.elasticsearch, transport=ports.elasticsearch_transport
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
    answer = httpx.get(
        f"http://127.0.0.1:{stack.ports.elasticsearch}/_cluster/health",
        params={"wait_for_status": "yellow", "timeout": "1s"},
        auth=("ohmwatch", stack.credentials["elasticsearch"]),
        timeout=5,
        trust_env=False,
    )
    answer.raise_for_status()


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
