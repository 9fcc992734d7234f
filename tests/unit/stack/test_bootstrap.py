"""The way from a bare Debian: packages, the checked download, the words of the first contact."""

import hashlib
import os
import subprocess
import zipfile
from pathlib import Path

import pytest

from deploy.stack import distribution, packages
from deploy.stack.errors import StackError
from deploy.stack.farewell import farewell
from deploy.stack.stack import Stack

ROOT = Path(__file__).resolve().parents[3]


def test_each_package_says_why() -> None:
    wanted = packages.needed(test=True, elasticsearch_here=False, as_root=True)
    assert {"postgresql-15", "maven", "acl", "chromium", "gettext"} <= set(wanted)
    assert all(wanted.values())


def test_what_is_there_is_not_asked_for() -> None:
    wanted = packages.needed(test=False, elasticsearch_here=True, as_root=False)
    assert not {"maven", "acl", "chromium"} & set(wanted)
    assert packages.missing({"dpkg": "Debian itself", "no-such-package": "a test"}) == {
        "no-such-package": "a test"
    }


def test_without_rights_the_exact_command_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr("deploy.stack.packages.shutil.which", lambda name: None)
    with pytest.raises(StackError) as stopped:
        packages.install({"mosquitto": "the broker"})
    assert f"sh {packages.INSTALLER} mosquitto" in stopped.value.message


def test_the_shell_parts_are_well_formed() -> None:
    for script in ("ohmwatch", "deploy/stack/install-packages.sh"):
        checked = subprocess.run(["sh", "-n", str(ROOT / script)], capture_output=True, text=True)
        assert checked.returncode == 0, checked.stderr


def test_a_foreign_download_is_removed(tmp_path: Path) -> None:
    archive = tmp_path / "elasticsearch.zip"
    archive.write_bytes(b"something else")
    with pytest.raises(StackError, match="SHA-256"):
        distribution.check(archive, distribution.SHA256)
    assert not archive.exists()


def test_the_right_download_passes_and_keeps_its_executables(tmp_path: Path) -> None:
    archive = tmp_path / "node.zip"
    with zipfile.ZipFile(archive, "w") as bundle:
        tool = zipfile.ZipInfo("node/bin/run")
        tool.external_attr = 0o755 << 16
        bundle.writestr(tool, "#!/bin/sh\n")
        bundle.writestr("node/config/node.yml", "a: 1\n")
    distribution.check(archive, hashlib.sha256(archive.read_bytes()).hexdigest())
    distribution.unpack(archive, tmp_path / "out")
    assert os.access(tmp_path / "out" / "node" / "bin" / "run", os.X_OK)
    assert (tmp_path / "out" / "node" / "config" / "node.yml").stat().st_mode & 0o111 == 0


def test_the_farewell_fits_a_terminal(stack: Stack) -> None:
    text = farewell(stack, seconds=61.0)
    assert len(text.splitlines()) <= 25
    assert "http://kunlun.localhost:8000/" in text
    assert stack.credentials["demo_password"] in text


def test_the_launcher_needs_nothing_but_debians_python() -> None:
    """-S -I: no site packages, no environment; --help must still come."""
    command = ["/usr/bin/python3", "-I", "-B", "-c", _IMPORT, str(ROOT)]
    run = subprocess.run(command, capture_output=True, text=True, cwd="/")
    assert run.returncode == 0, run.stderr


_IMPORT = """
import sys
sys.path.insert(0, sys.argv[1])
before = set(sys.modules)
import deploy.stack.launch, deploy.stack.doctor
new = {name.split(".")[0] for name in set(sys.modules) - before} - {"deploy"}
foreign = {name for name in new if name not in sys.stdlib_module_names}
sys.exit(f"not of the standard library: {foreign}" if foreign else 0)
"""
