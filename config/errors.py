"""Error pages, in the words of a person; each carries the request's id, which the log has too."""

import structlog
from django.http import HttpRequest, HttpResponse, HttpResponseServerError
from django.shortcuts import render
from django.template import loader


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return render(request, "404.html", status=404)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    return render(request, "403.html", status=403)


def broken(request: HttpRequest) -> HttpResponse:
    """Uses neither session, user nor database: any of them may be what broke."""
    request_id = structlog.contextvars.get_contextvars().get("request_id", "")
    page = loader.get_template("500.html").render({"request_id": request_id})
    return HttpResponseServerError(page)


def unavailable(request: HttpRequest) -> HttpResponse:
    """503: the tenant is being made, or a store is away. The browser may ask again in 30 s."""
    answer = render(request, "503.html", status=503)
    answer.headers["Retry-After"] = "30"
    return answer
