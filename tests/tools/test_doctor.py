import sys
import sysconfig
from pathlib import Path

import pytest

import antiphon
from antiphon import pollers
from antiphon.tools import doctor
from antiphon.tools.doctor import Facts, Finding, Provider, collect, examine, provider_of

OURS = (
    Provider("asyncore", "/site/asyncore.py", "antiphon"),
    Provider("asynchat", "/site/asynchat.py", "antiphon"),
)
FINE = Facts("1.0, /site/antiphon", (3, 13), OURS, "epoll", "", (4096, 4096))


def finding(subject: str, facts: Facts) -> Finding:
    """The one about `subject`."""
    (found,) = (each for each in examine(facts) if each.subject == subject)
    return found


def provided(file: str | None, owner: str | None) -> Facts:
    """Facts where asyncore comes from elsewhere."""
    return FINE._replace(providers=(Provider("asyncore", file, owner), OURS[1]))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that comes first on the path, in a process that has imported neither module."""
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("asyncore", "asynchat"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


def install(site: Path, distribution: str, *files: str) -> None:
    """Put a distribution there as pip would: its files, and the list of them."""
    information = site / f"{distribution}-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    (information / "RECORD").write_text("".join(f"{file},,\n" for file in files))
    for file in files:
        (site / file).parent.mkdir(exist_ok=True)
        (site / file).write_text("raise AssertionError('imported')\n")


def test_nothing_is_wrong_where_antiphon_provides_both() -> None:
    assert not any(each.wrong for each in examine(FINE))


@pytest.mark.parametrize(
    ("python", "wrong"), [((3, 11), False), ((3, 15), False), ((3, 10), True), ((3, 16), True)]
)
def test_a_python_that_is_not_tested_is_wrong(python: tuple[int, int], wrong: bool) -> None:
    found = finding("Python", FINE._replace(python=python))

    assert found.wrong is wrong
    assert ("3.11 to 3.15" in found.advice) is wrong


def test_another_distribution_is_wrong_and_named() -> None:
    found = finding("asyncore", provided("/site/asyncore/__init__.py", "pyasyncore"))

    assert found.wrong
    assert "/site/asyncore/__init__.py" in found.found
    assert "pip uninstall pyasyncore" in found.advice


def test_a_file_of_no_distribution_is_wrong_and_named() -> None:
    found = finding("asyncore", provided("/program/asyncore.py", None))

    assert found.wrong
    assert "/program/asyncore.py" in found.found


def test_a_missing_module_is_wrong() -> None:
    assert finding("asyncore", provided(None, None)).wrong


def test_the_standard_librarys_module_is_as_it_must_be_and_the_ways_round_it_are_named() -> None:
    found = finding("asyncore", provided("/lib/asyncore.py", "the standard library"))

    assert not found.wrong
    for way in ("antiphon run", "antiphon.install()", "from antiphon import asyncore"):
        assert way in found.advice


def test_no_poller_is_wrong_and_the_variable_named() -> None:
    found = finding("poller", FINE._replace(poller=None, poller_error="no poller 'x' here"))

    assert found.wrong
    assert "no poller 'x' here" in found.advice
    assert "ANTIPHON_POLLER" in found.advice


def test_select_is_no_error_but_its_bound_is_told() -> None:
    found = finding("poller", FINE._replace(poller="select"))

    assert not found.wrong
    assert "1024" in found.advice


@pytest.mark.parametrize(
    ("limits", "wrong", "told"),
    [
        (None, False, ""),
        ((-1, -1), False, ""),
        ((4096, 4096), False, ""),
        ((1024, 4096), False, "up to 4096"),
        ((1024, -1), False, "up to unlimited"),
        ((256, -1), True, "up to unlimited"),
        ((1023, 1023), True, "limits.conf(5) or, of a service, LimitNOFILE= raises it"),
    ],
)
def test_few_open_files_are_wrong(limits: tuple[int, int] | None, wrong: bool, told: str) -> None:
    found = finding("open files", FINE._replace(open_files=limits))

    assert found.wrong is wrong
    assert found.advice.endswith(told)
    assert bool(found.advice) is bool(told)


@pytest.mark.parametrize(("facts", "status"), [(FINE, 0), (FINE._replace(python=(3, 16)), 1)])
def test_the_report_marks_what_is_wrong_and_the_status_says_so(
    facts: Facts, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "collect", lambda: facts)

    assert doctor.main([]) == status
    printed = capsys.readouterr().out
    assert printed.count("\n! ") == status
    assert ("Nothing is wrong." in printed) is (status == 0)
    assert "/site/asyncore.py" in printed


def test_words_that_mean_nothing_are_refused() -> None:
    with pytest.raises(SystemExit, match="2"):
        doctor.main(["--cure"])


def test_facts_are_those_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTIPHON_POLLER", "select")

    facts = collect()

    assert facts.antiphon.startswith(antiphon.__version__)
    assert facts.python == sys.version_info[:2]
    assert [provider.name for provider in facts.providers] == ["asyncore", "asynchat"]
    assert facts.poller == "select"


def test_a_poller_that_the_variable_misspells_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTIPHON_POLLER", "eqoll")

    facts = collect()

    assert facts.poller is None
    assert "eqoll" in facts.poller_error


def test_a_kernel_that_refuses_a_poller_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> pollers.Poller:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(pollers, "make", refuse)

    assert "Too many open files" in collect().poller_error


def test_no_limit_of_open_files_is_minus_one(monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource", reason="Windows has no limit of open files")
    monkeypatch.setattr(resource, "getrlimit", lambda which: (1024, resource.RLIM_INFINITY))

    assert collect().open_files == (1024, -1)


def test_the_distribution_that_brought_the_file_is_the_owner_whoever_else_lists_the_name(site: Path) -> None:
    install(site, "antiphon", "asyncore.py")
    install(site, "another", "asyncore/__init__.py")

    assert provider_of("asyncore") == Provider("asyncore", str(site / "asyncore/__init__.py"), "another")


def test_a_file_that_nobody_lists_has_no_owner(site: Path) -> None:
    (site / "asynchat.py").touch()

    assert provider_of("asynchat") == Provider("asynchat", str(site / "asynchat.py"), None)


def test_our_own_shim_is_ours_without_a_list(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shim = doctor.FOLDER.parent / "asyncore.py"
    monkeypatch.syspath_prepend(shim.parent)

    assert provider_of("asyncore") == Provider("asyncore", str(shim), "antiphon")


def test_after_install_the_module_in_use_is_ours(site: Path) -> None:
    antiphon.install()

    assert provider_of("asyncore").owner == "antiphon"


def test_a_module_of_the_standard_library_is_its(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "this", raising=False)

    assert provider_of("this") == Provider(
        "this", sysconfig.get_path("stdlib") + "/this.py", "the standard library"
    )


def test_a_name_that_leads_nowhere_has_no_file(site: Path) -> None:
    (site / "folder_without_a_module").mkdir()

    assert provider_of("no_such_module") == Provider("no_such_module", None, None)
    assert provider_of("folder_without_a_module") == Provider("folder_without_a_module", None, None)
