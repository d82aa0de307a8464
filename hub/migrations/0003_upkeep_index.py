import django.contrib.postgres.indexes
from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('hub', '0002_rollup'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='messagekey',
            index=django.contrib.postgres.indexes.BrinIndex(fields=['created'], name='message_key_created'),
        ),
    ]
