"""Steps of alarms in shadow are kept for a while, so that late readings can correct them."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("warning", "0004_ground_truth")]

    operations = [
        migrations.CreateModel(
            name="ShadowStep",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("begins", models.BooleanField()),
                ("measured_at", models.DateTimeField()),
                ("judged_at", models.DateTimeField()),
                ("since", models.DateTimeField()),
                ("pole", models.CharField(blank=True, max_length=4)),
                ("severity", models.CharField(max_length=8)),
                ("worst_severity", models.CharField(max_length=8)),
                ("occurrences", models.PositiveIntegerField()),
                ("is_open", models.BooleanField()),
                ("evidence", models.JSONField(blank=True, default=dict)),
                (
                    "alarm",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="steps",
                        to="warning.shadowalarm",
                    ),
                ),
            ],
            options={
                "ordering": ["pk"],
                "indexes": [
                    models.Index(
                        fields=["alarm", "measured_at"], name="warning_sha_alarm_i_step_idx"
                    )
                ],
            },
        ),
    ]
