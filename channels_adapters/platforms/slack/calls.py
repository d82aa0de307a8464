"""One call of Slack's Web API and what its errors mean: https://docs.slack.dev/reference/methods"""

from collections.abc import Mapping

from channels_adapters import http as answers
from channels_adapters import reading
from channels_adapters.base import Http, HttpResponse
from channels_adapters.errors import (
    ChannelError,
    ContentRefused,
    CredentialsRevoked,
    OutcomeUnknown,
    RateLimited,
    RecipientGone,
    Unavailable,
    Unsupported,
)

API = "https://slack.com/api"
ERRORS: Mapping[str, type[ChannelError]] = {
    **dict.fromkeys(
        (
            "invalid_auth",
            "not_authed",
            "account_inactive",
            "token_revoked",
            "token_expired",
            "org_login_required",
            "ekm_access_denied",
            "team_access_not_granted",
            "two_factor_setup_required",
        ),
        CredentialsRevoked,
    ),
    **dict.fromkeys(
        (
            "channel_not_found",
            "is_archived",
            "not_in_channel",
            "user_not_found",
            "user_disabled",
            "thread_not_found",
            "message_not_found",
            "cannot_dm_bot",
            "messages_tab_disabled",
        ),
        RecipientGone,
    ),
    **dict.fromkeys(("ratelimited", "rate_limited", "message_limit_exceeded"), RateLimited),
    **dict.fromkeys(("internal_error", "service_unavailable", "team_added_to_org", "accesslimited"), Unavailable),
    # Slack says of these two that part of the work may have been done
    **dict.fromkeys(("fatal_error", "request_timeout"), OutcomeUnknown),
    **dict.fromkeys(
        (
            "missing_scope",
            "not_allowed_token_type",
            "no_permission",
            "restricted_action",
            "restricted_action_read_only_channel",
            "restricted_action_thread_only_channel",
            "method_not_supported_for_channel_type",
            "method_deprecated",
            "unknown_method",
            "channel_type_not_supported",
            "feature_not_enabled",
        ),
        Unsupported,
    ),
}
"""Any other code refuses the content."""


async def call(http: Http, url: str, token: str, body: Mapping[str, object]) -> Mapping[str, object]:
    """Post JSON to a method and return its answer, or raise what its error means."""
    return check(await http.request("POST", url, headers={"authorization": f"Bearer {token}"}, json=body))


async def ask(http: Http, url: str, token: str, form: Mapping[str, str]) -> Mapping[str, object]:
    """The same for methods that read forms only."""
    return check(await http.request("POST", url, headers={"authorization": f"Bearer {token}"}, form=form))


def check(response: HttpResponse) -> Mapping[str, object]:
    """The answer when it is good. HTTP 200 says nothing at Slack: `ok` decides."""
    answer = answers.json_of(response)
    code = reading.text(answer, "error")
    wait = answers.wait_from_header(response.headers)
    if 200 <= response.status < 300:
        if answer.get("ok") is True:
            return answer
        if not code:
            raise OutcomeUnknown("Slack's answer cannot be read", status=response.status)
        kind = ERRORS.get(code, ContentRefused)
        raise answers.make_error(kind, f"Slack answered {code[:80]}", status=response.status, code=code[:80], wait=wait)
    kind = answers.error_for_status(response.status, statuses={403: CredentialsRevoked})
    raise answers.make_error(kind, f"Slack answered {response.status}", status=response.status, wait=wait)
