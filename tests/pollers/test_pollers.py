import select

import pytest

from antiphon import pollers
from antiphon.errors import PollerUnavailable
from antiphon.pollers import make, maker, offered, pick

EVERYTHING = ("adaptive", "epoll", "kqueue", "poll", "select")

ADAPTS = hasattr(select, "epoll") and hasattr(select, "poll")


@pytest.mark.parametrize(
    ("wanted", "there_is", "picked"),
    [
        (None, {"adaptive", "epoll", "poll", "select"}, "adaptive"),
        (None, {"epoll", "select"}, "epoll"),
        (None, {"kqueue", "poll", "select"}, "kqueue"),
        (None, {"select", "poll"}, "poll"),
        (None, {"select"}, "select"),
        ("select", EVERYTHING, "select"),
        ("poll", EVERYTHING, "poll"),
    ],
    ids=["Linux", "Linux without poll", "BSD", "other POSIX", "Windows", "select on any", "poll on any"],
)
def test_the_wish_decides_and_else_the_best(wanted: str | None, there_is: set[str], picked: str) -> None:
    assert pick(wanted, there_is) == picked


def test_a_wish_that_cannot_be_met_is_answered_with_what_there_is() -> None:
    with pytest.raises(PollerUnavailable, match="no poller 'epoll' here; there is poll, select"):
        pick("epoll", {"select", "poll"})
    with pytest.raises(PollerUnavailable, match="no poller here; there is none"):
        pick(None, ())


def test_a_poller_that_nobody_knows_is_not_picked_even_if_offered() -> None:
    with pytest.raises(PollerUnavailable, match="'magic'"):
        pick("magic", {"magic", "select"})


def test_what_the_system_has_is_offered() -> None:
    names = offered()
    assert [name for name in EVERYTHING if hasattr(select, name)] == [*names][-len(names) + ADAPTS :]
    assert ("adaptive" in names) == ADAPTS
    assert "select" in names


@pytest.mark.parametrize("name", offered())
def test_a_poller_can_be_asked_for_by_name(name: str) -> None:
    poller = make(name)
    assert poller.name == name
    poller.close()


def test_the_environment_chooses_where_the_program_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(pollers.ENVIRONMENT_VARIABLE, "select")
    assert make().name == "select"
    assert make("poll").name == "poll"


@pytest.mark.parametrize("value", ["", None])
def test_without_a_wish_the_best_is_made(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    monkeypatch.delenv("ANTIPHON_POLLER", raising=False)
    if value is not None:
        monkeypatch.setenv("ANTIPHON_POLLER", value)
    poller = make()
    assert poller.name == offered()[0]
    poller.close()


def test_a_wrong_name_in_the_environment_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTIPHON_POLLER", "epol")
    with pytest.raises(PollerUnavailable, match="'epol'"):
        make()


@pytest.mark.parametrize("name", EVERYTHING)
def test_the_maker_of_a_poller_is_its_class_also_where_the_system_has_none(name: str) -> None:
    made = maker(name)
    assert (made.__module__, made.__qualname__) == (f"antiphon.pollers.{name}", f"{name.capitalize()}Poller")
