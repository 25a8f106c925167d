import doctest

from antiphon import framing
from antiphon.framing import delimiter


def test_the_package_offers_what_its_module_has() -> None:
    assert set(framing.__all__) == set(delimiter.__all__)
    for name in framing.__all__:
        assert getattr(framing, name) is getattr(delimiter, name)


def test_the_examples_of_the_documentation_are_true() -> None:
    failures, examples = doctest.testmod(delimiter)
    assert (failures, bool(examples)) == (0, True)
