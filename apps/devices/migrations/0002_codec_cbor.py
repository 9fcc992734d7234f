from django.db import migrations, models


class Migration(migrations.Migration):
    """CBOR beside JSON. Going back is refused by the old constraint while a device is set to it."""

    dependencies = [
        ("devices", "0001_initial"),
    ]

    operations = [
        migrations.RemoveConstraint(model_name="device", name="device_codec_known"),
        migrations.AlterField(
            model_name="device",
            name="codec",
            field=models.CharField(
                blank=True,
                choices=[("", "by content type or first byte"), ("json", "JSON"), ("cbor", "CBOR")],
                default="",
                max_length=10,
                verbose_name="codec",
            ),
        ),
        migrations.AddConstraint(
            model_name="device",
            constraint=models.CheckConstraint(
                condition=models.Q(("codec__in", ["", "json", "cbor"])), name="device_codec_known"
            ),
        ),
    ]
