"""Rules select by any dimension, have modes and versions, and judge in shadow.

Safe while the version before runs: its columns `model_id` and `enabled` stay in the table with a
default, only this version doesn't know them any more, and what is new has defaults in the
database. A later release drops the two columns.
"""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models
from django.utils import timezone

import apps.tenants.identifiers

MODES = [
    ("live", "In force"),
    ("shadow", "In shadow"),
    ("off", "Switches the detector off"),
    ("disabled", "Disabled"),
]
CONTENT = {
    "name": models.CharField(max_length=120, verbose_name="name"),
    "mode": models.CharField(
        choices=MODES, db_default="live", default="live", max_length=8, verbose_name="what it does"
    ),
    "share_pct": models.FloatField(
        db_default=100.0, default=100.0, verbose_name="share of the connectors"
    ),
    "selection": models.JSONField(
        blank=True, db_default={}, default=dict, verbose_name="selection"
    ),
    "parameters": models.JSONField(blank=True, default=dict, verbose_name="parameters"),
    "severities": models.JSONField(
        blank=True, db_default={}, default=dict, verbose_name="severities"
    ),
}


def copy_forwards(apps_then, schema_editor):
    """Model and switch become selection and mode; each rule's state becomes its version."""
    rule_class = apps_then.get_model("warning", "Rule")
    version_class = apps_then.get_model("warning", "RuleVersion")
    codes = dict(apps_then.get_model("catalog", "ConnectorModel").objects.values_list("pk", "code"))
    taken = set()
    for rule in rule_class.objects.all():
        if rule.model_id is not None:
            rule.selection = {"model": [codes[rule.model_id]]}
        rule.mode = "live" if rule.enabled else "off"
        rule.model_id = None
        while rule.name in taken:
            rule.name = f"{rule.name[:110]} {rule.detector}"[:110] + f" {len(taken)}"
        taken.add(rule.name)
        rule.save()
        version_class.objects.create(
            rule=rule,
            number=rule.version,
            change="made",
            changed_at=timezone.now(),
            **{name: getattr(rule, name) for name in CONTENT},
        )


def copy_backwards(apps_then, schema_editor):
    """What the version before can say of a rule; others it would have applied too widely."""
    rule_class = apps_then.get_model("warning", "Rule")
    models_by_code = dict(
        apps_then.get_model("catalog", "ConnectorModel").objects.values_list("code", "pk")
    )
    seen = set()
    for rule in rule_class.objects.order_by("-id"):
        codes = rule.selection.get("model", [])
        others = [name for name, values in rule.selection.items() if values and name != "model"]
        told = rule.mode in ("live", "off") and rule.share_pct == 100 and rule.removed_at is None
        key = (rule.detector, models_by_code.get(codes[0]) if codes else None)
        if others or len(codes) > 1 or not told or key in seen or (codes and key[1] is None):
            rule.delete()
            continue
        seen.add(key)
        rule.model_id, rule.enabled = key[1], rule.mode == "live"
        rule.save()


class Migration(migrations.Migration):
    dependencies = [
        ("warning", "0001_initial"),
        ("fleet", "0001_initial"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RemoveConstraint(model_name="rule", name="one_rule_per_detector_and_model"),
        *(
            migrations.AddField("rule", name, field)
            for name, field in CONTENT.items()
            if name not in ("name", "parameters")
        ),
        migrations.AddField(
            "rule",
            "removed_at",
            models.DateTimeField(blank=True, editable=False, null=True, verbose_name="removed"),
        ),
        migrations.CreateModel(
            name="RuleVersion",
            fields=[
                *((name, field.clone()) for name, field in CONTENT.items()),
                (
                    "id",
                    models.UUIDField(
                        default=apps.tenants.identifiers.new_id,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("number", models.PositiveIntegerField(verbose_name="version")),
                (
                    "change",
                    models.CharField(
                        choices=[
                            ("made", "Made"),
                            ("changed", "Changed"),
                            ("taken_back", "Taken back"),
                            ("imported", "Imported from a file"),
                            ("removed", "Removed"),
                        ],
                        max_length=10,
                        verbose_name="change",
                    ),
                ),
                ("changed_at", models.DateTimeField(verbose_name="changed")),
                ("restores", models.PositiveIntegerField(blank=True, null=True)),
                (
                    "changed_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="by",
                    ),
                ),
                (
                    "rule",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="versions",
                        to="warning.rule",
                    ),
                ),
            ],
            options={
                "verbose_name": "version of a rule",
                "verbose_name_plural": "versions of rules",
                "ordering": ["rule", "-number"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("rule", "number"), name="one_version_of_a_number"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="ShadowAlarm",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=apps.tenants.identifiers.new_id,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("rule_version", models.PositiveIntegerField(verbose_name="version")),
                ("condition", models.CharField(max_length=80, verbose_name="condition")),
                (
                    "pole",
                    models.CharField(blank=True, default="", max_length=4, verbose_name="pole"),
                ),
                ("severity", models.CharField(max_length=8, verbose_name="severity")),
                ("worst_severity", models.CharField(max_length=8, verbose_name="worst severity")),
                ("since", models.DateTimeField(verbose_name="since")),
                ("last_measured_at", models.DateTimeField(verbose_name="last measured")),
                ("opened_at", models.DateTimeField(verbose_name="opened")),
                ("ended_at", models.DateTimeField(blank=True, null=True, verbose_name="ended")),
                (
                    "occurrences",
                    models.PositiveIntegerField(default=1, verbose_name="occurrences"),
                ),
                ("evidence", models.JSONField(blank=True, default=dict, verbose_name="evidence")),
                (
                    "connector",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="shadow_alarms",
                        to="fleet.connector",
                    ),
                ),
                (
                    "rule",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="shadow_alarms",
                        to="warning.rule",
                    ),
                ),
            ],
            options={
                "verbose_name": "alarm in shadow",
                "verbose_name_plural": "alarms in shadow",
                "ordering": ["-opened_at", "-id"],
                "indexes": [
                    models.Index(
                        fields=["rule", "-opened_at"], name="warning_sha_rule_id_9f43cb_idx"
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("ended_at__isnull", True)),
                        fields=("rule", "connector", "condition"),
                        name="one_open_shadow_per_condition",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("last_measured_at__gte", models.F("since"))),
                        name="shadow_times_in_order",
                    ),
                ],
            },
        ),
        migrations.RunPython(copy_forwards, copy_backwards),
        # Postgres alters no table of which deferred checks are still to be made.
        migrations.RunSQL(
            "SET CONSTRAINTS ALL IMMEDIATE", reverse_sql="SET CONSTRAINTS ALL IMMEDIATE"
        ),
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(
                    'ALTER TABLE "warning_rule" ALTER COLUMN "enabled" SET DEFAULT true',
                    reverse_sql='ALTER TABLE "warning_rule" ALTER COLUMN "enabled" DROP DEFAULT',
                )
            ],
            state_operations=[
                migrations.RemoveField("rule", "model"),
                migrations.RemoveField("rule", "enabled"),
            ],
        ),
        migrations.AddConstraint(
            "rule",
            models.UniqueConstraint(
                condition=models.Q(("removed_at__isnull", True)),
                fields=("name",),
                name="one_rule_of_a_name",
            ),
        ),
        migrations.AddConstraint(
            "rule",
            models.CheckConstraint(
                condition=models.Q(("share_pct__gte", 0), ("share_pct__lte", 100)),
                name="rule_share_is_a_percentage",
            ),
        ),
    ]
