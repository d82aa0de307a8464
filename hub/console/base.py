"""What all admin pages share: permissions by rank, cheap lists, tenant filled in, columns that are drawn."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib import admin
from django.contrib.admin.utils import flatten
from django.db import models
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils import formats
from django.utils.functional import cached_property
from django.utils.text import capfirst
from django.utils.timezone import localtime
from django.utils.translation import gettext_lazy as _
from unfold import paginator
from unfold.admin import ModelAdmin

from hub.console.decorators import display
from hub.console.drawing import DASH
from hub.console.keyset import KeysetChangeList
from hub.console.site import site
from hub.console.tenancy import seat
from tenants.context import current_tenant
from tenants.members import Rank
from tenants.owned import TenantOwned

if TYPE_CHECKING:
    Form = forms.ModelForm[Any]
else:
    Form = forms.ModelForm  # generic in the stubs only

MOST_PAGES = 200
"""Lists are for looking around; what is further back is found by filters."""


class InfinitePaginator(paginator.InfinitePaginator):  # type: ignore[misc]  # the theme looks at this very name
    """Never counts, and never skips over more rows than a person would leaf through."""

    @cached_property
    def count(self) -> int:
        """An upper bound, as if every page were full."""
        return int(self.per_page) * MOST_PAGES


def capitalise(form: forms.BaseForm) -> None:
    """Labels of declared fields as Django writes those of model fields."""
    for field in form.fields.values():
        field.label = capfirst(str(field.label)) if field.label else field.label


class ConsoleAdmin(ModelAdmin):  # type: ignore[misc]
    """An admin page of one model. Ranks say who may; None is nobody. Staff who read all tenants change nothing."""

    view_rank: ClassVar[Rank] = Rank.VIEWER
    add_rank: ClassVar[Rank | None] = None
    change_rank: ClassVar[Rank | None] = None
    delete_rank: ClassVar[Rank | None] = None
    platform: ClassVar[bool] = False
    """Belongs to no tenant, so it may be changed while all tenants are in view."""
    list_defer: ClassVar[Sequence[str]] = ()
    intro: ClassVar[Any] = ""
    """What the list is about, in a sentence above it."""

    list_per_page = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    empty_value_display = DASH
    paginator = InfinitePaginator
    list_disable_select_all = True
    list_filter_sheet = False
    list_fullwidth = True
    compressed_fields = True
    save_as_continue = True
    sortable_by = ()
    """An ordering without an index reads a tenant's whole table: lists keep the one that they have."""

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[KeysetChangeList]:
        """Pages by keyset."""
        return KeysetChangeList

    def fetched(self, request: HttpRequest, rows: Sequence[Any]) -> None:
        """Called with the rows of a page, for what a list shows of other tables: one query for all of them."""

    def page_title(self, row: Any) -> str:
        """What the page of a row is called in its heading."""
        return str(row)

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Shown to whoever may look."""
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """By rank; the database narrows the rows."""
        seated = seat(request)
        return seated is not None and seated.rank >= self.view_rank

    def has_add_permission(self, request: HttpRequest) -> bool:
        """By rank."""
        return self._may(request, self.add_rank)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """By rank."""
        return self._may(request, self.change_rank)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """By rank."""
        return self._may(request, self.delete_rank)

    def _may(self, request: HttpRequest, rank: Rank | None) -> bool:
        seated = seat(request)
        if seated is None or rank is None:
            return False
        return seated.rank >= rank if self.platform else seated.may(rank)

    @property
    def is_owned(self) -> bool:
        """Whether rows belong to tenants."""
        return issubclass(self.model, TenantOwned)

    def get_list_display(self, request: HttpRequest) -> list[str]:
        """With the tenant in front while all of them are in view."""
        columns = list(super().get_list_display(request))
        return [columns[0], "whose", *columns[1:]] if self.is_owned and not _in_tenant(request) else columns

    @display(description=_("tenant"))
    def whose(self, obj: Any) -> str:
        """The tenant that a row belongs to."""
        return str(obj.tenant.name)

    def get_list_select_related(self, request: HttpRequest) -> Sequence[str]:
        """With the tenant, where it is shown."""
        related = list(self.list_select_related or ())
        return [*related, "tenant"] if self.is_owned and not _in_tenant(request) else related

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Lists leave sealed cells and long texts where they are."""
        rows: QuerySet[Any] = super().get_queryset(request)
        match = request.resolver_match
        if match is None or not str(match.url_name).endswith("_changelist"):
            return rows
        sealed = [field.name for field in self.opts.fields if isinstance(field, models.BinaryField | models.JSONField)]
        return rows.defer(*sealed, *self.list_defer)

    def get_ordering(self, request: HttpRequest) -> Sequence[str]:
        """By the index of the tenant, or by id, which is time, over all of them."""
        ordering: Sequence[str] = super().get_ordering(request)
        return ordering if _in_tenant(request) or not self.is_owned else ("-id",)

    def get_exclude(self, request: HttpRequest, obj: Model | None = None) -> list[str]:
        """The tenant is never chosen in a form."""
        return [*(super().get_exclude(request, obj) or ()), "tenant"] if self.is_owned else []

    def save_model(self, request: HttpRequest, obj: Any, form: Form, change: bool) -> None:  # noqa: FBT001
        """As Django, for the current tenant."""
        if self.is_owned and not change:
            obj.tenant_id = current_tenant()
        super().save_model(request, obj, form, change)


class ReadOnlyAdmin(ConsoleAdmin):
    """Rows that only the hub writes: every field shown, nothing editable."""

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> Sequence[Any]:
        """All but sealed cells and the tenant."""
        if self.fields:
            return self.fields  # type: ignore[no-any-return]
        return [
            field.name
            for field in self.opts.fields
            if not isinstance(field, models.BinaryField) and field.name != "tenant" and _is_plain(field)
        ]

    def page_title(self, row: Any) -> str:
        """When it was made: what the hub writes has no name."""
        made = getattr(row, "created", None) or getattr(row, "created_at", None)
        if not made:
            return str(row)
        this_year = localtime(made).year == localtime().year
        return formats.date_format(localtime(made), "m-d H:i:s" if this_year else "Y-m-d H:i:s")

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> Sequence[Any]:
        """All of them, out of their rows."""
        return flatten(list(self.get_fields(request, obj)))


class ChoiceFilter(admin.SimpleListFilter):
    """Filter over the values of a field, written out, so that no query asks for distinct values."""

    field: ClassVar[str] = ""
    options: ClassVar[Iterable[tuple[str, Any]]] = ()

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """The values."""
        return list(self.options)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The rows with the chosen value."""
        value = self.value()
        return queryset.filter(**{self.field: value}) if value else queryset


def _in_tenant(request: HttpRequest) -> bool:
    seated = seat(request)
    return seated is not None and seated.tenant_id is not None


def _is_plain(field: Any) -> bool:
    return type(field).__name__ not in ("HalfVectorField", "VectorField")


__all__ = [
    "ChoiceFilter",
    "ConsoleAdmin",
    "Form",
    "InfinitePaginator",
    "Rank",
    "ReadOnlyAdmin",
    "_",
    "capitalise",
    "site",
]
