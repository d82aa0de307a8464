"""Live tests: a model is really asked, a platform really called, over the same guarded way out as in a turn.

Each has a time limit below what a page may take, and an error says in plain words what to do.
"""

import asyncio
import time
from dataclasses import dataclass
from typing import Any, Final

from asgiref.sync import async_to_sync
from django.conf import settings
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from agents.errors import ProviderError
from agents.providers import providers
from agents.providers.base import ChatRequest, Grounds
from agents.types import ChatMessage, ModelRoute
from channels_adapters.base import ChannelAdapter, Http, HttpResponse, Scope
from channels_adapters.errors import (
    ChannelError,
    CredentialsRevoked,
    NotConnected,
    OutcomeUnknown,
    RateLimited,
    Unavailable,
)
from channels_adapters.registry import adapter_type
from hub.console.words import PROBES
from hub.egress import Egress, Refused
from hub.models import Connection

SECONDS: Final = 20.0
TOKENS: Final = 200
SHOWN: Final = 300


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of a test. `answer` is what the other side said, `remedy` what to do about a failure."""

    ok: bool
    answer: str
    remedy: str = ""
    detail: str = ""
    first_ms: float = 0.0
    whole_ms: float = 0.0
    tokens: int = 0


def ask_model(route: ModelRoute) -> Asked:
    """Ask the model for one sentence."""
    return async_to_sync(_ask_model)(route)


async def _ask_model(route: ModelRoute) -> Asked:
    question = _("Greet me in one short sentence.")
    request = ChatRequest(
        messages=[ChatMessage(role="user", text=question)],
        grounds=Grounds(query=question, language=get_language() or "en"),
        max_tokens=route.max_tokens or TOKENS,
    )
    started = time.perf_counter()
    first: list[float] = []
    try:
        async with asyncio.timeout(SECONDS), Egress(allow=settings.HUB_ENV.egress_allow) as egress:
            provider = providers(egress.models)[route.provider]
            done = await provider.chat(route, request, lambda _text: first.append(time.perf_counter()))
    except ProviderError as fault:
        return _explained(fault)
    except TimeoutError:
        return Asked(ok=False, answer=_("The model did not answer within 20 seconds."), remedy=_patience())
    whole = (time.perf_counter() - started) * 1000
    return Asked(
        ok=True,
        answer=done.text.strip()[:SHOWN],
        first_ms=(first[0] - started) * 1000 if first else whole,
        whole_ms=whole,
        tokens=done.input_tokens + done.output_tokens,
    )


def _patience() -> str:
    return _("Check the address, and whether the model is still being loaded.")


def _explained(fault: ProviderError) -> Asked:
    detail = f"{fault.status or ''} {fault.detail}".strip()[:SHOWN]
    if (refused := _refused(fault)) is not None:
        return _closed(refused)
    answer, remedy = _words(fault)
    return Asked(ok=False, answer=answer, remedy=remedy, detail=detail)


def _closed(refused: Refused) -> Asked:
    return Asked(
        ok=False,
        answer=_("The hub does not connect to this address: %(reason)s") % {"reason": refused},
        remedy=_(
            "Addresses inside the network are closed to tenants; who runs the hub can open one: HUB_EGRESS_ALLOW."
        ),
    )


def _words(fault: ProviderError) -> tuple[str, str]:
    if fault.status == 404:
        return _("There is no such model, or no such address."), _(
            "The address usually ends in /v1; the model's name must be written exactly as the provider does."
        )
    words = {
        "auth": (
            _("The model refused the API key."),
            _("Check that the key is whole, still valid, and that the account has credit."),
        ),
        "rate_limited": (_("The model asks for patience: too many requests."), _("Wait a minute and test again.")),
        "overloaded": (_("The model is overloaded."), _("Try again shortly, or add a fall-back model.")),
        "timeout": (_("The model did not answer in time."), _patience()),
        "unavailable": (
            _("The model could not be reached."),
            _("Check the address for typing errors, and that the server runs and can be reached from here."),
        ),
        "broken_stream": (
            _("The answer could not be read: this does not speak OpenAI's protocol."),
            _("The address should be the one under which /chat/completions is found."),
        ),
        "content": (_("The provider's filter refused the test sentence."), _("Try another model.")),
    }
    other = (_("The model refused the request."), _("Check the model's name and settings."))
    return words.get(fault.kind, other)


class _Line:
    """The way out of one test. It remembers what went wrong on it: an adapter only says that it did not work."""

    def __init__(self, http: Http) -> None:
        self._http = http
        self.fault: ChannelError | None = None

    async def request(self, method: str, url: str, **options: Any) -> HttpResponse:
        """As the way out itself."""
        try:
            answer = await self._http.request(method, url, **options)
        except ChannelError as error:
            self.fault = error
            raise
        if answer.status >= 500:
            self.fault = Unavailable(f"HTTP {answer.status}", status=answer.status)
        return answer


def ask_platform(row: Connection, values: dict[str, Any]) -> Asked:
    """Ask the platform who we are with these credentials."""
    return async_to_sync(_ask_platform)(row, values)


async def _ask_platform(row: Connection, values: dict[str, Any]) -> Asked:
    kind = adapter_type(row.channel)
    if kind.probe is ChannelAdapter.probe:
        return Asked(ok=True, answer=_("The settings are complete. This channel has nobody to ask."))
    scope = Scope(connection_id=str(row.id), public_id=row.public_id, name=row.name)
    started = time.perf_counter()
    try:
        async with asyncio.timeout(SECONDS), Egress(allow=settings.HUB_ENV.egress_allow) as egress:
            line = _Line(egress.http)
            adapter = kind(kind.credentials_type(**values), http=line, keys=egress.keys, scope=scope)
            answer = await adapter.probe()
    except (ChannelError, TimeoutError) as error:
        return _platform_error(error)
    took = (time.perf_counter() - started) * 1000
    if not answer.ok:
        return _platform_error(line.fault) if line.fault is not None else _platform_words(answer.detail)
    text = _("It works: %(detail)s") % {"detail": PROBES.get(answer.detail, answer.detail)}
    return Asked(ok=True, answer=text, detail=answer.identity, whole_ms=took)


def _platform_error(error: Exception) -> Asked:
    detail = str(getattr(error, "detail", ""))[:SHOWN]
    if (refused := _refused(error)) is not None:
        return _closed(refused)
    if isinstance(error, CredentialsRevoked):
        return _platform_words(detail)
    if isinstance(error, NotConnected):
        return Asked(ok=False, answer=_("The platform could not be reached."), remedy=_reach(), detail=detail)
    if isinstance(error, RateLimited):
        return Asked(ok=False, answer=_("The platform asks for patience."), remedy=_("Wait a minute and test again."))
    if isinstance(error, OutcomeUnknown | TimeoutError):
        return Asked(ok=False, answer=_("The platform did not answer in time."), remedy=_reach(), detail=detail)
    return Asked(
        ok=False, answer=_("The platform answered with an error."), remedy=_("Try again shortly."), detail=detail
    )


def _reach() -> str:
    return _("Check api base where one is set, and that the hub may connect to the outside.")


def _platform_words(detail: str) -> Asked:
    return Asked(
        ok=False,
        answer=_("The platform refused these credentials."),
        remedy=_("Copy the token once more from the platform's own page, without blanks, and test again."),
        detail=detail[:SHOWN],
    )


def _refused(error: BaseException) -> Refused | None:
    """The egress policy's refusal behind an error, however deep."""
    seen: BaseException | None = error
    for _depth in range(10):
        if seen is None or isinstance(seen, Refused):
            return seen
        inner = getattr(seen, "os_error", None)
        seen = inner if isinstance(inner, BaseException) else seen.__cause__ or seen.__context__
    return None


def can_install(kind: type[ChannelAdapter[Any]]) -> bool:
    """Whether the platform lets us register the webhook ourselves."""
    return kind.install is not ChannelAdapter.install


def install_webhook(row: Connection, values: dict[str, Any], address: str) -> Asked:
    """Register the webhook with the platform."""
    return async_to_sync(_install)(row, values, address)


async def _install(row: Connection, values: dict[str, Any], address: str) -> Asked:
    kind = adapter_type(row.channel)
    scope = Scope(connection_id=str(row.id), public_id=row.public_id, name=row.name)
    try:
        async with asyncio.timeout(SECONDS), Egress(allow=settings.HUB_ENV.egress_allow) as egress:
            adapter = kind(kind.credentials_type(**values), http=egress.http, keys=egress.keys, scope=scope)
            said = await adapter.install(address)
    except (ChannelError, TimeoutError) as error:
        return _platform_error(error)
    return Asked(ok=True, answer=_("Registered: the platform now sends messages here."), detail=said)
