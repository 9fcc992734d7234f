"""Signing in and out, a new password, the second factor.

There is no sign-up: people are invited.
"""

from allauth.account import views
from allauth.usersessions.views import list_usersessions
from django.urls import include, path

from apps.console.preferences import preferences

urlpatterns = [
    path("account/login/", views.login, name="account_login"),
    path("account/logout/", views.logout, name="account_logout"),
    path("account/password/", views.password_change, name="account_change_password"),
    path("account/reauthenticate/", views.reauthenticate, name="account_reauthenticate"),
    path("account/sessions/", list_usersessions, name="usersessions_list"),
    path("account/two-factor/", include("allauth.mfa.urls")),
    path("preferences/", preferences, name="preferences"),
]
