"""The manufacturer's portal, under /portal/."""

from django.urls import path

from apps.portal import api_keys, base, catalogue, device_pages, fleets, overview, quarantine, users

app_name = "portal"
urlpatterns = [
    path("", overview.overview, name="overview"),
    path("account/", overview.account, name="account"),
    path("alarms/", overview.alarm_list, name="alarms"),
    path("base/", base.installed_base, name="base"),
    path("models/", catalogue.model_list, name="models"),
    path("models/add/", catalogue.model_add, name="model-add"),
    path("models/<uuid:pk>/", catalogue.model_page, name="model"),
    path("models/<uuid:pk>/edit/", catalogue.model_edit, name="model-edit"),
    path("organisations/", fleets.organisation_list, name="organisations"),
    path("organisations/add/", fleets.organisation_add, name="organisation-add"),
    path("organisations/<uuid:pk>/", fleets.organisation_page, name="organisation"),
    path("vehicles/add/", fleets.vehicle_add, name="vehicle-add"),
    path("vehicles/<uuid:pk>/", fleets.vehicle_edit, name="vehicle-edit"),
    path("connectors/add/", fleets.connector_add, name="connector-add"),
    path("connectors/<uuid:pk>/", fleets.connector_edit, name="connector-edit"),
    path("connectors/<uuid:pk>/retire", fleets.connector_retire, name="connector-retire"),
    path("devices/", device_pages.device_list, name="devices"),
    path("devices/add/", device_pages.device_add, name="device-add"),
    path("devices/<uuid:pk>/", device_pages.device_page, name="device"),
    path("devices/<uuid:pk>/password", device_pages.device_password, name="device-password"),
    path("devices/<uuid:pk>/state", device_pages.device_state, name="device-state"),
    path("devices/<uuid:pk>/channels", device_pages.channel_map, name="channel-map"),
    path(
        "devices/<uuid:pk>/channels/<int:number>/unmap",
        device_pages.channel_unmap,
        name="channel-unmap",
    ),
    path("users/", users.user_list, name="users"),
    path("users/add/", users.user_add, name="user-add"),
    path("users/<uuid:pk>/", users.user_edit, name="user-edit"),
    path("users/<uuid:pk>/state", users.user_state, name="user-state"),
    path("users/<uuid:pk>/second-factor", users.user_second_factor, name="user-second-factor"),
    path("users/<uuid:pk>/password", users.user_password, name="user-password"),
    path("keys/", api_keys.key_list, name="keys"),
    path("keys/add/", api_keys.key_add, name="key-add"),
    path("keys/<uuid:pk>/revoke", api_keys.key_revoke, name="key-revoke"),
    path("quarantine/", quarantine.message_list, name="quarantine"),
    path("quarantine/<str:pk>/", quarantine.message_page, name="quarantined"),
    path("quarantine/<str:pk>/bytes", quarantine.message_bytes, name="quarantined-bytes"),
]
