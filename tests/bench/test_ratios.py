import pytest
from bench.ratios import good, median, quartiles, ratios, short, values


def test_a_ratio_is_of_two_samples_of_one_round() -> None:
    above = [{"round": 0, "cpu_us": 10}, {"round": 1, "cpu_us": 30}]
    below = [{"round": 1, "cpu_us": 10}, {"round": 0, "cpu_us": 5}]

    assert ratios(above, below, "cpu_us") == [3.0, 2.0]


def test_a_round_without_both_samples_gives_no_ratio() -> None:
    assert ratios([{"round": 0, "cpu_us": 10}], [{"round": 1, "cpu_us": 5}], "cpu_us") == []


def test_failures_and_figures_of_nothing_give_no_ratio() -> None:
    failed = {"round": 0, "cpu_us": 4, "error": "closed"}
    empty = {"round": 1, "cpu_us": 0}

    assert ratios([failed, empty], [{"round": 0, "cpu_us": 1}, {"round": 1, "cpu_us": 1}], "cpu_us") == []


def test_only_samples_that_have_a_figure_give_it() -> None:
    assert values([{"rate": 2}, {"rate": 3, "error": "closed"}, {}], "rate") == [2.0]
    assert good([{"error": "closed"}]) == []


def test_nothing_has_no_median() -> None:
    assert median([]) is None
    assert median([4, 1]) == 2.5


def test_one_figure_is_all_of_its_quartiles() -> None:
    assert quartiles([3.0]) == (3.0, 3.0, 3.0)


@pytest.mark.parametrize(
    ("number", "text"),
    [(None, "-"), (0.01234, "0.0123"), (99.94, "99.9"), (100.4, "100"), (12345, "12k"), (2.5e6, "2.50M")],
)
def test_figures_are_short(number: float | None, text: str) -> None:
    assert short(number) == text
