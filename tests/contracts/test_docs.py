"""What the documents name is there: files, settings, metrics, dependencies."""

import re
from pathlib import Path

import pytest

from config.environment import Environment

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
_ROOMS = "apps|benchmarks|config|deploy|docs|frontend|locale|src|static|templates|tests|workers"
_PATH = re.compile(rf"`((?:{_ROOMS})/[\w./*-]+)`")
_MADE = {"benchmarks/results/"}
"""By the commands that the documents name; a fresh checkout has none of it."""
_LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#]+)")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_paths_that_are_named_are_there(document: Path) -> None:
    text = document.read_text()
    named = set(_PATH.findall(text)) - _MADE
    missing = [name for name in named if not list(ROOT.glob(name.rstrip("/")))]
    missing += [name for name in _LINK.findall(text) if not (document.parent / name).exists()]
    assert not missing


def test_every_setting_has_its_line() -> None:
    text = (ROOT / "docs/configuration.md").read_text()
    missing = [name.upper() for name in Environment.model_fields if f"`{name.upper()}`" not in text]
    assert not missing


def test_every_direct_dependency_says_why() -> None:
    text = (ROOT / "docs/dependencies.md").read_text().lower()
    named = re.compile(r"^([A-Za-z0-9-]+)", re.MULTILINE)
    missing = [
        name
        for lock in (ROOT / "requirements").glob("*.in")
        for name in named.findall(lock.read_text())
        if name.lower() not in text
        and not any(f"{name.lower()}".startswith(kind) for kind in ("types-", "pytest-"))
    ]
    assert not missing
