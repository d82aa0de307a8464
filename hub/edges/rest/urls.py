"""The addresses below /api/."""

from django.urls import include, path, re_path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView
from rest_framework.permissions import AllowAny
from rest_framework.routers import SimpleRouter

from hub.edges.rest import views
from hub.edges.rest.problems import unknown_path

router = SimpleRouter()
router.register("sessions", views.Sessions, basename="session")
router.register("turns", views.Turns, basename="turn")
router.register("deliveries", views.Deliveries, basename="delivery")
router.register("connections", views.Connections, basename="connection")
router.register("agents", views.Agents, basename="agent")
router.register("keys", views.ApiKeys, basename="key")

open_to_all = {"permission_classes": [AllowAny], "authentication_classes": []}
urlpatterns = [
    path("v1/", include(router.urls)),
    path("v1/tenant/", views.TenantInfo.as_view(), name="tenant"),
    path("v1/quotas/", views.Quotas.as_view(), name="quotas"),
    path("v1/usage/", views.UsageByDay.as_view(), name="usage"),
    path("schema/", SpectacularAPIView.as_view(**open_to_all), name="schema"),
    path("docs/", SpectacularSwaggerView.as_view(url_name="schema", **open_to_all), name="docs"),
    re_path(r"^(?P<rest>.*)$", unknown_path),
]
