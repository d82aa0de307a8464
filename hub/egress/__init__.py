"""The one way out: every address a tenant can set is resolved once, checked, and connected to as checked.

A name is refused when any of its answers is bad, a literal address is checked like an answer, and the socket itself is
made only for an address that passed (so a later look-up cannot change it). Redirects are followed by hand and checked
again; no proxy setting of the environment counts. `HUB_EGRESS_ALLOW` is the operator's list of exceptions.
"""

from hub.egress.client import Egress, RedirectRefused
from hub.egress.http import GuardedHttp
from hub.egress.keys import Keys
from hub.egress.policy import Policy, Refused, is_forbidden

__all__ = ["Egress", "GuardedHttp", "Keys", "Policy", "RedirectRefused", "Refused", "is_forbidden"]
