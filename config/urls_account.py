"""Signing in and out, a new password, the second factor.

There is no sign-up: people are invited.
"""

from allauth.account import views
from django.urls import include, path

from apps.console.preferences import preferences

urlpatterns = [
    path("account/login/", views.login, name="account_login"),
    path("account/logout/", views.logout, name="account_logout"),
    path("account/password/", views.password_change, name="account_change_password"),
    path("account/reauthenticate/", views.reauthenticate, name="account_reauthenticate"),
    path("account/two-factor/", include("allauth.mfa.urls")),
    path("preferences/", preferences, name="preferences"),
]
