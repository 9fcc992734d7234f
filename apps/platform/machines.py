"""Routes for machines: alive, ready, metrics. They work on any host (see MachineMiddleware)."""

import hmac
import ipaddress

import prometheus_client
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseNotFound, JsonResponse

from apps.platform.acquisition import AcquisitionCollector
from apps.platform.detection import DetectionCollector
from apps.platform.health import Check, check_dependencies


def healthz(request: HttpRequest) -> HttpResponse:
    """200 while the process takes requests; asks no store."""
    return HttpResponse("ok\n", content_type="text/plain")


def readyz(request: HttpRequest) -> HttpResponse:
    """200 or 503 with each dependency; reasons only for who may read the metrics too."""
    checks = check_dependencies()
    ready = all(check.ok for check in checks)
    trusted = _is_trusted(request)
    answer = {"ready": ready, "checks": {check.name: _told(check, trusted) for check in checks}}
    return JsonResponse(answer, status=200 if ready else 503)


def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus's text format, for this machine or with the metrics token; else 404."""
    if not _is_trusted(request):
        return HttpResponseNotFound("Nothing here.\n", content_type="text/plain")
    board = prometheus_client.CollectorRegistry(auto_describe=False)
    board.register(AcquisitionCollector())
    board.register(DetectionCollector())
    said = prometheus_client.generate_latest() + prometheus_client.generate_latest(board)
    return HttpResponse(said, content_type=prometheus_client.CONTENT_TYPE_LATEST)


def _told(check: Check, trusted: bool) -> dict[str, object]:
    told: dict[str, object] = {"ok": check.ok, "ms": check.took_ms}
    if check.reason and trusted:
        told["reason"] = check.reason
    return told


def _is_trusted(request: HttpRequest) -> bool:
    token = settings.ENVIRONMENT.metrics_token.get_secret_value()
    shown = request.headers.get("Authorization", "").removeprefix("Bearer ")
    if token and hmac.compare_digest(shown.encode(), token.encode()):
        return True
    try:
        near = ipaddress.ip_address(request.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False
    # A proxy on this machine speaks for somebody else.
    return near and "X-Forwarded-For" not in request.headers
