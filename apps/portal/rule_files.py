"""Rules as a file: taken out for review, and taken in after one has seen what it would change."""

from dataclasses import dataclass
from typing import Any

import orjson
from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from apps.accounts.permissions import Permission
from apps.portal.people import StaffRequest, for_staff
from apps.portal.rule_words import Line, differences
from apps.warning import files
from apps.warning.operations import Content

EXAMPLE = """format: ohmwatch-rules/1
rules:
- name: Inlets of batch 2026-03 earlier
  detector: overtemperature
  mode: shadow
  share_pct: 100
  selection:
    batch: ['2026-03']
    position: [charging_inlet]
  parameters:
    margin_k: 20
"""


class FileForm(forms.Form):
    """A file that is chosen, or text that is pasted."""

    file = forms.FileField(label=_("File, YAML or JSON"), required=False)
    text = forms.CharField(
        label=_("Or paste it here"),
        required=False,
        strip=False,
        max_length=files.LARGEST_BYTES,
        widget=forms.Textarea(attrs={"rows": 12, "class": "mono", "spellcheck": "false"}),
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        chosen = cleaned.get("file")
        if chosen is None:
            if not cleaned.get("text", "").strip():
                raise forms.ValidationError(_("Choose a file, or paste its text."))
            return cleaned
        if chosen.size > files.LARGEST_BYTES:
            raise forms.ValidationError(_("The file is larger than 256 KiB."))
        try:
            cleaned["text"] = chosen.read().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise forms.ValidationError(_("The file is not text in UTF-8.")) from error
        return cleaned


@dataclass(frozen=True)
class Shown:
    """What a file does to one rule, in words."""

    difference: files.Difference
    lines: list[Line]

    @classmethod
    def of(cls, difference: files.Difference) -> "Shown":
        before = Content.of(difference.rule) if difference.rule else Content(name="")
        return cls(difference, differences(before, difference.entry.content))


@for_staff()
def rule_export(request: StaffRequest) -> HttpResponse:
    """All rules as a file; `?format=json` for JSON."""
    if request.GET.get("format") == "json":
        document = files.as_document(user=request.user)
        body: bytes | str = orjson.dumps(document, option=orjson.OPT_INDENT_2)
        kind, name = "application/json", "rules.json"
    else:
        body, kind, name = files.as_yaml(user=request.user), "application/yaml", "rules.yaml"
    answer = HttpResponse(body, content_type=f"{kind}; charset=utf-8")
    answer.headers["Content-Disposition"] = f'attachment; filename="{request.tenant.slug}-{name}"'
    return answer


@for_staff(Permission.EDIT_RULES)
def rule_import(request: StaffRequest) -> HttpResponse:
    """Shows what a file would change; with `apply`, changes it."""
    if request.method != "POST":
        return _form(request, FileForm())
    form = FileForm(request.POST, request.FILES)
    if not form.is_valid():
        return _form(request, form)
    text = form.cleaned_data["text"]
    try:
        if "apply" in request.POST:
            return _apply(request, text)
        entries = files.read(text)
    except files.FileRefused as refusal:
        return _form(request, form, text=text, problems=refusal.problems)
    return _compared(request, text, files.compare(entries, user=request.user))


def _form(request: StaffRequest, form: FileForm, **more: Any) -> HttpResponse:
    if "text" in more and not form.data.get("text"):
        form = FileForm(initial={"text": more["text"]})
    context = {"form": form, "example": EXAMPLE, **more}
    return render(request, "portal/rule_import.html", context)


def _compared(
    request: StaffRequest, text: str, found: list[files.Difference], *, error: str = ""
) -> HttpResponse:
    context = {
        "text": text,
        "changes": [Shown.of(each) for each in found if each.is_change],
        "same": [each.name for each in found if not each.is_change],
        "seen": files.fingerprint(user=request.user),
        "error": error,
    }
    return render(request, "portal/rule_compare.html", context)


def _apply(request: StaffRequest, text: str) -> HttpResponse:
    seen = request.POST.get("seen", "")
    try:
        changed = files.apply(text, user=request.user, seen=seen, now=timezone.now())
    except ValidationError as refusal:
        found = files.compare(files.read(text), user=request.user)
        return _compared(request, text, found, error=" ".join(refusal.messages))
    number = len(changed)
    said = ngettext("%(n)d rule is changed.", "%(n)d rules are changed.", number) % {"n": number}
    messages.success(request, f"{said} {gettext('Detection judges by it within seconds.')}")
    return redirect("portal:rules")
