import doctest

from antiphon import errors, framing
from antiphon.framing import delimiter, parser


def test_the_package_offers_what_its_modules_have() -> None:
    offered = {name: getattr(framing, name) for name in framing.__all__}
    assert offered == {
        **{name: getattr(delimiter, name) for name in delimiter.__all__},
        "MessageParser": parser.MessageParser,
        "MessageIncomplete": errors.MessageIncomplete,
        "MessageTooLong": errors.MessageTooLong,
    }


def test_the_examples_of_the_documentation_are_true() -> None:
    failures, examples = doctest.testmod(delimiter)
    assert (failures, bool(examples)) == (0, True)
