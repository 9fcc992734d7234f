"""Pages by cursor: stable while rows are added, and never more than 500 at once."""

from typing import Any

from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request

PAGE_SIZE = 100
LARGEST_PAGE = 500


class CursorPages(CursorPagination):
    """Newest first unless the view says otherwise; ids of version 7 are in order of time."""

    page_size = PAGE_SIZE
    page_size_query_param = "page_size"
    max_page_size = LARGEST_PAGE
    ordering = "-id"
    page_size_query_description = f"Rows of a page, 1 to {LARGEST_PAGE}."

    def get_page_size(self, request: Request) -> int:
        return page_size(request)

    def decode_cursor(self, request: Request) -> Cursor | None:
        try:
            return super().decode_cursor(request)
        except NotFound:
            raise ValidationError({"cursor": "This is no cursor of ours."}) from None

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        parameters = super().get_schema_operation_parameters(view)
        for parameter in parameters:
            if parameter["name"] == self.page_size_query_param:
                parameter["schema"] = {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": LARGEST_PAGE,
                    "default": PAGE_SIZE,
                }
        return parameters

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        link = {"type": ["string", "null"], "format": "uri"}
        return {
            "type": "object",
            "required": ["next", "previous", "results"],
            "properties": {"next": link, "previous": link, "results": schema},
        }


def page_size(request: Request, *, default: int = PAGE_SIZE) -> int:
    """What the request asks for; raises ValidationError beyond the limits."""
    asked = request.query_params.get("page_size")
    if asked is None:
        return default
    if not asked.isascii() or not asked.isdigit() or not 1 <= int(asked[:9]) <= LARGEST_PAGE:
        raise ValidationError({"page_size": f"A whole number from 1 to {LARGEST_PAGE}."})
    return int(asked)
