"""Labels that people read in their language; no column changes."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('hub', '0007_trace_and_dead_letters'),
    ]

    operations = [
        migrations.AlterField(
            model_name='contact',
            name='connection',
            field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, to='hub.connection', verbose_name='connection'),
        ),
        migrations.AlterField(
            model_name='contact',
            name='person',
            field=models.ForeignKey(blank=True, db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, to='hub.person', verbose_name='person'),
        ),
        migrations.AlterField(
            model_name='delivery',
            name='attempts',
            field=models.IntegerField(default=0, verbose_name='attempts'),
        ),
        migrations.AlterField(
            model_name='delivery',
            name='connection',
            field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, to='hub.connection', verbose_name='connection'),
        ),
        migrations.AlterField(
            model_name='delivery',
            name='created',
            field=models.DateTimeField(verbose_name='time'),
        ),
        migrations.AlterField(
            model_name='delivery',
            name='due_at',
            field=models.DateTimeField(blank=True, null=True, verbose_name='due'),
        ),
        migrations.AlterField(
            model_name='delivery',
            name='expires_at',
            field=models.DateTimeField(verbose_name='given up after'),
        ),
        migrations.AlterField(
            model_name='delivery',
            name='final',
            field=models.BooleanField(default=True, verbose_name='last part'),
        ),
        migrations.AlterField(
            model_name='delivery',
            name='live',
            field=models.BooleanField(default=False, verbose_name='grows while it is written'),
        ),
        migrations.AlterField(
            model_name='delivery',
            name='message_id',
            field=models.UUIDField(verbose_name='message'),
        ),
        migrations.AlterField(
            model_name='delivery',
            name='part_index',
            field=models.IntegerField(default=0, verbose_name='part'),
        ),
        migrations.AlterField(
            model_name='delivery',
            name='position',
            field=models.BigIntegerField(verbose_name='place in the session'),
        ),
        migrations.AlterField(
            model_name='delivery',
            name='sent_at',
            field=models.DateTimeField(blank=True, null=True, verbose_name='sent'),
        ),
        migrations.AlterField(
            model_name='delivery',
            name='session',
            field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, to='hub.session', verbose_name='session'),
        ),
        migrations.AlterField(
            model_name='delivery',
            name='turn_id',
            field=models.UUIDField(verbose_name='turn'),
        ),
        migrations.AlterField(
            model_name='event',
            name='connection_id',
            field=models.UUIDField(blank=True, null=True, verbose_name='connection'),
        ),
        migrations.AlterField(
            model_name='event',
            name='created',
            field=models.DateTimeField(verbose_name='time'),
        ),
        migrations.AlterField(
            model_name='event',
            name='data',
            field=models.JSONField(blank=True, default=dict, verbose_name='data'),
        ),
        migrations.AlterField(
            model_name='event',
            name='delivery_id',
            field=models.UUIDField(blank=True, null=True, verbose_name='delivery'),
        ),
        migrations.AlterField(
            model_name='event',
            name='session_id',
            field=models.UUIDField(blank=True, null=True, verbose_name='session'),
        ),
        migrations.AlterField(
            model_name='event',
            name='turn_id',
            field=models.UUIDField(blank=True, null=True, verbose_name='turn'),
        ),
        migrations.AlterField(
            model_name='message',
            name='contact_id',
            field=models.UUIDField(blank=True, null=True, verbose_name='contact'),
        ),
        migrations.AlterField(
            model_name='message',
            name='created',
            field=models.DateTimeField(verbose_name='time'),
        ),
        migrations.AlterField(
            model_name='message',
            name='model',
            field=models.CharField(blank=True, default='', max_length=120, verbose_name='model'),
        ),
        migrations.AlterField(
            model_name='message',
            name='seq',
            field=models.BigIntegerField(verbose_name='place'),
        ),
        migrations.AlterField(
            model_name='message',
            name='session',
            field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, to='hub.session', verbose_name='session'),
        ),
        migrations.AlterField(
            model_name='message',
            name='tokens',
            field=models.IntegerField(default=0, verbose_name='tokens'),
        ),
        migrations.AlterField(
            model_name='message',
            name='turn_id',
            field=models.UUIDField(blank=True, null=True, verbose_name='turn'),
        ),
        migrations.AlterField(
            model_name='person',
            name='created',
            field=models.DateTimeField(auto_now_add=True, verbose_name='created'),
        ),
        migrations.AlterField(
            model_name='session',
            name='agent_id',
            field=models.UUIDField(blank=True, null=True, verbose_name='agent'),
        ),
        migrations.AlterField(
            model_name='session',
            name='connection',
            field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, to='hub.connection', verbose_name='connection'),
        ),
        migrations.AlterField(
            model_name='session',
            name='contact_id',
            field=models.UUIDField(blank=True, null=True, verbose_name='contact'),
        ),
        migrations.AlterField(
            model_name='session',
            name='created',
            field=models.DateTimeField(auto_now_add=True, verbose_name='created'),
        ),
        migrations.AlterField(
            model_name='session',
            name='current',
            field=models.BooleanField(default=True, verbose_name='current'),
        ),
        migrations.AlterField(
            model_name='session',
            name='due_at',
            field=models.DateTimeField(editable=False, null=True, verbose_name='due'),
        ),
        migrations.AlterField(
            model_name='session',
            name='due_since',
            field=models.DateTimeField(editable=False, null=True, verbose_name='waiting since'),
        ),
        migrations.AlterField(
            model_name='session',
            name='due_turns',
            field=models.IntegerField(default=0, editable=False, verbose_name='waiting turns'),
        ),
        migrations.AlterField(
            model_name='session',
            name='fence',
            field=models.BigIntegerField(default=0, editable=False, verbose_name='fence'),
        ),
        migrations.AlterField(
            model_name='session',
            name='generation',
            field=models.PositiveIntegerField(default=1, verbose_name='generation'),
        ),
        migrations.AlterField(
            model_name='session',
            name='last_inbound_at',
            field=models.DateTimeField(editable=False, null=True, verbose_name='last message'),
        ),
        migrations.AlterField(
            model_name='session',
            name='last_seq',
            field=models.BigIntegerField(default=0, editable=False, verbose_name='messages'),
        ),
        migrations.AlterField(
            model_name='session',
            name='lease_owner',
            field=models.UUIDField(editable=False, null=True, verbose_name='leased by'),
        ),
        migrations.AlterField(
            model_name='session',
            name='lease_until',
            field=models.DateTimeField(editable=False, null=True, verbose_name='leased until'),
        ),
        migrations.AlterField(
            model_name='session',
            name='subject_id',
            field=models.UUIDField(verbose_name='subject of memory'),
        ),
        migrations.AlterField(
            model_name='session',
            name='title',
            field=models.BinaryField(null=True, verbose_name='title'),
        ),
        migrations.AlterField(
            model_name='session',
            name='turn_id',
            field=models.UUIDField(editable=False, null=True, verbose_name='running turn'),
        ),
        migrations.AlterField(
            model_name='session',
            name='unsettled',
            field=models.IntegerField(default=0, editable=False, verbose_name='deliveries under way'),
        ),
        migrations.AlterField(
            model_name='session',
            name='version',
            field=models.BigIntegerField(default=0, editable=False, verbose_name='version'),
        ),
        migrations.AlterField(
            model_name='turn',
            name='attempts',
            field=models.IntegerField(default=0, verbose_name='attempts'),
        ),
        migrations.AlterField(
            model_name='turn',
            name='created',
            field=models.DateTimeField(verbose_name='due'),
        ),
        migrations.AlterField(
            model_name='turn',
            name='fence',
            field=models.BigIntegerField(default=0, verbose_name='fence'),
        ),
        migrations.AlterField(
            model_name='turn',
            name='finished_at',
            field=models.DateTimeField(blank=True, null=True, verbose_name='stored'),
        ),
        migrations.AlterField(
            model_name='turn',
            name='first_seq',
            field=models.BigIntegerField(verbose_name='first message'),
        ),
        migrations.AlterField(
            model_name='turn',
            name='first_token_at',
            field=models.DateTimeField(blank=True, null=True, verbose_name='first word'),
        ),
        migrations.AlterField(
            model_name='turn',
            name='input_tokens',
            field=models.IntegerField(default=0, verbose_name='tokens in'),
        ),
        migrations.AlterField(
            model_name='turn',
            name='last_seq',
            field=models.BigIntegerField(verbose_name='last message answered'),
        ),
        migrations.AlterField(
            model_name='turn',
            name='merge',
            field=models.BooleanField(default=True, verbose_name='merges'),
        ),
        migrations.AlterField(
            model_name='turn',
            name='output_tokens',
            field=models.IntegerField(default=0, verbose_name='tokens out'),
        ),
        migrations.AlterField(
            model_name='turn',
            name='reserved',
            field=models.BigIntegerField(default=0, verbose_name='tokens reserved'),
        ),
        migrations.AlterField(
            model_name='turn',
            name='session',
            field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, to='hub.session', verbose_name='session'),
        ),
        migrations.AlterField(
            model_name='turn',
            name='started_at',
            field=models.DateTimeField(blank=True, null=True, verbose_name='claimed'),
        ),
        migrations.AlterField(
            model_name='turn',
            name='trace',
            field=models.JSONField(blank=True, null=True, verbose_name='trace'),
        ),
    ]
