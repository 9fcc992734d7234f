"""The store's disk runs full under load, and is emptied again: a node of the test's own on a small
tmpfs, in a mount namespace of its own (no privileges needed where user namespaces are allowed).

`./ohmwatch test tests/faults/test_disk_full.py -m fault` keeps it full for longer than CI does.
"""

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from django.conf import settings
from django.core.management import call_command

from apps.telemetry.store import the_store
from deploy.stack import elasticsearch_node, owner
from deploy.stack.layout import Home
from deploy.stack.owner import prepare_home
from deploy.stack.ports import Ports, free_base
from deploy.stack.stack import Shape, Stack
from tests import mqtt
from tests.acquisition import Worker, open_session, until
from tests.faults.load import under_load

pytestmark = pytest.mark.usefixtures("kunlun", "aurora")
SIZE_MB, BALLOON_MB = 400, 330
_WATERMARKS = {"low": "140mb", "high": "120mb", "flood_stage": "100mb"}
_NAMESPACE = ("unshare", "-U", "-m", "--map-current-user", "--keep-caps")
_SCRIPT = """
set -e
mount -t tmpfs -o size={size}m tmpfs "{data}"
(while [ -d "{signals}" ]; do
  if [ -e "{signals}/fill" ]; then
    [ -e "{data}/balloon" ] || dd if=/dev/zero of="{data}/balloon" bs=1M count={balloon} 2>/dev/null
  else rm -f "{data}/balloon"; fi
  sleep 0.5
done) &
exec "{elasticsearch}"
"""


@dataclass
class SmallDisk:
    """A node whose disk a test fills and empties."""

    url: str
    signals: Path

    def fill(self) -> None:
        (self.signals / "fill").touch()

    def empty(self) -> None:
        (self.signals / "fill").unlink()

    def is_blocked(self) -> bool:
        found = httpx.get(f"{self.url}/_all/_settings/index.blocks.*", timeout=10).text
        return "read_only_allow_delete" in found


@pytest.fixture(scope="session")
def namespace(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """The command that gives one of its own; skips where this machine allows none."""
    place = str(tmp_path_factory.mktemp("mount"))
    tried = (*_NAMESPACE, "mount", "-t", "tmpfs", "tmpfs", place)
    if subprocess.run(tried, capture_output=True, check=False).returncode:
        pytest.skip("no small file system: this machine allows no user namespaces")
    return _NAMESPACE


@pytest.fixture
def small_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, namespace: tuple[str, ...]
) -> Iterator[SmallDisk]:
    home = Home(tmp_path / "stack")
    stack = Stack(
        home,
        owner.current(),
        Ports.from_base(free_base()),
        shape=Shape(durable=False, product=False, heap="512m"),
    )
    prepare_home(home, stack.owner)
    stack.credentials.generate()
    elasticsearch_node.prepare(stack)
    _watch_small_disk(home.etc / "elasticsearch/elasticsearch.yml")
    signals = tmp_path / "signals"
    signals.mkdir()
    script = _SCRIPT.format(
        size=SIZE_MB,
        balloon=BALLOON_MB,
        data=home.data / "elasticsearch",
        signals=signals,
        elasticsearch=elasticsearch_node.command(stack)[0],
    )
    process = subprocess.Popen(
        [*namespace, "sh", "-c", script],
        env=elasticsearch_node.environment(stack),
        stdout=(tmp_path / "node.log").open("wb"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    secret = stack.credentials["elasticsearch"]
    url = f"http://ohmwatch:{secret}@127.0.0.1:{stack.ports.elasticsearch}"
    try:
        until(lambda: _is_up(stack), within_s=90, what="the node on its small disk")
        monkeypatch.setitem(settings.ELASTICSEARCH_DSL["default"], "hosts", url)
        the_store.cache_clear()
        call_command("prepare_stores", verbosity=0)
        yield SmallDisk(url, signals)
    finally:
        the_store.cache_clear()
        process.send_signal(signal.SIGTERM)
        shutil.rmtree(signals, ignore_errors=True)
        process.wait(60)


def _watch_small_disk(conf: Path) -> None:
    """Watermarks that fit it, looked at as often as the node allows."""
    lines = [line for line in conf.read_text().splitlines() if ".watermark." not in line]
    name = "cluster.routing.allocation.disk.watermark"
    lines += [f"{name}.{level}: {size}" for level, size in _WATERMARKS.items()]
    lines.append("cluster.info.update.interval: 10s")
    conf.write_text("\n".join(lines) + "\n")


def _is_up(stack: Stack) -> bool:
    try:
        elasticsearch_node.check(stack)
    except httpx.HTTPError:
        return False
    return True


def test_for_a_moment(small_disk: SmallDisk, broker: mqtt.Mosquitto) -> None:
    hold_back(small_disk, broker, before_s=1, full_s=2)


@pytest.mark.fault
@pytest.mark.timeout(600)
def test_for_a_while(small_disk: SmallDisk, broker: mqtt.Mosquitto) -> None:
    hold_back(small_disk, broker, before_s=5, full_s=15)


def hold_back(
    small_disk: SmallDisk, broker: mqtt.Mosquitto, *, before_s: float, full_s: float
) -> None:
    """A full disk holds the worker back, and an emptied one lets it go on."""
    open_session(broker)
    with (
        Worker(broker.worker_port, OHMWATCH_ELASTICSEARCH_URL=small_disk.url) as worker,
        under_load(broker) as load,
    ):
        worker.start()
        time.sleep(before_s)
        small_disk.fill()
        until(small_disk.is_blocked, within_s=60, what="the flood-stage block")
        time.sleep(full_s)
        assert load.unheld() > 0, "nothing goes in meanwhile"
        assert worker.memory_mb() < 250
        small_disk.empty()
        load.stop()
        load.check(memory_mb=worker.memory_mb())
        assert not small_disk.is_blocked(), "let go by itself"
        assert worker.stop() == 0
