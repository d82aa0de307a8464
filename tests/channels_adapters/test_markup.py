"""CommonMark in, a dialect out."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from channels_adapters.markup import PLAIN, SLACK, TELEGRAM, pieces, render, to_plain
from channels_adapters.text import length
from tests.support.platforms.telegram import visible

CASES = [
    ("plain", "plain", "plain"),
    ("**b** _i_ ~~s~~ `c<`", "<b>b</b> <i>i</i> <s>s</s> <code>c&lt;</code>", "*b* _i_ ~s~ `c&lt;`"),
    ("[l](https://x.y/?a=1&b=2)", '<a href="https://x.y/?a=1&amp;b=2">l</a>', "<https://x.y/?a=1&amp;b=2|l>"),
    ("[l](javascript:alert)", "[l](javascript:alert)", "[l](javascript:alert)"),
    ("[l](/local)", "l", "l"),
    ("# Title", "<b>Title</b>", "*Title*"),
    ("- a\n- b", "• a\n• b", "• a\n• b"),
    ("2. a\n3. b", "2. a\n3. b", "2. a\n3. b"),
    ("> q", "<blockquote>q</blockquote>", "> q"),
    ("```py\nx < 1\n```", '<pre><code class="language-py">x &lt; 1</code></pre>', "```\nx &lt; 1\n```"),
    ("| a | b |\n|---|---|\n| 好 | 1 |", "<pre>a  | b\n---+--\n好 | 1</pre>", "```\na  | b\n---+--\n好 | 1\n```"),
    ("<script>x</script>", "&lt;script&gt;x&lt;/script&gt;", "&lt;script&gt;x&lt;/script&gt;"),
    ("a & b < c", "a &amp; b &lt; c", "a &amp; b &lt; c"),
    ("![pic](https://x.y/p.png)", '<a href="https://x.y/p.png">pic</a>', "<https://x.y/p.png|pic>"),
    ("a  \nb\nc", "a\nb\nc", "a\nb\nc"),
    ("---", "———", "———"),
    ("<!channel> <@U1>", "&lt;!channel&gt; &lt;@U1&gt;", "&lt;!channel&gt; &lt;@U1&gt;"),
]


@pytest.mark.parametrize(("source", "telegram", "slack"), CASES)
def test_dialects(source: Any, telegram: Any, slack: Any) -> None:
    assert render(source, TELEGRAM) == telegram
    assert render(source, SLACK) == slack


def test_plain_text() -> None:
    assert to_plain("# T\n\n**b** [l](https://x.y) `c` <https://a.b>") == "T\n\nb l (https://x.y) c https://a.b"


MARK = st.lists(
    st.sampled_from(
        ["*", "**", "_", "`", "```", "~~", "> ", "- ", "1. ", "# ", "\n", "\n\n", "|", "|-|", "<", ">", "&", "[",
         "](https://x.y)", "!", "a", " b ", "好", "<b>", "\\", '"']
    ),
    max_size=60,
).map("".join)  # fmt: skip


@given(text=MARK)
@settings(max_examples=600, deadline=None)
def test_telegram_reads_every_html_that_is_made(text: Any) -> None:
    shown, problem = visible(render(text, TELEGRAM))
    assert problem == ""
    assert "<" in text or "&" in text or "<" not in shown


@given(text=MARK)
@settings(max_examples=300, deadline=None)
def test_slack_gets_no_reference_that_was_not_a_link(text: Any) -> None:
    made = render(text, SLACK)
    assert "<!" not in made and "<@" not in made and "<#" not in made
    assert render(text, PLAIN) is not None


@given(text=MARK, limit=st.integers(20, 60))
@settings(max_examples=300, deadline=None)
def test_pieces_fit_as_people_read_them(text: Any, limit: Any) -> None:
    for piece in pieces(text, TELEGRAM, limit=limit, unit="utf16"):
        assert length(piece.plain, "utf16") <= limit
        assert visible(piece.markup)[1] == ""
