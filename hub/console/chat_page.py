"""The chat page: one HTML document, its own style and modules, nothing from anywhere else."""

from typing import Final

from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import get_language
from django.views.decorators.http import require_safe

from hub.models import Connection
from tenants.context import ops_scope
from tenants.models import Tenant

DEMO: Final = "demo"
POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "form-action 'none'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)


@require_safe
def chat_page(request: HttpRequest, public_id: str = "") -> HttpResponse:
    """The page of a web connection, of the demo's where none is named. Whether it may be used, the socket decides."""
    context = {"public_id": public_id or demo_public_id(), "language": get_language() or "en"}
    response = TemplateResponse(request, "chat/page.html", context)
    response["Content-Security-Policy"] = POLICY
    response["Cache-Control"] = "no-cache"
    return response


def demo_public_id() -> str:
    """The demo tenant's web connection, empty on a hub that was never seeded."""
    with ops_scope("the demo's chat page"):
        tenant = Tenant.objects.filter(slug=DEMO).values_list("id", flat=True).first()
        if tenant is None:
            return ""
        rows = Connection.objects.filter(tenant_id=tenant, channel="web", status="active")
        return str(rows.order_by("id").values_list("public_id", flat=True).first() or "")
