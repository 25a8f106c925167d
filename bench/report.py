"""docs/performance.md: the tables and plots of results.json in the text of performance.template.md."""

from collections.abc import Callable
from pathlib import Path
from string import Template

from bench import tables
from bench.results import Results

__all__ = ["page", "write_page"]

TEMPLATE = Path(__file__).parent / "performance.template.md"

#: What the template may name, beside the plots.
PARTS: dict[str, Callable[[Results], str]] = {name: getattr(tables, name) for name in tables.__all__}

#: Draws into a folder; returns, by name, the files that it has written.
Draw = Callable[[Results, Path], dict[str, Path]]


def _draw(results: Results, folder: Path) -> dict[str, Path]:
    from bench.plots import draw_all  # Only this needs matplotlib.

    return draw_all(results, folder)


def page(results: Results, template: str, plots: dict[str, str]) -> str:
    """The page.

    Args:
        results: what was measured.
        template: text with `$name` for each part: a table's name, or `plot_` and a plot's.
        plots: links to the plots by name. One that is missing has nothing to show and is left out.

    Raises:
        KeyError: the template names a part that there is not.
    """
    parts = {name: part(results) for name, part in PARTS.items()}
    names = Template(template).get_identifiers()
    drawn = {name: plots.get(name.removeprefix("plot_"), "") for name in names if name.startswith("plot_")}
    return Template(template).substitute(parts | drawn)


def write_page(results: Results, target: Path, draw: Draw = _draw) -> None:
    """Write the page, and its plots into a folder beside it that has the page's name."""
    folder = target.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    files = draw(results, folder)
    links = {name: f"![{name.replace('_', ' ')}]({folder.name}/{file.name})" for name, file in files.items()}
    target.write_text(page(results, TEMPLATE.read_text(), links), encoding="utf-8")
