"""How the command says things: `_` for what is shown now, `told` for what is phrased elsewhere."""

from hub.cli.language import translate
from hub.phrase import Phrase

__all__ = ["Phrase", "Words", "_", "told"]

Words = Phrase | str
"""Something to say: a phrase, or a text that is nobody's to translate."""


def _(text: str, /, **values: object) -> str:
    """A text of the source with its values, in the person's language."""
    return Phrase(text, **values).said(translate)


def told(words: Words) -> str:
    """A phrase in the person's language; any other text as it is."""
    return words.said(translate) if isinstance(words, Phrase) else words
