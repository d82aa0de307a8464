"""Pages and REST on stock Django; the hot doors are mounted in front of it by `hub.asgi`."""

from django.contrib import admin
from django.urls import path

urlpatterns = [path("admin/", admin.site.urls)]
