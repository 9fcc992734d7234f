"""Whatever a person can read is there in simplified Chinese, and nothing is left over."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CATALOGUE = Path("locale/zh_Hans/LC_MESSAGES/django.po")
SOURCES = ("apps", "config", "src", "workers", "templates", "locale", "manage.py")
EXTRACT = ("makemessages", "-l", "zh_Hans", "--no-location", "--no-wrap", "--no-obsolete")
MEND = "run `./manage.py makemessages -l zh_Hans --no-location --no-wrap` and translate"


def _messages(catalogue: Path, *which: str) -> str:
    """The messages of a catalogue in the order of their texts, without its header."""
    command = ["msgattrib", "--no-wrap", "--sort-output", *which, str(catalogue)]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return "\n".join(line for line in found.splitlines() if line.startswith("msg"))


@pytest.fixture
def extracted(tmp_path: Path) -> Path:
    """The catalogue as extracting anew leaves it, from a copy of the sources."""
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tmp_path / name)
    subprocess.run([sys.executable, "manage.py", *EXTRACT], cwd=tmp_path, check=True)
    return tmp_path / CATALOGUE


@pytest.mark.parametrize("lack", ["--untranslated", "--only-fuzzy"])
def test_nothing_is_empty_or_fuzzy(lack: str) -> None:
    assert "msgid" not in _messages(ROOT / CATALOGUE, lack, "--no-obsolete"), MEND


def test_the_catalogue_holds_what_the_sources_say(extracted: Path) -> None:
    ours = _messages(ROOT / CATALOGUE, "--no-obsolete")
    assert _messages(extracted) == ours, MEND


def test_it_compiles() -> None:
    """Placeholders of a translation are those of its text."""
    check = ["msgfmt", "--check-format", "--output-file", "/dev/null", str(ROOT / CATALOGUE)]
    result = subprocess.run(check, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
