"""Every attack on antiphon, and on Python 3.11's own modules if there are any."""

import sys

import pytest

from conformance.pythons import find_python
from robustness import attacks

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it reads proc(5)")


@pytest.mark.slow
@pytest.mark.load
@pytest.mark.timeout(180)
@pytest.mark.parametrize("attack", attacks.ATTACKS, ids=lambda attack: attack.name)
def test_antiphon_survives_what_the_old_modules_do_not(attack: attacks.Attack) -> None:
    older = find_python("3.11")
    assert attacks._mount("antiphon", attack, sys.executable).survived
    assert older is None or not attacks._mount("old", attack, older).survived


def test_an_attack_that_does_not_exist_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        attacks.main(["siege"])
    assert "wanted descriptors, select, endless-line, deaf, boundary, found siege" in capsys.readouterr().err
