"""Numbers as people read them."""

from decimal import Decimal

DASH = "–"
HARD = "\N{NO-BREAK SPACE}"
_UNITS = ((1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k"))


def compact(value: float) -> str:
    """1234 as 1.2k; below a thousand as it is."""
    for size, unit in _UNITS:
        if abs(value) >= size:
            short = value / size
            return f"{short:.0f}{unit}" if short >= 100 else f"{short:.1f}".removesuffix(".0") + unit
    return f"{value:g}"


def duration(seconds: float | None) -> str:
    """Milliseconds below a second, then seconds, then minutes."""
    if seconds is None:
        return DASH
    if seconds < 1:
        return f"{seconds * 1000:.0f}{HARD}ms"
    if seconds < 10:
        return f"{seconds:.1f}{HARD}s"
    return f"{seconds:.0f}{HARD}s" if seconds < 120 else f"{seconds / 60:.0f}{HARD}min"


def percent(share: float) -> str:
    """With one digit below ten."""
    return f"{share:.1%}" if 0 < share < 0.1 else f"{share:.0%}"


def money(value: Decimal) -> str:
    """Without a currency, which the price list decides; small sums keep their digits."""
    if not value:
        return "0"
    return f"{value:,.2f}" if value >= 1 else f"{value:.4f}".rstrip("0")
