"""The scripts on a machine that lacks something: they say what, before they make anything."""

import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
SCRIPTS = ("serve", "test", "check", "bench")

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the scripts are for a POSIX shell")


def errors_of(script: str, variables: dict[str, str]) -> str:
    """What a script complains of.  It must fail."""
    command = ["/bin/sh", str(PROJECT / "scripts" / script)]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    return done.stderr


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """Variables of a machine whose only interpreter is too old and called python3."""
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    for tool in ("dirname", "basename"):
        (tmp_path / tool).symlink_to(f"/usr/bin/{tool}")
    return {"PATH": str(tmp_path), "HOME": str(tmp_path)}


@pytest.mark.parametrize("script", SCRIPTS)
def test_without_a_suitable_interpreter_a_script_says_which_it_wants(
    script: str, bare: dict[str, str]
) -> None:
    assert f"{script}: found no Python 3.11 or later" in errors_of(script, bare)


@pytest.mark.parametrize("script", SCRIPTS)
def test_an_interpreter_that_is_named_but_unsuitable_is_not_replaced(
    script: str, bare: dict[str, str]
) -> None:
    message = errors_of(script, {**bare, "PATH": "/usr/bin:/bin", "PYTHON": f"{bare['PATH']}/python3"})

    assert "wanted Python 3.11 or later" in message
    assert f"found PYTHON={bare['PATH']}/python3" in message


def test_a_matrix_without_interpreters_fails_and_lists_what_it_looked_for(bare: dict[str, str]) -> None:
    assert "found no Python of 3.15 3.14 3.13 3.12 3.11" in errors_of("matrix", bare)


def test_pyenvs_interpreters_are_found(bare: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / ".pyenv" / "versions" / f"{sys.version_info[0]}.{sys.version_info[1]}.1" / "bin"
    folder.mkdir(parents=True)
    (folder / "python3").write_text('#!/bin/sh\ncase "$*" in *http*) echo "$PYTHONPATH: $*";; esac\n')
    (folder / "python3").chmod(0o755)
    command = ["/bin/sh", str(PROJECT / "scripts" / "serve"), "--port", "0"]

    done = subprocess.run(command, env=bare, capture_output=True, text=True, check=True)

    assert done.stdout == "src: -m antiphon serve http --directory . --port 0\n"
