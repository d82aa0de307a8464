"""Lists that stay fast however long they are: pages by keyset, no count, no offset, no sorting by what has no index."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import ValidationError
from django.db.models import Field, Model, Q, QuerySet
from django.http import HttpRequest
from unfold.paginator import InfinitePaginator
from unfold.views import ChangeList

AFTER: Final = "after"
BEFORE: Final = "before"
_BETWEEN: Final = "~"
_IGNORED: Final = (AFTER, BEFORE, "o", "p", "all")
MOST_CURSOR: Final = 300


class KeysetPaginator(InfinitePaginator):  # type: ignore[misc]  # the theme looks at `template_name`
    """What the theme draws under a list; the pages themselves are links of the change list."""

    template_name = "console/keyset_pages.html"
    count = 0


class KeysetChangeList(ChangeList):  # type: ignore[misc]
    """A change list ordered by the first field of its ordering and the primary key; the cursor is a row's two values.

    Works with `-created`, `name` and the like. Fields that may be null stand where PostgreSQL puts them: first when
    descending, last when ascending.
    """

    newer = older = ""
    """Query strings of the pages before and after, empty where there is none."""

    def get_filters_params(self, params: Any = None) -> dict[str, Any]:
        """Without the cursor and without what Django's pages would ask for."""
        found = super().get_filters_params(params)
        return {name: value for name, value in found.items() if name not in _IGNORED}

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[str]:
        """One field and the primary key in the same direction."""
        name, descending = self._key(request)
        sign = "-" if descending else ""
        return [f"{sign}{name}"] if name == self.opts.pk.name else [f"{sign}{name}", f"{sign}{self.opts.pk.name}"]

    def get_results(self, request: HttpRequest) -> None:
        """One page, and whether there are rows on either side of it."""
        for name in _IGNORED:
            self.params.pop(name, None)
            self.filter_params.pop(name, None)
        name, descending = self._key(request)
        back, cursor = self._cursor(request, name)
        rows = self.queryset
        if (related := self.model_admin.get_list_select_related(request)) and not isinstance(related, bool):
            rows = rows.select_related(*related)  # Django leaves them out where the page's own rows are joined already
        if cursor is not None:
            rows = rows.filter(_beyond(name, self.opts.pk.name, cursor, smaller=descending != back))
        if back:
            rows = rows.reverse()
        found = list(rows[: self.list_per_page + 1])
        more = len(found) > self.list_per_page
        found = found[: self.list_per_page]
        if back:
            found.reverse()
        self._link(found, name, more=more, back=back, cursor=cursor)
        self.model_admin.fetched(request, found)
        self.result_list, self.result_count, self.full_result_count = found, len(found), len(found)
        self.can_show_all = self.multi_page = self.show_full_result_count = False
        self.show_admin_actions = bool(found)
        self.paginator = KeysetPaginator([], self.list_per_page)

    def _link(self, found: Sequence[Model], name: str, *, more: bool, back: bool, cursor: object) -> None:
        if not found:
            return
        if (cursor is not None and not back) or (back and more):
            self.newer = self.get_query_string({BEFORE: _written(found[0], name)})
        if more or back:
            self.older = self.get_query_string({AFTER: _written(found[-1], name)})

    def _key(self, request: HttpRequest) -> tuple[str, bool]:
        ordering = [*self.model_admin.get_ordering(request), *self.lookup_opts.ordering, "-pk"]
        first = str(ordering[0])
        name = first.removeprefix("-")
        return (self.opts.pk.name if name == "pk" else name), first.startswith("-")

    def _cursor(self, request: HttpRequest, name: str) -> tuple[bool, tuple[Any, Any] | None]:
        back = BEFORE in request.GET
        text = request.GET.get(BEFORE if back else AFTER, "")
        if not text:
            return False, None
        try:
            return back, _read(text, self.opts.get_field(name), self.opts.pk)
        except (ValueError, ValidationError) as error:
            raise IncorrectLookupParameters(error) from error


class SearchById:
    """Search of an admin by pasting an id: equality in indexed columns, nothing else."""

    search_fields: Sequence[str] = ("id",)
    id_columns: Sequence[str] = ("id",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], term: str
    ) -> tuple[QuerySet[Any], bool]:
        """The rows that carry this id; none for what is no id."""
        del request
        if not term.strip():
            return queryset, False
        try:
            ident = UUID(term.strip())
        except ValueError:
            return queryset.none(), False
        wanted = Q()
        for column in self.id_columns:
            wanted |= Q(**{column: ident})
        return queryset.filter(wanted), False


def _beyond(name: str, key: str, cursor: tuple[Any, Any], *, smaller: bool) -> Q:
    """Rows strictly behind the cursor in the walking direction."""
    value, ident = cursor
    way = "lt" if smaller else "gt"
    if name == key:
        return Q(**{f"{key}__{way}": ident})
    tied = Q(**{name: value, f"{key}__{way}": ident})
    if value is None:
        same = Q(**{f"{name}__isnull": True, f"{key}__{way}": ident})
        return same | Q(**{f"{name}__isnull": False}) if smaller else same
    # The plain bound lets the index start at the cursor; the pair decides among equals.
    bound = Q(**{f"{name}__{way}e": value}) & (Q(**{f"{name}__{way}": value}) | tied)
    return bound if smaller else bound | Q(**{f"{name}__isnull": True})


def _written(row: Model, name: str) -> str:
    value = getattr(row, row._meta.get_field(name).attname)  # type: ignore[union-attr]
    text = value.isoformat() if isinstance(value, datetime) else "" if value is None else str(value)
    return f"{text}{_BETWEEN}{row.pk}"


def _read(text: str, field: Any, key: "Field[Any, Any]") -> tuple[Any, Any]:
    value, between, ident = text[:MOST_CURSOR].rpartition(_BETWEEN)
    if not between:
        raise ValueError("not a cursor")
    read = None if not value and not field.empty_strings_allowed else field.to_python(value)
    return read, key.to_python(ident)
