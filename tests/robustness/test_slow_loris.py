"""What is made of the rounds; and a few attackers, with all their processes."""

import socket
import subprocess
import sys

import pytest
from robustness.loris import Loris
from robustness.processes import ROOT
from robustness.slow_loris import Round, main, summary

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it reads proc(5)")


def test_the_ratio_is_that_of_the_rounds_of_a_pair() -> None:
    fast, slow = Round(1000, 0.001, 0), Round(100, 0.001, 0)
    pairs = [(fast, Round(950, 0.001, 9)), (slow, Round(95, 0.001, 9)), (slow, Round(50, 0.004, 9))]
    assert summary(pairs) == (
        "100 requests/s without them, 95 with them: 95 % (quartiles 72 and 95 %); "
        "CPU time of the server a request: 100 % (quartiles 100 and 250 %)"
    )
    assert summary(pairs[:1]).startswith("1000 requests/s without them, 950 with them: 95 %;")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--rounds", "0"], "wanted 1 connection and 1 round or more"),
        (["--connections", "9999999"], "wanted to open 10000049 files"),
    ],
)
def test_a_wrong_command_line_is_explained(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert words in capsys.readouterr().err


def test_the_attackers_are_as_many_as_they_are_told() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        loris = Loris(listener.getsockname()[1])
        accepted = []
        loris.wanted = 20
        while loris.count < 20:
            loris.turn()
        for _ in range(20):
            accepted.append(listener.accept()[0])  # noqa: PERF401 (each must be closed)
        for sock in accepted[:5]:
            sock.close()
        while loris.thrown_out < 5:
            loris.turn()
        while loris.count < 20:
            loris.turn()
        loris.wanted = 0
        loris.turn()
        assert loris.count == 0
        for sock in accepted:
            sock.close()
        loris.close()


@pytest.mark.slow
@pytest.mark.load
@pytest.mark.timeout(120)
def test_all_attackers_are_there_while_the_client_works() -> None:
    command = [sys.executable, "-m", "robustness.slow_loris", "--connections", "300", "--rounds", "2"]
    environment = {"PYTHONPATH": str(ROOT / "src"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [*command, "--seconds", "0.3"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert "300 attackers at least" in done.stdout, done.stdout + done.stderr
