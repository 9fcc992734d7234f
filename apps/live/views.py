"""The way to catch up on alarm events over plain HTTP."""

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from apps.live import events
from apps.live.hints import spoken

NUMBER_LIMIT = 2**63 - 1


@never_cache
@require_GET
@login_required
def events_after(request: HttpRequest) -> JsonResponse:
    """`?after=n`: {"events": […], "latest": n, "more": bool}; 400 where n is no number."""
    after = request.GET.get("after", "0")
    if not (after.isascii() and after.isdigit() and int(after[:20]) <= NUMBER_LIMIT):
        return JsonResponse({"error": "after_not_a_number"}, status=400)
    assert request.user.pk is not None  # login_required
    page = events.page_after(request.user.pk, int(after))
    return JsonResponse(
        {
            "events": [spoken(hint) for hint in page.hints],
            "latest": page.latest,
            "more": page.more,
        }
    )
