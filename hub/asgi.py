"""What ASGI servers load: `hub.asgi:application`, or `hub.asgi:probes` where turns run and nobody knocks."""

import django
from django.core.asgi import get_asgi_application

from hub.env import select_settings

select_settings()
django.setup(set_prefix=False)

from hub.edges.probes import Counted, Probes  # noqa: E402 (reads models and settings, so Django comes first)
from hub.edges.root import Root  # noqa: E402

application = Counted(Root(get_asgi_application()))
probes = Counted(Probes(application))
