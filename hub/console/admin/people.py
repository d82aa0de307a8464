"""Contacts and persons."""

from django.utils.safestring import SafeString

from hub.console.base import ConsoleAdmin, Rank, ReadOnlyAdmin, _, site
from hub.console.decorators import display
from hub.console.drawing import DASH, badge, short
from hub.models import Contact, Person
from hub.pipeline.reading import contact_name
from hub.templatetags.turns import moment
from tenants.context import current


class ContactAdmin(ConsoleAdmin):
    """People as connections know them. The newest first; a blocked one gets no answers."""

    change_rank = Rank.OPERATOR
    intro = _("People as your connections know them. Who is blocked gets no answer.")
    list_display = ("shown", "connection", "shown_blocked", "first_seen")
    list_select_related = ("connection",)
    fields = ("shown", "connection", "person", "blocked", "first_seen")
    readonly_fields = ("shown", "connection", "person", "first_seen")
    ordering = ("-id",)

    def get_queryset(self, request: object) -> object:  # type: ignore[override]
        """Names are shown, so they are read; they are short."""
        rows = super().get_queryset(request)  # type: ignore[arg-type]
        return rows.defer(None).defer("external").select_related("connection").defer("external", "connection__secrets")

    def page_title(self, row: Contact) -> str:
        """The name."""
        return self.shown(row)

    @display(description=_("blocked"))
    def shown_blocked(self, obj: Contact) -> SafeString | str:
        """Only who is."""
        return badge("bad", _("blocked")) if obj.blocked else DASH

    @display(description=_("first seen"))
    def first_seen(self, obj: Contact) -> SafeString | str:
        """When this person first wrote."""
        return moment(obj.created)

    @display(description=_("name"))
    def shown(self, obj: Contact) -> str:
        """The name, for those who work in the tenant."""
        name = contact_name(obj) if current().tenant_id else ""
        return name or f"…{str(obj.id)[-8:]}"


class PersonAdmin(ReadOnlyAdmin):
    """Humans behind contacts."""

    intro = _("Humans behind several contacts: one who is known by two channels remembers as one.")
    list_display = ("shown", "created")
    fields = ("shown", "created")
    ordering = ("-id",)

    @display(description=_("person"))
    def shown(self, obj: Person) -> str:
        """The end of the id: names are the contacts'."""
        return short(obj.id)


site.register(Contact, ContactAdmin)
site.register(Person, PersonAdmin)
