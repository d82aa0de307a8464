"""Visitors' files for those who work in the tenant: `/admin/uploads/<id>`, behind the console's login and scope."""

from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from hub.edges.files import SAFE, disposition
from hub.models import Upload, UploadStatus
from hub.pipeline.reading import upload_data, upload_name


@require_safe
def stored_file(request: HttpRequest, upload_id: UUID) -> HttpResponse:
    """The file, whole: at most 50 MiB, since no page may read rows once its tenant's scope is left."""
    seat = getattr(request, "seat", None)
    if seat is None or seat.tenant_id is None:
        raise Http404
    row = Upload.objects.filter(pk=upload_id, status=UploadStatus.READY).first()
    data = None if row is None else upload_data(row)
    if row is None or data is None:
        raise Http404
    response = HttpResponse(data, content_type=row.media_type)
    inline = row.media_type.startswith("image/")
    response["Content-Disposition"] = disposition(upload_name(row), inline=inline)
    response["Cache-Control"] = "private, no-store"
    for name, value in SAFE:
        response[name.decode()] = value.decode()
    return response
