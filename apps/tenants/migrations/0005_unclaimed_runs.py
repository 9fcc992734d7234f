from django.db import migrations


class Migration(migrations.Migration):
    """Numbers of replays out of the platform's own quarantine, whichever tenant they are for."""

    dependencies = [("tenants", "0004_erasure")]

    operations = [
        migrations.RunSQL(
            "CREATE SEQUENCE unclaimed_runs AS integer MAXVALUE 2097151",
            "DROP SEQUENCE unclaimed_runs",
        )
    ]
