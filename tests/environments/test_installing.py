"""Installs antiphon beside the distributions that bring packages of the same names, in real environments.

They must come from the package index, which these tests skip without.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from environments.environment import Environment, run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(sys.platform == "win32", reason="looks for files where POSIX systems keep them"),
]

PROJECT = Path(__file__).parents[2]
NAMES = ("asyncore", "asynchat")
OURS = [f"antiphon/{name}.py" for name in NAMES]
THEIRS = [f"{name}/__init__.py" for name in NAMES]

#: Pairs of distributions that bring packages asyncore and asynchat, for Python 3.12 and later.
FAMILIES = {
    "pyasync": ("pyasyncore", "pyasynchat"),
    "standard": ("standard-asyncore", "standard-asynchat"),
}

removed_from_the_standard_library = pytest.mark.skipif(
    sys.version_info < (3, 12), reason="the standard library's own modules come first before Python 3.12"
)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a wheel of this project and of each of the others."""
    folder = tmp_path_factory.mktemp("wheels")
    others = [name for family in FAMILIES.values() for name in family]
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    try:
        run(*pip, "download", "--quiet", "--no-deps", "--dest", str(folder), *others)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no package index within reach: {error.__notes__[-1].strip().splitlines()[-1]}")
    run(*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(PROJECT))
    return folder


@pytest.fixture
def environment(tmp_path: Path, wheels: Path) -> Environment:
    return Environment(tmp_path / "environment", wheels)


def assert_sound(environment: Environment) -> None:
    assert environment.damaged() == []
    assert environment.leftovers() == []


@removed_from_the_standard_library
def test_alone_it_provides_both_names_and_leaves_nothing_behind(environment: Environment) -> None:
    environment.install("antiphon")

    environment.check()
    assert_sound(environment)
    assert environment.files_of(*NAMES) == OURS
    for name in NAMES:
        typed = environment.site_packages / f"{name}-stubs" / "__init__.pyi"
        assert typed.read_text() == (PROJECT / "stubs" / f"{name}.pyi").read_text()
    assert "Nothing is wrong." in environment.output_of("antiphon", "doctor")

    environment.uninstall("antiphon")

    assert environment.leftovers() == []


@removed_from_the_standard_library
@pytest.mark.parametrize("ours_first", [True, False], ids=["ours-first", "theirs-first"])
@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_beside_another_nothing_breaks_whichever_comes_and_goes_first(
    family: tuple[str, str], ours_first: bool, environment: Environment
) -> None:
    sides = [("antiphon",), family] if ours_first else [family, ("antiphon",)]
    for side in sides:
        environment.install(*side)
        assert_sound(environment)
    environment.check()
    assert environment.files_of(*NAMES) == THEIRS

    environment.uninstall("antiphon")
    assert_sound(environment)
    assert environment.files_of(*NAMES) == THEIRS

    environment.install("antiphon")
    environment.uninstall(*family)
    assert_sound(environment)
    assert environment.files_of(*NAMES) == OURS

    environment.uninstall("antiphon")
    assert environment.leftovers() == []


@removed_from_the_standard_library
def test_beside_distributions_that_overwrite_each_other_ours_stays_whole(environment: Environment) -> None:
    environment.install(*FAMILIES["pyasync"], "antiphon", *FAMILIES["standard"])
    environment.uninstall(*FAMILIES["pyasync"])

    assert environment.damaged("antiphon") == []

    environment.uninstall(*FAMILIES["standard"])

    assert environment.files_of(*NAMES) == OURS


@removed_from_the_standard_library
def test_beside_one_of_the_two_the_other_is_ours_and_the_doctor_tells_them_apart(
    environment: Environment,
) -> None:
    environment.install("antiphon", "pyasyncore")

    assert environment.files_of(*NAMES) == [THEIRS[0], OURS[1]]
    with pytest.raises(subprocess.CalledProcessError) as told:
        environment.output_of("antiphon", "doctor")
    assert told.value.returncode == 1
    report = told.value.stdout.decode()
    assert "! asyncore    pyasyncore's" in report
    assert "  asynchat    antiphon's" in report
    assert "pip uninstall pyasyncore" in report


@removed_from_the_standard_library
def test_a_program_can_have_ours_whoever_is_there(environment: Environment, tmp_path: Path) -> None:
    environment.install("antiphon", *FAMILIES["pyasync"])

    assert_ours_can_be_had(environment, tmp_path)


def test_a_program_can_have_ours_in_place_of_the_standard_librarys(
    environment: Environment, tmp_path: Path
) -> None:
    environment.install("antiphon")

    assert "Nothing is wrong." in environment.output_of("antiphon", "doctor")
    assert_ours_can_be_had(environment, tmp_path)


def assert_ours_can_be_had(environment: Environment, folder: Path) -> None:
    (folder / "program.py").write_text("import asyncore; print(asyncore.__file__)")
    ours = str(environment.site_packages / OURS[0]) + "\n"
    program = str(folder / "program.py")

    assert environment.output_of("antiphon", "run", program) == ours
    assert environment.output_of("python", "-W", "error", "-m", "antiphon", "run", program) == ours
    installing = f"import antiphon; antiphon.install(); exec(open({program!r}).read())"
    assert environment.output_of("python", "-W", "error", "-c", installing) == ours
