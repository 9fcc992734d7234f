import django.db.models.deletion
from django.db import migrations, models

KINDS = [
    ("opened", "Opened"),
    ("reopened", "Opened again"),
    ("worsened", "Worsened"),
    ("eased", "Eased"),
    ("evidence", "New evidence"),
    ("acknowledged", "Acknowledged"),
    ("noted", "Note"),
    ("inspected", "Inspected"),
    ("cleared", "Cleared"),
    ("withdrawn", "Withdrawn"),
]


class Migration(migrations.Migration):
    dependencies = [("alarms", "0002_judged_by_and_inspections")]

    operations = [
        migrations.AlterField(
            model_name="alarmevent",
            name="kind",
            field=models.CharField(choices=KINDS, max_length=12, verbose_name="kind"),
        ),
        migrations.AddField(
            model_name="alarmevent",
            name="corrects",
            field=models.OneToOneField(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="corrected_by",
                to="alarms.alarmevent",
            ),
        ),
    ]
