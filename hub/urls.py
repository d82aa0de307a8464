"""Pages and REST on stock Django; the hot doors are mounted in front of it by `hub.asgi`."""

from django.templatetags.static import static
from django.urls import include, path
from django.views.generic import RedirectView
from django.views.i18n import set_language

from hub.console.admin import site
from hub.console.chat_page import chat_page, widget
from hub.edges.operator_files import stored_file

handler500 = "hub.console.broken.broken"

urlpatterns = [
    path("", chat_page, name="chat"),
    path("chat/<str:public_id>", chat_page, name="chat-of"),
    path("widget.js", widget, name="widget"),
    path("favicon.ico", RedirectView.as_view(url=static("chat/icon.svg"))),
    path("admin/uploads/<uuid:upload_id>", site.admin_view(stored_file), name="upload"),
    path("admin/", site.urls),
    path("api/", include("hub.edges.rest.urls")),
    path("i18n/setlang/", set_language, name="set_language"),
]
