"""The pages of owners and drivers; staff open the same ones for any vehicle of the tenant."""

from django.urls import path

from apps.console import alarms, connectors, contacts, vehicles

app_name = "console"
urlpatterns = [
    path("", vehicles.home, name="home"),
    path("vehicles/", vehicles.vehicle_list, name="vehicles"),
    path("vehicles/<uuid:pk>/", vehicles.vehicle_page, name="vehicle"),
    path("connectors/<uuid:pk>/", connectors.connector_page, name="connector"),
    path("series/<uuid:pk>.json", connectors.series, name="series"),
    path("alarms/", alarms.alarm_list, name="alarms"),
    path("alarms/count.json", alarms.alarm_count, name="alarm-count"),
    path("alarms/<uuid:pk>/", alarms.alarm_page, name="alarm"),
    path("alarms/<uuid:pk>/readings/", alarms.alarm_readings, name="alarm-readings"),
    path("alarms/<uuid:pk>/acknowledge", alarms.acknowledge, name="acknowledge"),
    path("alarms/<uuid:pk>/note", alarms.note, name="note"),
    path("alarms/<uuid:pk>/inspection", alarms.inspection, name="inspection"),
    path("contacts/", contacts.contact_list, name="contacts"),
    path("contacts/add/", contacts.contact_add, name="contact-add"),
    path("contacts/<uuid:pk>/", contacts.contact_page, name="contact"),
    path("contacts/<uuid:pk>/code", contacts.contact_code, name="contact-code"),
    path("contacts/<uuid:pk>/verify", contacts.contact_verify, name="contact-verify"),
    path("contacts/<uuid:pk>/test", contacts.contact_test, name="contact-test"),
    path("contacts/<uuid:pk>/remove", contacts.contact_remove, name="contact-remove"),
]
