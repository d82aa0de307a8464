"""Which language a person reads, found as the system's own tools find it, and what the command says in it.

The source is English; `locale/zh_Hans` has it in Simplified Chinese. Until `speak` is called everything is English:
a process that serves never calls it, so its logs and answers do not depend on who started it.
"""

import gettext
import os
import sys
from collections.abc import Mapping
from typing import TextIO

DOMAIN = "hub"
LOCALE = f"{__file__.rpartition('/')[0]}/locale"  # importing pathlib would take longer than all the rest here
ENGLISH, CHINESE = "en", "zh_Hans"
# These ask for traditional characters, which are not here.
_TRADITIONAL = {"tw", "hk", "mo", "hant"}

_spoken = ENGLISH
_words: gettext.NullTranslations = gettext.NullTranslations()


def wanted(values: Mapping[str, str] = os.environ) -> str:
    """The language that LC_ALL, LC_MESSAGES or LANG asks for, or the first of LANGUAGE that there is.

    As with every program of the system, the locales C and POSIX mean English whatever LANGUAGE says.
    """
    locale = next((value for name in ("LC_ALL", "LC_MESSAGES", "LANG") if (value := values.get(name))), "")
    if locale in ("C", "POSIX"):
        return ENGLISH
    asked = (values.get("LANGUAGE") or locale).split(":")
    return next((found for one in asked if (found := _known(one))), ENGLISH)


def speak(language: str | None = None) -> None:
    """From now on say everything in this language, click's own words too.

    Unless one is given it is the person's, as far as the terminal has its characters.
    """
    global _spoken, _words
    chosen = language or wanted()
    if language is None and chosen == CHINESE and not all(map(_shows_chinese, (sys.stdout, sys.stderr))):
        chosen = ENGLISH
    _spoken = chosen
    # click looks its words up as the standard library does, which asks this variable at each of them. Processes that
    # the command starts find the same answer in it.
    os.environ["LANGUAGE"] = chosen
    if chosen == ENGLISH:
        _words = gettext.NullTranslations()
        gettext.textdomain("messages")  # where the library starts; it has no catalogue
        return
    _words = gettext.translation(DOMAIN, LOCALE, [chosen])
    gettext.bindtextdomain(DOMAIN, LOCALE)
    gettext.textdomain(DOMAIN)


def spoken() -> str:
    """The language that is spoken now."""
    return _spoken


def translate(text: str) -> str:
    """A text of the source in the language that is spoken."""
    return _words.gettext(text) if text else text


def _known(name: str) -> str:
    """The language that a locale's name means: `zh_CN.UTF-8`, `zh-Hans`, `en_GB@euro`; empty for any other."""
    first, *more = name.partition(".")[0].partition("@")[0].lower().replace("-", "_").split("_")
    if first in ("en", "c", "posix"):
        return ENGLISH
    return CHINESE if first == "zh" and ("hans" in more or not _TRADITIONAL & set(more)) else ""


def _shows_chinese(stream: TextIO) -> bool:
    """Whether a stream's characters have Chinese among them; what else they lack then becomes a question mark."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        "中文".encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    if encoding.lower().replace("-", "") != "utf8" and hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="replace")
    return True
