"""From the Host header to a schema and a set of routes, and from a machine's path to its view."""

from collections.abc import Callable

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.db import connection
from django.http import HttpRequest, HttpResponse, HttpResponseNotFound
from django.http.request import split_domain_port
from django.urls import Resolver404, ResolverMatch, resolve, set_urlconf
from django.utils.module_loading import import_string

from apps.tenants.queries import tenant_of_host

GetResponse = Callable[[HttpRequest], HttpResponse]


class MachineMiddleware:
    """Answers what machines ask (health, metrics, the broker's questions) on any host.

    They reach a process by its address, so no host would fit. Stands first: these routes need no
    session, no tenant and no allowed host.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        match = _machine_match(request.path_info)
        if match is None:
            return self.get_response(request)
        connection.set_schema_to_public()  # type: ignore[attr-defined]
        response: HttpResponse = match.func(request, *match.args, **match.kwargs)
        return response


class HostMiddleware:
    """Sets the tenant's schema for the request, by an exact match of its host.

    An unknown host is answered 404 before anything of a tenant is touched, a tenant that is not
    ready 503. Afterwards the schema is public again: a response that still reads rows while it is
    sent would find none of a tenant's.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        connection.set_schema_to_public()  # type: ignore[attr-defined]
        try:
            return self._answer(request)
        finally:
            connection.set_schema_to_public()  # type: ignore[attr-defined]
            set_urlconf(None)

    def _answer(self, request: HttpRequest) -> HttpResponse:
        try:
            host, _port = split_domain_port(request.get_host())
        except DisallowedHost:
            return _nothing_here()
        if host == settings.BASE_DOMAIN:
            return self._answer_on(request, None, settings.PUBLIC_SCHEMA_URLCONF)
        tenant = tenant_of_host(host)
        if tenant is None:
            return _nothing_here()
        if not tenant.is_ready:
            return self._answer_unready(request)
        connection.set_tenant(tenant)  # type: ignore[attr-defined]
        return self._answer_on(request, tenant, settings.ROOT_URLCONF)

    def _answer_on(self, request: HttpRequest, tenant: object, urlconf: str) -> HttpResponse:
        request.tenant = tenant  # type: ignore[attr-defined]
        request.urlconf = urlconf
        set_urlconf(urlconf)
        return self.get_response(request)

    def _answer_unready(self, request: HttpRequest) -> HttpResponse:
        request.tenant = None  # type: ignore[attr-defined]
        page: HttpResponse = import_string(settings.NOT_READY_VIEW)(request)
        return page


def _machine_match(path: str) -> ResolverMatch | None:
    try:
        return resolve(path, settings.MACHINE_URLCONF)
    except Resolver404:
        return None


def _nothing_here() -> HttpResponse:
    return HttpResponseNotFound("Nothing here.\n", content_type="text/plain")
