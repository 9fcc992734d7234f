"""Another yardstick: Telegraf, which carries the same messages from MQTT to Elasticsearch.

It has to be built, with only the plug-ins it needs (`BUILD`); nothing here needs it but the
comparison.

Its settings are the best that we found; its index is a plain one, because it can't write a
time-series index whose identity is ours, and plain ones take documents faster.
"""

import socket
import subprocess
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import httpx
from django.conf import settings

from benchmarks.ground import QUANTITIES, Broker
from deploy.stack.layout import RUN
from tests import mqtt

BINARY = RUN / "bench" / "telegraf"
BUILD = (
    "GOBIN=$PWD/.run/bench go install"
    " -tags custom,inputs.mqtt_consumer,outputs.elasticsearch,parsers.json"
    " github.com/influxdata/telegraf/cmd/telegraf@v1.36.4"
)
"""Builds it, from the checkout's root."""
INDEX = f"{settings.ELASTICSEARCH_PREFIX}telegraf"
_SLOT = 3
_READY_S = 20.0
_CONF = """\
[agent]
  interval = "1s"
  round_interval = false
  metric_batch_size = 2000
  metric_buffer_limit = 200000
  flush_interval = "200ms"
  omit_hostname = true
  quiet = true
[[inputs.mqtt_consumer]]
  servers = ["tcp://127.0.0.1:{port}"]
  topics = ["$share/telegraf/ow/v1/+/readings"]
  topic_tag = "topic"
  qos = 1
  persistent_session = true
  client_id = "{client}"
  username = "{client}"
  password = "{password}"
  max_undelivered_messages = 20000
  data_format = "json"
  json_time_key = "time"
  json_time_format = "unix_ms"
  tag_keys = ["channel"]
[[outputs.elasticsearch]]
  urls = ["http://127.0.0.1:{store}"]
  username = "{user}"
  password = "{secret}"
  index_name = "{index}"
  manage_template = false
  enable_sniffer = false
  health_check_interval = "0s"
  enable_gzip = false
  timeout = "60s"
"""


class Telegraf:
    """A process between the broker and the store, as long as the `with` lasts."""

    def __init__(self, broker: Broker, folder: Path) -> None:
        self._broker = broker
        self._folder = folder
        self._front = _Front()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Telegraf":
        url = urlsplit(str(settings.ENVIRONMENT.elasticsearch_url))
        conf = self._folder / "telegraf.conf"
        conf.touch(mode=0o600)
        text = _CONF.format(
            port=self._broker.worker_port,
            client=mqtt.SLOTS[_SLOT],
            password=mqtt.SLOT_PASSWORD,
            store=self._front.port,
            user=url.username,
            secret=url.password,
            index=INDEX,
        )
        conf.write_text(text)
        self._process = subprocess.Popen(
            [str(BINARY), "--config", str(conf)],
            stdout=(self._folder / "telegraf.log").open("ab"),
            stderr=subprocess.STDOUT,
        )
        time.sleep(3)  # it says nothing when it has subscribed; messages before that would be lost
        assert self._process.poll() is None, (self._folder / "telegraf.log").read_text()[-2000:]
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(_READY_S)
        self._front.stop()


def make_index() -> None:
    """One shard, a refresh a second, the quantities in columns alone, as ours are."""
    number = {"type": "double", "index": False}
    fields = {"properties": dict.fromkeys(QUANTITIES, number)}
    keyword = {"type": "keyword"}
    mappings = {
        "properties": {
            "@timestamp": {"type": "date"},
            "measurement_name": keyword,
            "tag": {"properties": {"topic": keyword, "channel": keyword}},
            "mqtt_consumer": fields,
        }
    }
    index = {"number_of_shards": 1, "number_of_replicas": 0, "refresh_interval": "1s"}
    with _client() as client:
        client.delete(f"/{INDEX}")
        made = client.put(f"/{INDEX}", json={"settings": {"index": index}, "mappings": mappings})
        made.raise_for_status()


def indexed() -> int:
    """Documents written so far, whether they can be seen yet or not."""
    path = f"/{INDEX}/_stats/indexing?filter_path=_all.primaries.indexing.index_total"
    said = _standing_client().get(path).raise_for_status().json()
    return int(said["_all"]["primaries"]["indexing"]["index_total"])


def drop_index() -> None:
    """Leave nothing behind."""
    with _client() as client:
        client.delete(f"/{INDEX}")


def _client() -> httpx.Client:
    url = str(settings.ENVIRONMENT.elasticsearch_url)
    return httpx.Client(base_url=url, timeout=30, trust_env=False)


@cache
def _standing_client() -> httpx.Client:
    """For what is asked all the time: a client of its own each time would be measured, too."""
    return _client()


class _Front:
    """Answers `GET /`, which the default node can't, and is a pipe for all else: bytes pass through
    unread, because Telegraf must not pay for what stands between it and the store."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _address = self._server.accept()
            except OSError:
                return
            Thread(target=_serve, args=(client,), daemon=True).start()


_ROOT = b'{"version":{"number":"8.19.0"},"tagline":"You Know, for Search"}'
_ROOT_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-elastic-product: Elasticsearch\r\n"
    b"connection: close\r\ncontent-length: %d\r\n\r\n"
)
_PIPE_BYTES = 1 << 20


def _serve(client: socket.socket) -> None:
    """One connection, to its end: the question about the root, or a pipe to the store."""
    with client:
        first = client.recv(_PIPE_BYTES)
        method, _space, rest = first.partition(b" ")
        if method in (b"GET", b"HEAD") and rest.startswith(b"/ "):
            body = _ROOT if method == b"GET" else b""
            client.sendall(_ROOT_HEAD % len(body) + body)
        elif first:
            url = urlsplit(str(settings.ENVIRONMENT.elasticsearch_url))
            with socket.create_connection((url.hostname or "127.0.0.1", url.port or 80)) as store:
                store.sendall(first)
                back = Thread(target=_pipe, args=(store, client), daemon=True)
                back.start()
                _pipe(client, store)
                back.join()


def _pipe(source: socket.socket, sink: socket.socket) -> None:
    """Bytes from one to the other, until either ends."""
    buffer = memoryview(bytearray(_PIPE_BYTES))
    with suppress(OSError):
        while count := source.recv_into(buffer):
            sink.sendall(buffer[:count])
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
