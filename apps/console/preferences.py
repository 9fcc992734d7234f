"""Language and colours: a cookie on this browser, so that they hold before signing in, too."""

from django import forms
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

YEAR_S = 365 * 24 * 3600
THEME_COOKIE = "ohmwatch-theme"
THEMES = ("system", "light", "dark")


class PreferencesForm(forms.Form):
    language = forms.ChoiceField(choices=settings.LANGUAGES, required=False)
    theme = forms.ChoiceField(choices=[(theme, theme) for theme in THEMES], required=False)


def _back(request: HttpRequest) -> HttpResponseRedirect:
    target = request.POST.get("next", "/")
    safe = url_has_allowed_host_and_scheme(target, {request.get_host()}, request.is_secure())
    return HttpResponseRedirect(target if safe else "/")


@require_POST
def preferences(request: HttpRequest) -> HttpResponse:
    """Keep what was chosen and go back to where it was chosen; anybody may, signed in or not."""
    answer = _back(request)
    form = PreferencesForm(request.POST)
    if not form.is_valid():
        return answer
    chosen = {
        settings.LANGUAGE_COOKIE_NAME: form.cleaned_data["language"],
        THEME_COOKIE: form.cleaned_data["theme"],
    }
    for name, value in chosen.items():
        if value:
            answer.set_cookie(
                name, value, max_age=YEAR_S, samesite="Lax", secure=settings.SESSION_COOKIE_SECURE
            )
    return answer
