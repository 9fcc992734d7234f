"""Rules as a file, YAML or JSON: written for review, read with every fault at its line.

The file names things as people do: connector models by code, organisations by name, vehicles by
VIN, connectors by serial number. A rule is the one of its name; rules that a file does not name
are left as they are.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import yaml
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from apps.accounts.models import User
from apps.warning import naming, operations, queries
from apps.warning.models import Change, Mode, Rule
from apps.warning.operations import Content

FORMAT = "ohmwatch-rules/1"
LARGEST_BYTES = 256 * 1024
MOST_RULES = 500
DEEPEST = 8
_FIELDS = ("name", "detector", "mode", "share_pct", "selection", "parameters", "severities")


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault of a file: the line (from 1), the field as a path, and what is wrong."""

    line: int
    where: str
    what: str

    def __str__(self) -> str:
        place = _("Line %(line)d") % {"line": self.line}
        return f"{place}, {self.where}: {self.what}" if self.where else f"{place}: {self.what}"


class FileRefused(Exception):
    """The file can't be applied as a whole, so nothing of it is."""

    code = "rule_file_refused"

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = problems


@dataclass(frozen=True)
class Entry:
    """One rule of a file."""

    detector: str
    content: Content
    line: int


@dataclass(frozen=True)
class Difference:
    """What applying a file does to one rule. `before` is empty for a new one."""

    name: str
    detector: str
    rule: Rule | None
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    entry: Entry

    @property
    def is_change(self) -> bool:
        """False where the rule says the same already."""
        return self.before != self.after


# --- writing --------------------------------------------------------------------------------------


def as_document(*, user: User) -> dict[str, Any]:
    """The tenant's rules as plain values, in the order of their names."""
    rows = queries.rules(for_user=user).order_by("name")
    return {"format": FORMAT, "rules": [_as_written(row) for row in rows]}


def as_yaml(*, user: User) -> str:
    """The tenant's rules as YAML, fields in their usual order."""
    document = as_document(user=user)
    return str(yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100))


def _as_written(rule: Rule) -> dict[str, Any]:
    return {
        "name": rule.name,
        "detector": rule.detector,
        "mode": str(rule.mode),
        "share_pct": rule.share_pct,
        "selection": naming.spoken(rule.selection),
        "parameters": dict(rule.parameters),
        "severities": dict(rule.severities),
    }


# --- reading --------------------------------------------------------------------------------------


def read(text: str) -> list[Entry]:
    """The rules of a file, all of them checked. Raises FileRefused with every fault there is."""
    root = _parse(text)
    problems: list[Problem] = []
    entries = list(_entries(root, problems))
    names: dict[str, int] = {}
    for entry in entries:
        first = names.setdefault(entry.content.name, entry.line)
        if first != entry.line:
            said = _("There is another rule of this name at line %(line)d.") % {"line": first}
            problems.append(Problem(entry.line, "name", said))
    if problems:
        raise FileRefused(sorted(problems, key=lambda each: each.line))
    return entries


def compare(entries: list[Entry], *, user: User) -> list[Difference]:
    """What each rule of a file would change, in the file's order."""
    known = {row.name: row for row in queries.rules(for_user=user)}
    return [_difference(entry, known.get(entry.content.name)) for entry in entries]


def _difference(entry: Entry, rule: Rule | None) -> Difference:
    before = {"detector": rule.detector, **asdict(Content.of(rule))} if rule else {}
    after = {"detector": entry.detector, **asdict(entry.content)}
    return Difference(entry.content.name, entry.detector, rule, before, after, entry)


def apply(text: str, *, user: User, seen: str, now: datetime) -> list[Rule]:
    """Applies a file as one change: all of its rules or none. Returns the changed ones.

    `seen` is `fingerprint` of the rules that were looked at. Raises PermissionDenied, FileRefused,
    and ValidationError where the rules are not those any more.
    """
    entries = read(text)
    with transaction.atomic():
        list(Rule.objects.select_for_update().filter(removed_at__isnull=True))
        if seen != fingerprint(user=user):
            raise ValidationError(
                _("The rules have changed since you looked. Compare the file with them again.")
            )
        changes = [each for each in compare(entries, user=user) if each.is_change]
        return [_carry_out(each, user=user, now=now) for each in changes]


def fingerprint(*, user: User) -> str:
    """Which rules there are, at which versions."""
    rows = queries.rules(for_user=user).order_by("pk").values_list("pk", "version")
    return ",".join(f"{pk}:{version}" for pk, version in rows)


def _carry_out(change: Difference, *, user: User, now: datetime) -> Rule:
    said, entry = change.entry.content, change.entry
    if change.rule is None:
        return operations.make_rule(
            user=user, detector=entry.detector, content=said, now=now, change=Change.IMPORTED
        )
    if change.rule.detector != entry.detector:
        what = _("A rule keeps its detector. Give the new one another name.")
        raise FileRefused([Problem(entry.line, "detector", what)])
    return operations.change_rule(
        user=user, rule=change.rule, content=said, now=now, change=Change.IMPORTED
    )


def _parse(text: str) -> yaml.Node:
    if len(text.encode()) > LARGEST_BYTES:
        raise FileRefused([Problem(1, "", _("The file is larger than 256 KiB."))])
    try:
        _refuse_hostile(text)
        root = yaml.compose(text, yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or _("This is neither YAML nor JSON.")
        raise FileRefused([Problem(mark.line + 1 if mark else 1, "", str(what))]) from error
    if root is None:
        raise FileRefused([Problem(1, "", _("The file is empty."))])
    return root


def _refuse_hostile(text: str) -> None:
    """Raises FileRefused for what costs more than it is long: aliases, and depth.

    A few lines of aliases can stand for more values than a machine can hold, and the parser's
    time grows with the square of the depth. Events come as they are read, so it ends early.
    """
    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.AliasEvent):
            raise FileRefused([Problem(line, "", _("Aliases are not read; write it out."))])
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise FileRefused([Problem(line, "", _("The file is nested too deeply."))])


@dataclass
class _Reader:
    """Plain values of a node, with the line of each field and every fault."""

    problems: list[Problem]
    lines: dict[str, int] = field(default_factory=dict)

    def mapping(self, node: yaml.Node, where: str) -> dict[str, yaml.Node]:
        if not isinstance(node, yaml.MappingNode):
            self.fault(node, where, _("Here must be fields with their values."))
            return {}
        found: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name = str(key.value) if isinstance(key, yaml.ScalarNode) else ""
            if not name or name in found:
                self.fault(key, where, _("This field is here twice, or has no name."))
            found[name] = value
            self.lines[f"{where}.{name}".lstrip(".")] = key.start_mark.line + 1
        return found

    def plain(self, node: yaml.Node, where: str) -> Any:
        """A scalar as Python has it; text that YAML takes for a date stays text."""
        if not isinstance(node, yaml.ScalarNode):
            self.fault(node, where, _("Here must be one value."))
            return None
        if node.tag.endswith((":timestamp", ":str")):
            return node.value
        try:
            return yaml.SafeLoader("").construct_object(node)
        except (yaml.YAMLError, ValueError):
            self.fault(node, where, _("This value can't be read."))
            return None

    def texts(self, node: yaml.Node, where: str) -> list[str]:
        if not isinstance(node, yaml.SequenceNode):
            self.fault(node, where, _("Here must be a list."))
            return []
        return [str(each.value) for each in node.value if isinstance(each, yaml.ScalarNode)]

    def fault(self, node: yaml.Node, where: str, what: str) -> None:
        self.problems.append(Problem(node.start_mark.line + 1, where, what))


def _entries(root: yaml.Node, problems: list[Problem]) -> Iterator[Entry]:
    reader = _Reader(problems)
    top = reader.mapping(root, "")
    if "format" not in top or reader.plain(top["format"], "format") != FORMAT:
        reader.fault(top.get("format", root), "format", _("It must read %(it)s.") % {"it": FORMAT})
    listed = top.get("rules")
    if not isinstance(listed, yaml.SequenceNode) or len(listed.value) > MOST_RULES:
        most = {"most": MOST_RULES}
        reader.fault(
            listed or root, "rules", _("Here must be a list of up to %(most)d rules.") % most
        )
        return
    for node in listed.value:
        entry = _entry(node, _Reader(problems))
        if entry is not None:
            yield entry


def _entry(node: yaml.Node, reader: _Reader) -> Entry | None:
    before = len(reader.problems)
    fields = reader.mapping(node, "")
    for name in fields:
        if name not in _FIELDS:
            words = {"words": ", ".join(_FIELDS)}
            reader.fault(fields[name], name, _("Not a field of a rule: %(words)s.") % words)
    values = _values(fields, reader)
    line = node.start_mark.line + 1
    if len(reader.problems) > before:
        return None
    detector, content = str(values.pop("detector", "")), Content(**values)
    try:
        operations.check(detector, content)
        keyed = naming.keyed(content.selection)
    except ValidationError as refusal:
        for place, what in _faults(refusal):
            reader.problems.append(Problem(reader.lines.get(place, line), place, what))
        return None
    return Entry(detector, Content(**{**values, "selection": keyed}), line)


def _values(fields: Mapping[str, yaml.Node], reader: _Reader) -> dict[str, Any]:
    values: dict[str, Any] = {"name": ""}
    for name in ("name", "detector", "mode"):
        if name in fields:
            # YAML takes a bare `off` for false.
            said = reader.plain(fields[name], name)
            values[name] = Mode.OFF.value if name == "mode" and said is False else str(said or "")
    if "share_pct" in fields:
        share = reader.plain(fields["share_pct"], "share_pct")
        if isinstance(share, bool) or not isinstance(share, (int, float)):
            reader.fault(fields["share_pct"], "share_pct", _("Here must be a number."))
        else:
            values["share_pct"] = float(share)
    if "selection" in fields:
        chosen = reader.mapping(fields["selection"], "selection")
        values["selection"] = {
            name: reader.texts(each, f"selection.{name}") for name, each in chosen.items()
        }
    for name in ("parameters", "severities"):
        if name in fields:
            inner = reader.mapping(fields[name], name)
            values[name] = {key: reader.plain(each, f"{name}.{key}") for key, each in inner.items()}
    return values


def _faults(refusal: ValidationError) -> Iterator[tuple[str, str]]:
    """(path of the field, what is wrong) as the file names its fields."""
    for name, errors in refusal.message_dict.items():
        if name.startswith(operations.PARAMETER):
            place = f"parameters.{name.removeprefix(operations.PARAMETER)}"
        elif name in queries.LOOKUPS:
            place = f"selection.{name}"
        else:
            place = name
        for error in errors:
            yield place, error
