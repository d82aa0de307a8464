"""The three plans with the figures that were agreed; -1 is no limit."""

from django.db import migrations

GIB = 1 << 30
# metric: (period, alert share, starter, professional, enterprise)
FIGURES = {
    'sessions': ('rolling30', 0.8, 100, 10_000, -1),
    'tokens_per_day': ('day', 0.9, 500_000, 10_000_000, -1),
    'documents': ('none', 0.8, 1_000, 100_000, -1),
    'storage_bytes': ('none', 0.8, 1 * GIB, 100 * GIB, -1),
    'concurrency': ('none', 0.8, 3, 20, 100),
}
PLANS = (('starter', 'Starter'), ('professional', 'Professional'), ('enterprise', 'Enterprise'))


def seed(apps, schema_editor):
    alias = schema_editor.connection.alias
    Plan = apps.get_model('tenants', 'Plan').objects.using(alias)
    PlanQuota = apps.get_model('tenants', 'PlanQuota').objects.using(alias)
    for index, (slug, name) in enumerate(PLANS):
        plan, _ = Plan.get_or_create(slug=slug, defaults={'name': name})
        for metric, (period, alert_at, *limits) in FIGURES.items():
            PlanQuota.get_or_create(
                plan=plan,
                metric=metric,
                defaults={'period': period, 'alert_at': alert_at, 'limit_value': limits[index]},
            )


def unseed(apps, schema_editor):
    # Tenants point at plans; they go with their table.
    pass


class Migration(migrations.Migration):

    dependencies = [('tenants', '0001_initial')]

    operations = [migrations.RunPython(seed, unseed)]
