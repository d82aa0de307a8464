"""Someone as one connection knows them, and the human behind several contacts."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from tenants.owned import TenantOwned


class Person(TenantOwned):
    """A human, known on one or more connections; memory follows the person."""

    created = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta(TenantOwned.Meta):
        db_table = "person"
        verbose_name = _("person")
        verbose_name_plural = _("people")


class Contact(TenantOwned):
    """Someone as one connection knows them. The id is a keyed hash of (connection, external id): no look-up needed."""

    id = models.UUIDField(primary_key=True, editable=False)
    connection = models.ForeignKey(
        "hub.Connection", verbose_name=_("connection"), on_delete=models.CASCADE, db_constraint=False, db_index=False
    )
    person = models.ForeignKey(
        Person,
        verbose_name=_("person"),
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        db_constraint=False,
        db_index=False,
    )
    external = models.BinaryField(editable=False)
    """Sealed external id on the platform (purpose `content`)."""
    name = models.BinaryField(editable=False, null=True)
    """Sealed display name."""
    blocked = models.BooleanField(_("blocked"), default=False)
    created = models.DateTimeField(auto_now_add=True)

    class Meta(TenantOwned.Meta):
        db_table = "contact"
        verbose_name = _("contact")
        verbose_name_plural = _("contacts")
