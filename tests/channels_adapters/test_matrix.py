"""The page about what channels can do is made from the adapters, so it must not lag behind them."""

from pathlib import Path
from typing import Any

from channels_adapters import matrix

PAGE = Path(__file__).parents[2] / "docs" / "channels" / "matrix.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == matrix.matrix(), "run: python -m channels_adapters.matrix docs/channels/matrix.md"


def test_writing_and_printing_are_the_same(tmp_path: Any, capsys: Any) -> None:
    matrix.main([str(tmp_path / "page.md")])
    matrix.main([])
    assert (tmp_path / "page.md").read_text() == capsys.readouterr().out
