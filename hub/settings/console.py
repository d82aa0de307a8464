"""How the admin looks. Colours are a calm blue; everything is served by the hub itself."""

from typing import Any

from django.templatetags.static import static
from django.utils.translation import gettext_lazy as _

UNFOLD: dict[str, Any] = {
    "SITE_TITLE": _("Agent hub"),
    "SITE_HEADER": _("Agent hub"),
    "SITE_SUBHEADER": _("Console"),
    "SITE_SYMBOL": "hub",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": lambda _request: static("chat/icon.svg")}],
    "SITE_URL": "/",
    "SITE_DROPDOWN": [{"icon": "api", "title": _("API documentation"), "link": "/api/docs/"}],
    "SHOW_HISTORY": False,
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_BACK_BUTTON": True,
    "SHOW_LANGUAGES": True,
    "BORDER_RADIUS": "8px",
    "SCRIPTS": [lambda _request: static("console/console.js"), lambda _request: static("console/trace.js")],
    "STYLES": [lambda _request: static("console/console.css"), lambda _request: static("console/trace.css")],
    "SIDEBAR": {"show_search": False, "show_all_applications": False, "navigation": []},
    "COLORS": {
        "primary": {
            "50": "#eef5ff",
            "100": "#d9e8ff",
            "200": "#bbd6ff",
            "300": "#8cbcff",
            "400": "#5698fb",
            "500": "#3b82f6",
            "600": "#1d5fd6",
            "700": "#194bae",
            "800": "#1a418b",
            "900": "#1b386e",
            "950": "#142448",
        }
    },
}
