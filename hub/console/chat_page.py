"""The chat page and the script of the widget: one element, served by the hub, nothing from anywhere else."""

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.cache import get_conditional_response, patch_vary_headers
from django.utils.translation import get_language
from django.views.decorators.http import require_safe
from pydantic import ValidationError

from channels_adapters.platforms.web import WebCredentials
from hub.models import Connection
from hub.pipeline.connections import open_credentials
from hub.pipeline.reading import vault
from tenants.context import ops_scope, tenant_scope
from tenants.errors import TenantsError
from tenants.models import Tenant

DEMO: Final = "demo"
PICTURES: Final = "img-src 'self' data: blob:"
POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        PICTURES,
        "connect-src 'self'",
        "require-trusted-types-for 'script'",
        "form-action 'none'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
BUILT: Final = Path(__file__).resolve().parent.parent / "static" / "chat" / "widget.js"
SOME_MINUTES: Final = "public, max-age=300, stale-while-revalidate=86400"
FOR_EVER: Final = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class Script:
    """The built widget as it is sent."""

    plain: bytes
    packed: bytes
    version: str


@cache
def script() -> Script:
    """The widget's script, read once: an upgrade starts new processes."""
    plain = BUILT.read_bytes()
    return Script(plain, gzip.compress(plain, 9, mtime=0), hashlib.sha256(plain).hexdigest()[:20])


@require_safe
def widget(request: HttpRequest) -> HttpResponse:
    """`/widget.js`, for pages of any site: it says nothing about anybody. For ever under the address of its version."""
    built = script()
    packed = "gzip" in request.headers.get("Accept-Encoding", "")
    etag = f'"{built.version}{"-gzip" if packed else ""}"'
    answer = HttpResponse(built.packed if packed else built.plain, content_type="text/javascript; charset=utf-8")
    if packed:
        answer["Content-Encoding"] = "gzip"
    answer["ETag"] = etag
    answer["Cache-Control"] = FOR_EVER if request.GET.get("v") == built.version else SOME_MINUTES
    answer["Access-Control-Allow-Origin"] = "*"
    answer["Cross-Origin-Resource-Policy"] = "cross-origin"
    patch_vary_headers(answer, ("Accept-Encoding",))
    found = get_conditional_response(request, etag=etag, response=answer)
    return found if isinstance(found, HttpResponse) else answer


@require_safe
def chat_page(request: HttpRequest, public_id: str = "") -> HttpResponse:
    """The page of a web connection, of the demo's where none is named. Whether it may be used, the socket decides."""
    wanted = public_id or demo_public_id()
    opener, remote_images = _told(wanted, request)
    context = {
        "public_id": wanted,
        "opener": opener,
        "language": get_language() or "en",
        "script": f"{reverse('widget')}?v={script().version}",
    }
    response = TemplateResponse(request, "chat/page.html", context)
    response["Content-Security-Policy"] = POLICY.replace(PICTURES, f"{PICTURES} https:") if remote_images else POLICY
    response["Cache-Control"] = "no-cache"
    if opener:
        # Else the browser would part the window from the one that opened it, which hands its visitor over.
        response["Cross-Origin-Opener-Policy"] = "unsafe-none"
    return response


def _told(public_id: str, request: HttpRequest) -> tuple[str, bool]:
    """The origin of the page that opened this one, where it may show the chat too; whether remote images are shown."""
    with ops_scope("a chat page's options"):
        row = Connection.objects.filter(channel="web", public_id=public_id, status="active").first()
    options = _options(row) if row is not None else None
    if row is None or options is None:
        return "", False  # the chat itself is not available then, and says so
    parts = urlsplit(request.headers.get("Referer", ""))
    origin = f"{parts.scheme}://{parts.netloc}".lower()
    foreign = parts.scheme in ("http", "https") and parts.netloc != request.get_host()
    allowed = {entry.lower().rstrip("/") for entry in row.allowed_origins} | options.origins
    return (origin if foreign and ("*" in allowed or origin in allowed) else ""), options.remote_images


def _options(row: Connection) -> WebCredentials | None:
    try:
        with tenant_scope(row.tenant_id):
            return WebCredentials.model_validate(open_credentials(vault(), row))
    except (TenantsError, ValidationError):
        return None


def demo_public_id() -> str:
    """The demo tenant's web connection, empty on a hub that was never seeded."""
    with ops_scope("the demo's chat page"):
        tenant = Tenant.objects.filter(slug=DEMO).values_list("id", flat=True).first()
        if tenant is None:
            return ""
        rows = Connection.objects.filter(tenant_id=tenant, channel="web", status="active")
        return str(rows.order_by("id").values_list("public_id", flat=True).first() or "")
