"""How often an API key may ask, by plan; -1 is no limit."""

from django.db import migrations, models

FIGURES = {'starter': 600, 'professional': 3_000, 'enterprise': -1}


def seed(apps, schema_editor):
    Plan = apps.get_model('tenants', 'Plan').objects.using(schema_editor.connection.alias)
    for slug, figure in FIGURES.items():
        Plan.filter(slug=slug).update(requests_per_minute=figure)


class Migration(migrations.Migration):

    dependencies = [('tenants', '0004_start')]

    operations = [
        migrations.AddField(
            model_name='plan',
            name='requests_per_minute',
            field=models.IntegerField(default=600, help_text='API requests per key; -1 means no limit.'),
        ),
        migrations.RunPython(seed, migrations.RunPython.noop),
    ]
