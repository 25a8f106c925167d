"""Statistics of samples: ratios are taken within a round, and then their median.

A machine that runs faster or slower for a minute changes both sides of such a ratio.
"""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["good", "median", "quartiles", "ratios", "short", "values"]


def good(samples: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those that are not failures."""
    return [sample for sample in samples if "error" not in sample]


def values(samples: Iterable[Mapping[str, Any]], key: str) -> list[float]:
    """One figure of each sample that has it."""
    return [float(sample[key]) for sample in good(samples) if key in sample]


def median(numbers: Sequence[float]) -> float | None:
    """The median; None of nothing.

    >>> median([3, 1, 2])
    2
    """
    return statistics.median(numbers) if numbers else None


def quartiles(numbers: Sequence[float]) -> tuple[float, float, float]:
    """The lower quartile, the median and the upper quartile of at least one number.

    >>> quartiles([1, 2, 3, 4, 5])
    (2.0, 3.0, 4.0)
    """
    if len(numbers) == 1:
        return numbers[0], numbers[0], numbers[0]
    low, middle, high = statistics.quantiles(numbers, n=4, method="inclusive")
    return low, middle, high


def ratios(
    numerators: Iterable[Mapping[str, Any]], denominators: Iterable[Mapping[str, Any]], key: str
) -> list[float]:
    """Quotients of a figure, each of two samples of the same round; rounds without both are left out.

    >>> ratios([{"round": 0, "cpu_us": 6}, {"round": 1, "cpu_us": 8}], [{"round": 1, "cpu_us": 4}], "cpu_us")
    [2.0]
    """
    above = {sample["round"]: float(sample[key]) for sample in good(numerators) if sample.get(key)}
    return [
        above[sample["round"]] / float(sample[key])
        for sample in good(denominators)
        if sample.get(key) and sample["round"] in above
    ]


def short(number: float | None) -> str:
    """A figure in three digits or so; "-" for None.

    >>> short(1234567), short(43210), short(432.1), short(4.321), short(None)
    ('1.23M', '43k', '432', '4.32', '-')
    """
    if number is None:
        return "-"
    size = abs(number)
    if size >= 1e6:
        return f"{number / 1e6:.2f}M"
    if size >= 1e4:
        return f"{number / 1e3:.0f}k"
    return f"{number:.0f}" if size >= 100 else f"{number:.3g}"
