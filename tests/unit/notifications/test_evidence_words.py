"""Every figure that a detector of ours gives as evidence has a word that people can read."""

import ast
import re
from pathlib import Path

from config.words import EVIDENCE_WORDS

CORE = Path(__file__).resolve().parents[3] / "src" / "ohmwatch"
GIVERS = re.compile(r"evidence|_left|_trust")
PLACES = ("pos", "neg", "air")


def keys_of(source: str) -> set[str]:
    """The keys of each dictionary that is given as evidence, or made by a function that says so."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        given = isinstance(node, ast.keyword) and node.arg == "evidence"
        made = isinstance(node, ast.FunctionDef) and GIVERS.search(node.name)
        if given or made:
            for inside in ast.walk(node):
                if isinstance(inside, ast.Dict):
                    found |= {name for key in inside.keys for name in names_of(key)}
                if isinstance(inside, ast.DictComp):
                    found |= set(names_of(inside.key))
    return found


def names_of(key: ast.expr | None) -> list[str]:
    if isinstance(key, ast.Constant):
        return [str(key.value)]
    if isinstance(key, ast.JoinedStr):
        fixed = [part.value if isinstance(part, ast.Constant) else None for part in key.values]
        return ["".join(place if part is None else str(part) for part in fixed) for place in PLACES]
    return []


def test_every_figure_has_a_word() -> None:
    sources = [*(CORE / "detectors").glob("*.py"), *(CORE / "physics").glob("*.py")]
    given = {name for each in sources for name in keys_of(each.read_text())}
    assert {"rise_k", "heating_k", "time_left_from_s", "noise_pos_k"} <= given
    assert given - EVIDENCE_WORDS.keys() == set()
