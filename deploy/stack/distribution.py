"""Elasticsearch's distribution: fetched by its Maven coordinates, held to a checksum of ours."""

import hashlib
import shutil
import subprocess
import zipfile
from pathlib import Path

from deploy.stack.errors import StackError
from deploy.stack.layout import ELASTICSEARCH_HOME, ELASTICSEARCH_VERSION, RUN

COORDINATES = (
    "org.elasticsearch.distribution.integ-test-zip:elasticsearch:" + ELASTICSEARCH_VERSION + ":zip"
)
SHA256 = "215d5f3dbf0609a149f6218a9e47b6ae2df34ebbff3c5754e35f15a5e5393c8a"
_DOWNLOADS = RUN / "downloads"


def is_here() -> bool:
    return (ELASTICSEARCH_HOME / "bin" / "elasticsearch").exists()


def is_downloaded() -> bool:
    """A zip that somebody laid there saves the download; its checksum decides."""
    return _archive().exists()


def install() -> None:
    """Fetches, checks, unpacks; what is under ELASTICSEARCH_HOME is whole or not there."""
    if not is_downloaded():
        _fetch()
    check(_archive(), SHA256)
    unpacking = RUN / "elasticsearch-unpacking"
    shutil.rmtree(unpacking, ignore_errors=True)
    unpack(_archive(), unpacking)
    (unpacking / ELASTICSEARCH_HOME.name).rename(ELASTICSEARCH_HOME)
    unpacking.rmdir()


def check(archive: Path, sha256: str) -> None:
    """Raises, and removes the file, where it isn't the one that the project was tested with."""
    with archive.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        archive.unlink()
        raise StackError(
            f"{archive.name} has the SHA-256 {found}, and the project holds {sha256}: removed."
        )


def unpack(archive: Path, target: Path) -> None:
    """As unzip does: zipfile alone would lose the executable bits."""
    with zipfile.ZipFile(archive) as bundle:
        for member in bundle.infolist():
            path = Path(bundle.extract(member, target))
            mode = member.external_attr >> 16
            if path.is_dir() or mode & 0o111:
                path.chmod(0o755)
            else:
                path.chmod(0o644)


def _fetch() -> None:
    """Maven's own cache goes below .run too and is dropped afterwards."""
    cache = _DOWNLOADS / "maven"
    command = ["mvn", "--batch-mode", "--quiet", f"-Dmaven.repo.local={cache}", "dependency:copy"]
    command += [f"-Dartifact={COORDINATES}", f"-DoutputDirectory={_DOWNLOADS}"]
    _DOWNLOADS.mkdir(exist_ok=True)
    result = subprocess.run(command, cwd=_DOWNLOADS, capture_output=True, text=True)
    shutil.rmtree(cache, ignore_errors=True)
    if result.returncode:
        raise StackError(f"Maven couldn't fetch {COORDINATES}:\n{result.stdout[-2000:]}")


def _archive() -> Path:
    return _DOWNLOADS / f"elasticsearch-{ELASTICSEARCH_VERSION}.zip"
