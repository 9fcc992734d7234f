"""Where a stack keeps its things.

Tools (the Python environment, Elasticsearch's distribution) are shared by every stack of a
checkout and lie in .run/. All else belongs to one stack and lies in its home: .run/ for the demo,
.run/test/... for tests.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
RUN = CHECKOUT / ".run"
VENV = RUN / "venv"
ELASTICSEARCH_VERSION = "8.19.21"
ELASTICSEARCH_HOME = RUN / f"elasticsearch-{ELASTICSEARCH_VERSION}"
# Detectors as machine code: depends on the sources alone, so that every stack may use it.
COMPILED = RUN / "compiled"
# A Unix socket's path can't be longer (sun_path is 108 bytes with its end).
SOCKET_PATH_LIMIT = 107


@dataclass(frozen=True)
class Home:
    """The folders of one stack."""

    path: Path

    @property
    def data(self) -> Path:
        return self.path / "data"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def etc(self) -> Path:
        return self.path / "etc"

    @property
    def secrets(self) -> Path:
        return self.path / "secrets"

    @property
    def static(self) -> Path:
        return self.path / "static"

    @property
    def socket(self) -> Path:
        return self.path / "sockets" / "supervisor.sock"

    @property
    def choices(self) -> Path:
        return self.path / "choices.json"

    def log_of(self, service: str) -> Path:
        return self.logs / f"{service}.log"

    def of_services(self) -> list[Path]:
        """The folders that the services' user owns; the rest belongs to who runs the command."""
        return [self.data, self.logs, self.etc, self.static, self.socket.parent]


@dataclass(frozen=True)
class Choices:
    """What a person chose on the command line, remembered from one `up` to the next."""

    port_base: int = 8000
    host: str = "127.0.0.1"
    slots: int = 2

    @classmethod
    def remembered(cls, home: Home) -> "Choices":
        if not home.choices.exists():
            return cls()
        return cls(**json.loads(home.choices.read_text()))

    def remember(self, home: Home) -> None:
        home.path.mkdir(mode=0o755, parents=True, exist_ok=True)
        write_private(home.choices, json.dumps(asdict(self)), mode=0o644)


def write_private(path: Path, text: str, *, mode: int = 0o600) -> None:
    """Writes a file that was never readable by others, and is never seen half written."""
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    beside.chmod(mode)
    beside.replace(path)
