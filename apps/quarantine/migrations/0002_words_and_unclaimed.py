from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("quarantine", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="replay",
            name="words",
            field=models.CharField(blank=True, default="", max_length=120),
        ),
        migrations.AddField(
            model_name="replay",
            name="unclaimed",
            field=models.PositiveIntegerField(editable=False, null=True),
        ),
    ]
