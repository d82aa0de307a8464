"""Pages and REST on stock Django; the hot doors are mounted in front of it by `hub.asgi`."""

from django.urls import path
from django.views.i18n import set_language

import hub.console.admin  # noqa: F401 (registers the admin's pages)
from hub.console.chat_page import chat_page
from hub.console.site import site

urlpatterns = [
    path("", chat_page, name="chat"),
    path("chat/<str:public_id>", chat_page, name="chat-of"),
    path("admin/", site.urls),
    path("i18n/setlang/", set_language, name="set_language"),
]
