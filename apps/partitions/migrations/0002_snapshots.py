from django.db import migrations, models

# A checkpoint of before did not count readings: what it knows counts from here on, so that nobody
# is judged again from what was kept before this.
COPY = """
INSERT INTO partitions_snapshot (partition, taken_at, clock_ms, state)
SELECT partition, now(), clock_ms, state FROM partitions_checkpoint
"""


class Migration(migrations.Migration):
    dependencies = [("partitions", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="checkpoint",
            name="late_number",
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name="checkpoint",
            name="audited_number",
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.CreateModel(
            name="Snapshot",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("partition", models.IntegerField()),
                ("taken_at", models.DateTimeField()),
                ("clock_ms", models.BigIntegerField()),
                ("state", models.BinaryField(blank=True)),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("partition", "taken_at"), name="one_snapshot_at_a_time"
                    )
                ],
            },
        ),
        migrations.RunSQL(COPY, migrations.RunSQL.noop),
    ]
