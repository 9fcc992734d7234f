"""A back-test may be judged on a set of ground truth."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("warning", "0003_back_tests")]

    operations = [
        migrations.AddField(
            model_name="backtest",
            name="among",
            field=models.JSONField(blank=True, db_default=[], default=list),
        ),
        migrations.AddField(
            model_name="backtest",
            name="truth",
            field=models.JSONField(blank=True, db_default={}, default=dict),
        ),
    ]
