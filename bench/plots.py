"""The plots of the report: SVG, and the same bytes for the same results."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl

mpl.use("svg")

from matplotlib import pyplot
from matplotlib.ticker import LogFormatter

from bench.modes import MODES
from bench.ratios import good, median, values
from bench.results import Results
from bench.rows import LIMIT, REFERENCE

__all__ = ["draw_all"]

#: Rows of the bars, from the top; what a user would choose between, on one interpreter.
COMPARED: Final = (
    "antiphon",
    "antiphon messages",
    REFERENCE,
    "asyncio protocol",
    "asyncio streams",
    "twisted",
    "tornado",
    "gevent",
    "pyasynchat poll",
)

#: Rows of the curves.
FOLLOWED: Final = (LIMIT, "antiphon", REFERENCE, "asyncio protocol", "pyasynchat poll")

#: Okabe and Ito's colours, which the colour-blind can tell apart.
COLOURS: Final = {
    LIMIT: "#000000",
    "antiphon": "#D55E00",
    "antiphon messages": "#E69F00",
    REFERENCE: "#0072B2",
    "asyncio protocol": "#56B4E9",
    "pyasynchat poll": "#009E73",
}
OTHERS: Final = "#999999"

STYLE: Final[Any] = {
    "svg.hashsalt": "antiphon",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "white",
    "path.simplify": True,
}


@contextmanager
def _figure(target: Path, rows: int, columns: int, size: tuple[float, float]) -> Iterator[list[Any]]:
    """The axes of a figure that is written at the end, without a date."""
    with mpl.rc_context(STYLE):
        figure, axes = pyplot.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
        try:
            yield list(axes.flat)
            figure.savefig(target, format="svg", metadata={"Date": None, "Creator": None})
        finally:
            pyplot.close(figure)


def _draw_bars(axes: Any, results: Results, mode: str) -> None:
    names = [name for name in COMPARED if results.ratio(name, mode, LIMIT) is not None][::-1]
    widths = [results.ratio(name, mode, LIMIT) or 0.0 for name in names]
    axes.barh(names, widths, color=[COLOURS.get(name, OTHERS) for name in names])
    for position, width in enumerate(widths):
        axes.text(width, position, f" {width:.2f}", va="center", fontsize=7)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_title(mode, fontsize=10)
    axes.set_xlim(0, max([1.1, *widths]) * 1.15)
    axes.tick_params(axis="y", length=0)


def _bars(results: Results, target: Path) -> bool:
    modes = [mode for mode in results.modes_of(list(MODES)) if results.samples(LIMIT, mode)]
    if not modes:
        return False
    rows = -(-len(modes) // 3)
    with _figure(target, rows, 3, (10, 2.2 * rows)) as axes:
        for one, mode in zip(axes, modes, strict=False):
            _draw_bars(one, results, mode)
        for unused in axes[len(modes) :]:
            unused.set_axis_off()
    return True


def _finish(axes: Any, label: str) -> None:
    """What curves on a logarithmic axis have in common; its numbers are plain."""
    axes.yaxis.set_major_formatter(LogFormatter())
    axes.yaxis.set_minor_formatter(LogFormatter())
    axes.set_ylabel(label)
    axes.grid(True, linewidth=0.3)
    axes.legend(frameon=False)


def _scale(results: Results, target: Path) -> bool:
    found = {row: results.points(row) for row in FOLLOWED}
    if not any(found.values()):
        return False
    with _figure(target, 1, 1, (7, 3.6)) as (axes,):
        for row, points in found.items():
            counts = sorted(points)
            if counts:
                heights = [median(values(points[count], "cpu_us")) for count in counts]
                axes.loglog(counts, heights, "o-", markersize=3, label=row, color=COLOURS[row])
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.set_xlabel("idle connections")
        _finish(axes, "CPU of a request, µs")
    return True


def _latency(results: Results, target: Path, mode: str = "pingpong100") -> bool:
    found = {row: [sample["latency_us"] for sample in good(results.samples(row, mode))] for row in FOLLOWED}
    if not any(found.values()):
        return False
    with _figure(target, 1, 1, (7, 3.6)) as (axes,):
        for row, samples in found.items():
            if samples:
                percentiles = sorted(samples[0], key=float)
                heights = [median(values(samples, name)) for name in percentiles]
                slower = [100 / (100 - float(name)) for name in percentiles]
                axes.loglog(slower, heights, "o-", markersize=3, label=row, color=COLOURS[row])
        ticks = ("50", "90", "99", "99.9", "99.99")
        axes.set_xticks([100 / (100 - float(name)) for name in ticks], ticks)
        axes.set_xticks([], minor=True)
        axes.set_xlabel(f"percentile, {mode}")
        _finish(axes, "latency, µs")
    return True


def draw_all(results: Results, folder: Path) -> dict[str, Path]:
    """Draw what there is something to draw of; returns the files by name."""
    drawings = {"cpu_against_C": _bars, "cost_beside_idle_connections": _scale, "latency": _latency}
    files = {name: folder / f"{name}.svg" for name in drawings}
    return {name: files[name] for name, draw in drawings.items() if draw(results, files[name])}
