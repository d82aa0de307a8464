"""Labels that people read in their language; no column changes."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('agents', '0001_initial'),
    ]

    operations = [
        migrations.AlterModelOptions(
            name='agent',
            options={'base_manager_name': 'objects', 'ordering': ['name'], 'verbose_name': 'agent', 'verbose_name_plural': 'agents'},
        ),
        migrations.AlterModelOptions(
            name='checkpoint',
            options={'base_manager_name': 'objects', 'verbose_name': 'checkpoint', 'verbose_name_plural': 'checkpoints'},
        ),
        migrations.AlterModelOptions(
            name='toolcall',
            options={'base_manager_name': 'objects', 'verbose_name': 'tool call', 'verbose_name_plural': 'tool calls'},
        ),
        migrations.AlterField(
            model_name='agent',
            name='agent_type',
            field=models.CharField(default='assistant', max_length=40, verbose_name='kind'),
        ),
        migrations.AlterField(
            model_name='agent',
            name='blocked_terms',
            field=models.JSONField(blank=True, default=list, verbose_name='blocked terms'),
        ),
        migrations.AlterField(
            model_name='agent',
            name='context_tokens',
            field=models.PositiveIntegerField(default=16000, verbose_name='most tokens of the context'),
        ),
        migrations.AlterField(
            model_name='agent',
            name='created',
            field=models.DateTimeField(auto_now_add=True, verbose_name='created'),
        ),
        migrations.AlterField(
            model_name='agent',
            name='language',
            field=models.CharField(blank=True, default='', max_length=16, verbose_name='language'),
        ),
        migrations.AlterField(
            model_name='agent',
            name='name',
            field=models.CharField(max_length=80, verbose_name='name'),
        ),
        migrations.AlterField(
            model_name='agent',
            name='policy',
            field=models.JSONField(blank=True, default=dict, verbose_name='memory policy'),
        ),
        migrations.AlterField(
            model_name='agent',
            name='prompt',
            field=models.TextField(blank=True, default='', verbose_name='prompt'),
        ),
        migrations.AlterField(
            model_name='agent',
            name='routes',
            field=models.JSONField(blank=True, default=list, verbose_name='model routes'),
        ),
        migrations.AlterField(
            model_name='agent',
            name='tools',
            field=models.JSONField(blank=True, default=list, verbose_name='tools'),
        ),
        migrations.AlterField(
            model_name='agent',
            name='updated',
            field=models.DateTimeField(auto_now=True, verbose_name='changed'),
        ),
        migrations.AlterField(
            model_name='agent',
            name='version',
            field=models.PositiveIntegerField(default=1, editable=False, verbose_name='version'),
        ),
        migrations.AlterField(
            model_name='agent',
            name='workflow',
            field=models.CharField(default='standard', max_length=40, verbose_name='workflow'),
        ),
        migrations.AlterField(
            model_name='checkpoint',
            name='session_id',
            field=models.UUIDField(unique=True, verbose_name='session'),
        ),
        migrations.AlterField(
            model_name='checkpoint',
            name='version',
            field=models.BigIntegerField(verbose_name='version'),
        ),
        migrations.AlterField(
            model_name='toolcall',
            name='created',
            field=models.DateTimeField(verbose_name='time'),
        ),
        migrations.AlterField(
            model_name='toolcall',
            name='effect',
            field=models.CharField(max_length=12, verbose_name='effect'),
        ),
        migrations.AlterField(
            model_name='toolcall',
            name='finished',
            field=models.DateTimeField(null=True, verbose_name='finished'),
        ),
        migrations.AlterField(
            model_name='toolcall',
            name='name',
            field=models.CharField(max_length=128, verbose_name='tool'),
        ),
        migrations.AlterField(
            model_name='toolcall',
            name='ordinal',
            field=models.IntegerField(verbose_name='ordinal'),
        ),
        migrations.AlterField(
            model_name='toolcall',
            name='turn_id',
            field=models.UUIDField(verbose_name='turn'),
        ),
    ]
