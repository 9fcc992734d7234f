"""Operators live in the public schema and nobody else does; the database holds people to it.

The same migration runs in public and in every tenant's schema, and adds the constraint that fits.
"""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps
from django_tenants.utils import get_public_schema_name


def bind_roles_to_realm(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    public = schema_editor.connection.schema_name == get_public_schema_name()
    comparison = "=" if public else "<>"
    schema_editor.execute(
        "ALTER TABLE accounts_user ADD CONSTRAINT user_role_fits_realm"
        f" CHECK (role {comparison} 'operator')"
    )


def release_roles(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    schema_editor.execute("ALTER TABLE accounts_user DROP CONSTRAINT user_role_fits_realm")


class Migration(migrations.Migration):
    dependencies = [("accounts", "0001_initial")]

    operations = [migrations.RunPython(bind_roles_to_realm, release_roles)]
