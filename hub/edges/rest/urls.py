"""The addresses below /api/."""

from django.urls import include, path, re_path
from rest_framework.routers import SimpleRouter

from hub.edges.rest.pages_served import docs, schema
from hub.edges.rest.problems import unknown_path
from hub.edges.rest.views import account, conversations, people, setup

router = SimpleRouter()
router.register("sessions", conversations.Sessions, basename="session")
router.register("turns", conversations.Turns, basename="turn")
router.register("deliveries", conversations.Deliveries, basename="delivery")
router.register("events", conversations.Events, basename="event")
router.register("contacts", people.Contacts, basename="contact")
router.register("persons", people.Persons, basename="person")
router.register("subjects", people.Subjects, basename="subject")
router.register("connections", setup.Connections, basename="connection")
router.register("agents", setup.Agents, basename="agent")
router.register("keys", account.ApiKeys, basename="key")

urlpatterns = [
    path("v1/", include(router.urls)),
    path("v1/tenant/", account.TenantInfo.as_view(), name="tenant"),
    path("v1/quotas/", account.Quotas.as_view(), name="quotas"),
    path("v1/usage/", account.UsageByDay.as_view(), name="usage"),
    path("schema/", schema, name="schema"),
    path("docs/", docs, name="docs"),
    re_path("", unknown_path),
]
