"""A backup's snapshot is of what was counted, though web goes on. Nothing is started."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from deploy.stack import backup
from deploy.stack.errors import StackError
from deploy.stack.stack import Stack


class Store:
    """Says how many documents it has, one answer a question, and keeps what is snapshotted."""

    def __init__(self, patch: pytest.MonkeyPatch, place: Path, counts: list[int]) -> None:
        self.counts = iter(counts)
        self.deleted = 0
        self.place = place
        patch.setattr(backup, "count_documents", lambda _stack: {"events": next(self.counts)})
        patch.setattr(backup, "_take_snapshot", self._take)
        patch.setattr(backup.elasticsearch_node, "repository", self._repository)

    @contextmanager
    def _repository(self, _stack: Stack, _name: str) -> Iterator[tuple["Store", Path]]:
        yield self, self.place

    def _take(self, _client: object, _address: str) -> None:
        assert not (self.place / "all").exists(), "names of snapshots are unique"
        (self.place / "all").write_text("")

    def delete(self, _address: str) -> SimpleNamespace:
        (self.place / "all").unlink()
        self.deleted += 1
        return SimpleNamespace(raise_for_status=lambda: None)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


def test_what_is_written_meanwhile_has_it_taken_again(
    stack: Stack, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(monkeypatch, place, [1, 2, 2, 3, 3, 3])
    assert backup._snapshot(stack, tmp_path, "b") == {"events": 3}
    assert store.deleted == 2
    assert (tmp_path / "elasticsearch.tar").exists()


def test_who_never_rests_is_told(
    stack: Stack, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Store(monkeypatch, place, list(range(2 * backup.SNAPSHOTS_LIMIT)))
    with pytest.raises(StackError, match="take the backup again"):
        backup._snapshot(stack, tmp_path, "b")
    assert not (tmp_path / "elasticsearch.tar").exists()
