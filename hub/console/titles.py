"""Lists whose rows belong to conversations name them by their titles, not by ids."""

from collections.abc import Sequence
from typing import Any

from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from hub.console.decorators import display
from hub.console.drawing import link
from hub.models import Session
from hub.pipeline.reading import session_title
from tenants.context import current


class NamedSessions:
    """The column `shown_session` of rows with a `session_id`: one query for a page's titles."""

    def fetched(self, request: HttpRequest, rows: Sequence[Any]) -> None:
        """Titles, for those who work in the tenant."""
        del request
        if current().tenant_id is None:
            return
        wanted = {row.session_id for row in rows if row.session_id}
        found = Session.objects.filter(id__in=wanted).only("id", "tenant_id", "title") if wanted else ()
        titles = {one.id: session_title(one) for one in found}
        for row in rows:
            row.session_words = titles.get(row.session_id, "")

    @display(description=_("session"))
    def shown_session(self, obj: Any) -> SafeString | str:
        """Its conversation."""
        if not hasattr(obj, "session_words"):
            self.fetched(None, [obj])  # type: ignore[arg-type]
        return link("hub_session", obj.session_id, getattr(obj, "session_words", ""))
