"""Sentences for people that are not said yet, so that each place can say them in its reader's language.

`str()` of a phrase is English, for programs and logs. The `hub` command says it in the language of whoever reads it
(`hub.cli.words`). Needs nothing, since everything that can fail at the start raises with it.
"""

from collections.abc import Callable, Iterable

Translate = Callable[[str], str]


class Phrase:
    """A sentence with its values, spelled as `str.format` does; a value may be a phrase itself, or a tuple of such."""

    __slots__ = ("text", "values")

    def __init__(self, text: str, /, **values: object) -> None:
        self.text = text
        self.values = values

    @classmethod
    def listed(cls, parts: "Iterable[Phrase | str]") -> "Phrase":
        """Several of them in one line."""
        return cls("{parts}", parts=tuple(parts))

    def __str__(self) -> str:
        return self.said(lambda text: text)

    def __repr__(self) -> str:
        return f"Phrase({str(self)!r})"

    def said(self, translate: Translate) -> str:
        """The sentence, its words and those of its values passed through `translate`."""
        found = translate(self.text)
        return (
            found.format(**{name: _said(value, translate) for name, value in self.values.items()})
            if self.values
            else found
        )


def _said(value: object, translate: Translate) -> object:
    if isinstance(value, tuple):
        return translate("; ").join(str(_said(one, translate)) for one in value)
    return value.said(translate) if isinstance(value, Phrase) else value


class Told(Exception):
    """An error whose message is one line for people; `str()` of it is English."""

    def __init__(self, text: str, /, **values: object) -> None:
        self.phrase = Phrase(text, **values)
        super().__init__(str(self.phrase))


def marked(text: str) -> str:
    """A text that is stored or compared as it stands, and said as a phrase where it is shown."""
    return text
