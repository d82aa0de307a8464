"""Answers to requests with an Idempotency-Key, kept for a day."""

import django.db.models.deletion
import tenants.ids
from django.db import migrations, models

from tenants.db.rls import Protect


class Migration(migrations.Migration):

    dependencies = [('hub', '0003_upkeep_index')]

    operations = [
        migrations.CreateModel(
            name='KeptAnswer',
            fields=[
                ('id', models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('key_hash', models.BinaryField(max_length=32)),
                ('request_hash', models.BinaryField(max_length=32)),
                ('status', models.PositiveSmallIntegerField()),
                ('answer', models.BinaryField()),
                ('created', models.DateTimeField()),
                ('tenant', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='tenants.tenant')),
            ],
            options={
                'db_table': 'kept_answer',
                'abstract': False,
                'base_manager_name': 'objects',
                'constraints': [models.UniqueConstraint(fields=('tenant', 'key_hash'), name='kept_answer_once')],
                'indexes': [models.Index(fields=['created'], name='kept_answer_age')],
            },
        ),
        Protect('kept_answer'),
    ]
