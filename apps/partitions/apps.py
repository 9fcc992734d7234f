from django.apps import AppConfig


class PartitionsConfig(AppConfig):
    name = "apps.partitions"
    verbose_name = "Partitions of detection"
