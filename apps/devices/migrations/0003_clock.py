from django.db import migrations, models


class Migration(migrations.Migration):
    """What is known of a device's clock. New columns with defaults: the old version runs on."""

    dependencies = [
        ("devices", "0002_codec_cbor"),
    ]

    operations = [
        migrations.AddField(
            model_name="device",
            name="clock_state",
            field=models.CharField(
                blank=True,
                choices=[
                    ("", "not known yet"),
                    ("right", "right"),
                    ("ahead", "ahead"),
                    ("behind", "behind"),
                    ("unclear", "can't be told: its readings come late"),
                ],
                db_default="",
                default="",
                max_length=10,
                verbose_name="clock",
            ),
        ),
        migrations.AddField(
            model_name="device",
            name="clock_offset_ms",
            field=models.BigIntegerField(blank=True, help_text="its less ours", null=True),
        ),
        migrations.AddField(
            model_name="device",
            name="clock_delay_ms",
            field=models.BigIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="device",
            name="clock_judged_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddConstraint(
            model_name="device",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("clock_state__in", ["", "right", "ahead", "behind", "unclear"])
                ),
                name="device_clock_known",
            ),
        ),
    ]
