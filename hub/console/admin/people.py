"""Contacts and persons."""

from hub.console.base import ConsoleAdmin, Rank, ReadOnlyAdmin, _, site
from hub.console.decorators import display
from hub.models import Contact, Person
from hub.pipeline.reading import contact_name
from tenants.context import current


class ContactAdmin(ConsoleAdmin):
    """People as connections know them. The newest first; a blocked one gets no answers."""

    change_rank = Rank.OPERATOR
    list_display = ("shown", "connection", "blocked", "created")
    list_select_related = ("connection",)
    fields = ("shown", "connection", "person", "blocked", "created")
    readonly_fields = ("shown", "connection", "person", "created")
    ordering = ("-id",)

    def get_queryset(self, request: object) -> object:  # type: ignore[override]
        """Names are shown, so they are read; they are short."""
        rows = super().get_queryset(request)  # type: ignore[arg-type]
        return rows.defer(None).defer("external").select_related("connection").defer("external", "connection__secrets")

    @display(description=_("name"))
    def shown(self, obj: Contact) -> str:
        """The name, for those who work in the tenant."""
        name = contact_name(obj) if current().tenant_id else ""
        return name or f"…{str(obj.id)[-8:]}"


class PersonAdmin(ReadOnlyAdmin):
    """Humans behind contacts."""

    list_display = ("id", "created")
    ordering = ("-id",)


site.register(Contact, ContactAdmin)
site.register(Person, PersonAdmin)
