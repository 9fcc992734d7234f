from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("partitions", "0002_snapshots")]

    operations = [
        migrations.CreateModel(
            name="Arrear",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("partition", models.IntegerField()),
                ("connector", models.TextField()),
                ("since_ms", models.BigIntegerField()),
                ("tries", models.PositiveIntegerField(default=0)),
                ("due_at", models.DateTimeField(null=True)),
                ("failed", models.TextField()),
                ("error", models.TextField()),
                ("noted_at", models.DateTimeField()),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("partition", "connector"), name="one_arrear_of_a_connector"
                    )
                ],
            },
        ),
    ]
