"""Labels that people read in their language; no column changes."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('memory', '0001_initial'),
    ]

    operations = [
        migrations.AlterModelOptions(
            name='memorybatch',
            options={'base_manager_name': 'objects', 'verbose_name': 'order to summarise', 'verbose_name_plural': 'orders to summarise'},
        ),
        migrations.AlterModelOptions(
            name='memoryline',
            options={'base_manager_name': 'objects', 'verbose_name': 'memory line', 'verbose_name_plural': 'memory lines'},
        ),
        migrations.AlterModelOptions(
            name='summary',
            options={'base_manager_name': 'objects', 'verbose_name': 'summary', 'verbose_name_plural': 'summaries'},
        ),
        migrations.AlterField(
            model_name='memorybatch',
            name='attempts',
            field=models.SmallIntegerField(default=0, verbose_name='attempts'),
        ),
        migrations.AlterField(
            model_name='memorybatch',
            name='claimed_at',
            field=models.DateTimeField(verbose_name='time'),
        ),
        migrations.AlterField(
            model_name='memorybatch',
            name='due_at',
            field=models.DateTimeField(verbose_name='due'),
        ),
        migrations.AlterField(
            model_name='memorybatch',
            name='error',
            field=models.CharField(default='', max_length=200, verbose_name='error'),
        ),
        migrations.AlterField(
            model_name='memorybatch',
            name='finished_at',
            field=models.DateTimeField(null=True, verbose_name='finished'),
        ),
        migrations.AlterField(
            model_name='memorybatch',
            name='first_seq',
            field=models.BigIntegerField(verbose_name='from'),
        ),
        migrations.AlterField(
            model_name='memorybatch',
            name='last_seq',
            field=models.BigIntegerField(verbose_name='to'),
        ),
        migrations.AlterField(
            model_name='memorybatch',
            name='lease_until',
            field=models.DateTimeField(null=True, verbose_name='leased until'),
        ),
        migrations.AlterField(
            model_name='memorybatch',
            name='policy',
            field=models.JSONField(verbose_name='memory policy'),
        ),
        migrations.AlterField(
            model_name='memorybatch',
            name='session_id',
            field=models.UUIDField(editable=False, verbose_name='session'),
        ),
        migrations.AlterField(
            model_name='memorybatch',
            name='state',
            field=models.CharField(choices=[('claimed', 'waiting'), ('done', 'done'), ('failed', 'failed')], default='claimed', max_length=8, verbose_name='state'),
        ),
        migrations.AlterField(
            model_name='memorybatch',
            name='subject_id',
            field=models.UUIDField(editable=False, verbose_name='subject of memory'),
        ),
        migrations.AlterField(
            model_name='memoryline',
            name='batch_id',
            field=models.UUIDField(null=True, verbose_name='order'),
        ),
        migrations.AlterField(
            model_name='memoryline',
            name='done',
            field=models.BooleanField(default=False, verbose_name='summarised'),
        ),
        migrations.AlterField(
            model_name='memoryline',
            name='role',
            field=models.CharField(max_length=16, verbose_name='role'),
        ),
        migrations.AlterField(
            model_name='memoryline',
            name='said_at',
            field=models.DateTimeField(verbose_name='time'),
        ),
        migrations.AlterField(
            model_name='memoryline',
            name='seq',
            field=models.BigIntegerField(verbose_name='place'),
        ),
        migrations.AlterField(
            model_name='memoryline',
            name='session_id',
            field=models.UUIDField(editable=False, verbose_name='session'),
        ),
        migrations.AlterField(
            model_name='memoryline',
            name='subject_id',
            field=models.UUIDField(editable=False, verbose_name='subject of memory'),
        ),
        migrations.AlterField(
            model_name='memoryline',
            name='tokens',
            field=models.IntegerField(verbose_name='tokens'),
        ),
        migrations.AlterField(
            model_name='summary',
            name='by_model',
            field=models.BooleanField(default=False, verbose_name='by a model'),
        ),
        migrations.AlterField(
            model_name='summary',
            name='created',
            field=models.DateTimeField(verbose_name='time'),
        ),
        migrations.AlterField(
            model_name='summary',
            name='embedder',
            field=models.CharField(default='', max_length=120, verbose_name='embedder'),
        ),
        migrations.AlterField(
            model_name='summary',
            name='first_seq',
            field=models.BigIntegerField(verbose_name='from'),
        ),
        migrations.AlterField(
            model_name='summary',
            name='last_seq',
            field=models.BigIntegerField(verbose_name='to'),
        ),
        migrations.AlterField(
            model_name='summary',
            name='lines',
            field=models.IntegerField(verbose_name='lines'),
        ),
        migrations.AlterField(
            model_name='summary',
            name='session_id',
            field=models.UUIDField(editable=False, verbose_name='session'),
        ),
        migrations.AlterField(
            model_name='summary',
            name='subject_id',
            field=models.UUIDField(editable=False, verbose_name='subject of memory'),
        ),
        migrations.AlterField(
            model_name='summary',
            name='superseded_by',
            field=models.UUIDField(null=True, verbose_name='replaced by'),
        ),
    ]
