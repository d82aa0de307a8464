"""The events of one delivery are asked for by the console and by REST; few events are about a delivery."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = (("hub", "0009_uploads"),)
    operations = (
        migrations.AddIndex(
            model_name="event",
            index=models.Index(
                fields=["delivery_id"], condition=models.Q(delivery_id__isnull=False), name="event_of_delivery"
            ),
        ),
    )
