"""What other packages refuse, in the words of the command: they raise, and know nothing of who reads."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hub.cli.language import CHINESE, spoken
from hub.cli.output import CommandFailed
from hub.cli.words import Phrase, _

if TYPE_CHECKING:
    import pydantic
    from django.core.exceptions import ValidationError

    from tenants.db.roles import LoginRefused


def login(refused: "LoginRefused") -> Phrase:
    """A database login that may do too much, with what to do."""
    return Phrase(
        "the database login {login!r} is refused: {faults}. {remedy}",
        login=refused.login,
        faults=login_faults(refused),
        remedy=Phrase(refused.remedy),
    )


def login_faults(refused: "LoginRefused") -> Phrase:
    """What it may do and should not."""
    return Phrase.listed(Phrase(one.text, names=one.names) for one in refused.faults)


def fields(wrong: "pydantic.ValidationError") -> Phrase:
    """What a channel's credentials lack, without any value."""
    from hub.expected import fault

    return Phrase.listed(
        Phrase("{name} is missing", name=_place(one["loc"]))
        if one["type"] == "missing"
        else Phrase("{name}: {reason}", name=_place(one["loc"]), reason=fault(one))
        for one in wrong.errors(include_url=False, include_input=False)
    )


def _place(loc: tuple[int | str, ...]) -> Phrase | str:
    return ".".join(str(part) for part in loc) or Phrase("the whole")


@contextmanager
def one_line() -> Iterator[None]:
    """Turn what a person can mend into CommandFailed. Values are not repeated: they may be secrets."""
    from django.core.exceptions import ValidationError

    from channels_adapters.registry import ChannelUnknown
    from tenants.errors import MasterKeyMissing, TenantsError, UnknownPlan

    try:
        yield
    except ValidationError as wrong:
        raise CommandFailed("{wrong}", wrong=_django(wrong)) from wrong
    except UnknownPlan as wrong:
        known = ", ".join(wrong.known)
        raise CommandFailed("there is no plan {slug!r}; there are: {known}", slug=wrong.slug, known=known) from wrong
    except ChannelUnknown as wrong:
        known = ", ".join(wrong.known)
        raise CommandFailed(
            "no channel is called {slug!r}; there are: {known}", slug=wrong.slug, known=known
        ) from wrong
    except MasterKeyMissing as wrong:
        raise CommandFailed(
            "the keys were sealed under a master key that is not here: HUB_MASTER_KEY must list it"
        ) from wrong
    except TenantsError as wrong:
        raise CommandFailed(
            "what is stored cannot be opened ({kind}); see: hub doctor", kind=type(wrong).__name__
        ) from wrong


def _django(wrong: "ValidationError") -> str:
    """What Django found, in its own catalogues' words."""
    from django.utils import translation

    with translation.override("zh-hans" if spoken() == CHINESE else "en"):
        if hasattr(wrong, "error_dict"):
            told = [(field, " ".join(lines)) for field, lines in wrong.message_dict.items()]
            return _("; ").join(_("{name}: {reason}", name=field, reason=lines) for field, lines in told)
        return _("; ").join(wrong.messages)
