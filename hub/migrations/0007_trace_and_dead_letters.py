"""What a turn's trace keeps sealed, and indexes by which an operator finds what went wrong.

The indexes are partial: a message that is answered and delivered never touches them.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [('hub', '0005_turn_journal')]

    operations = [
        migrations.AddField(
            model_name='turn',
            name='tool_texts',
            field=models.BinaryField(editable=False, null=True),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(
                fields=['tenant', '-created', '-id'],
                condition=models.Q(status__in=['dead', 'unknown', 'skipped']),
                name='delivery_letters',
            ),
        ),
        migrations.AddIndex(
            model_name='turn',
            index=models.Index(
                fields=['tenant', '-created', '-id'],
                condition=models.Q(status__in=['dead', 'failed']),
                name='turn_wrong',
            ),
        ),
        migrations.AddIndex(
            model_name='event',
            index=models.Index(
                fields=['turn_id'], condition=models.Q(turn_id__isnull=False), name='event_of_turn'
            ),
        ),
    ]
