"""Forms as sheets: fields in groups with units, and operations whose refusals land on them."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, Union

from django import forms
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.forms import BoundField

Result = TypeVar("Result")
if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

Title = Union[str, "_StrPromise"]


class Sheet(forms.Form):
    """`groups`: titles with the names of their fields; the template draws a card for each."""

    groups: ClassVar[Sequence[tuple[Title, Sequence[str]]]] = ()

    @property
    def grouped(self) -> Iterator[tuple[Title, list[BoundField]]]:
        for title, names in self.groups:
            yield title, [self[name] for name in names if name in self.fields]

    def carry_out(self, operation: Callable[..., Result], **arguments: Any) -> Result | None:
        """The operation's result; None where it refused, with its reasons at their fields."""
        try:
            return operation(**arguments)
        except ValidationError as refusal:
            self._note(refusal)
            return None

    def _note(self, refusal: ValidationError) -> None:
        by_field = refusal.error_dict if hasattr(refusal, "error_dict") else {}
        for name, errors in by_field.items():
            known = name in self.fields and name != NON_FIELD_ERRORS
            self.add_error(name if known else None, errors)
        if not by_field:
            self.add_error(None, refusal)


def with_unit(field: forms.Field, unit: str) -> forms.Field:
    """The field with its unit drawn behind the box."""
    field.unit = unit  # type: ignore[attr-defined]
    return field


def number(
    label: Title, unit: str, *, required: bool = False, help_text: Title = ""
) -> forms.Field:
    """A number with a unit."""
    field = forms.FloatField(label=label, required=required, help_text=help_text)
    field.widget.attrs["step"] = "any"
    return with_unit(field, unit)
