"""What is committed under static/built/ belongs to its sources: seen without Node."""

import hashlib
import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILT, FRONTEND = ROOT / "static" / "built", ROOT / "frontend"
MANIFEST = json.loads((BUILT / "manifest.json").read_text())
MEND = "run `npm ci && npm run build` in frontend/ and commit static/built/"


def _hashes(folder: Path, names: list[str]) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}


def test_the_build_is_of_these_sources() -> None:
    sources = [
        str(path.relative_to(FRONTEND))
        for path in [*(FRONTEND / "src").rglob("*"), FRONTEND / "build.mjs"]
        if path.is_file()
    ]
    assert _hashes(FRONTEND, [*sources, "package-lock.json"]) == MANIFEST["sources"], MEND


def test_nobody_changed_what_was_built() -> None:
    files = [
        str(path.relative_to(BUILT))
        for path in BUILT.rglob("*")
        if path.is_file() and path.name != "manifest.json"
    ]
    assert _hashes(BUILT, files) == MANIFEST["built"], MEND


def test_assets_name_no_other_host_to_load_from() -> None:
    for sheet in BUILT.glob("*.css"):
        assert "url(http" not in sheet.read_text()
        assert "url(//" not in sheet.read_text()


def test_the_lock_names_no_registry() -> None:
    assert '"resolved"' not in (FRONTEND / "package-lock.json").read_text()


def test_every_vendored_package_has_its_licence() -> None:
    told = (BUILT / "THIRD-PARTY.txt").read_text()
    packages = json.loads((FRONTEND / "package.json").read_text())["devDependencies"]
    for name in packages.keys() - {"esbuild"}:
        assert f"{name} {packages[name]}" in told
