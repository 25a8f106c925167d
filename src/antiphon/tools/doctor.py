"""`antiphon doctor`: who provides asyncore and asynchat here, and what to do about anything that is wrong.

`collect()` looks, `examine()` judges; the judgement is a pure function of what was seen.
"""

import argparse
import sys
import sysconfig
from collections.abc import Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple

import antiphon
from antiphon import pollers
from antiphon.errors import PollerUnavailable

__all__ = ["Facts", "Finding", "Provider", "collect", "examine", "main", "provider_of"]

#: The versions that the tests run on, first and last.
TESTED: Final = ((3, 11), (3, 15))

#: Fewer descriptors than this are fewer than select(2) itself could watch; macOS starts programs with 256.
FEW_OPEN_FILES: Final = 1024

#: Where antiphon's own modules are; its shims for the two names lie beside it.
FOLDER: Final = Path(antiphon.__file__).resolve().parent

STANDARD_LIBRARY: Final = "the standard library"
ANTIPHON: Final = "antiphon"


class Provider(NamedTuple):
    """Where `import NAME` finds its module in a process that begins now.

    Attributes:
        name: asyncore or asynchat.
        file: the module's file; None if there is no such module.
        owner: "antiphon", "the standard library", the name of another distribution, or None for a file that
            belongs to none.
    """

    name: str
    file: str | None
    owner: str | None


class Facts(NamedTuple):
    """What `collect()` saw.

    Attributes:
        antiphon: its version, and the folder that it was imported from.
        python: the interpreter's version, (major, minor).
        providers: one for asyncore, one for asynchat.
        poller: the name of the poller that loops would use; None if there is none.
        poller_error: why there is none.
        open_files: soft and hard limit of file descriptors in this process, -1 for no limit; None where the
            system has no such limit (Windows).
    """

    antiphon: str
    python: tuple[int, int]
    providers: tuple[Provider, ...]
    poller: str | None
    poller_error: str
    open_files: tuple[int, int] | None


class Finding(NamedTuple):
    """One line of the report.

    Attributes:
        subject: what was looked at.
        found: what it is.
        advice: what to do about it, or what to know; empty if there is nothing to say.
        wrong: whether something has to be done.
    """

    subject: str
    found: str
    advice: str = ""
    wrong: bool = False


def main(words: Sequence[str]) -> int:
    """Print the report.

    Returns:
        0 if nothing is wrong, otherwise 1.
    """
    parser = argparse.ArgumentParser(
        prog="antiphon doctor",
        description="Say who provides asyncore and asynchat here, and what to do about anything wrong.",
        epilog="Exit status: 0 if nothing is wrong, 1 if something is.",
    )
    parser.parse_args(words)
    findings = examine(collect())
    wrong = sum(finding.wrong for finding in findings)
    print(*(_shown(finding) for finding in findings), sep="\n")
    print("", f"{wrong} to put right, marked with !" if wrong else "Nothing is wrong.", sep="\n")
    return 1 if wrong else 0


def examine(facts: Facts) -> list[Finding]:
    """Judge what was seen.  Looks at nothing but `facts`."""
    return [
        Finding("antiphon", facts.antiphon),
        _examine_python(facts.python),
        *(_examine_provider(provider, facts.python) for provider in facts.providers),
        _examine_poller(facts.poller, facts.poller_error),
        _examine_open_files(facts.open_files),
    ]


def _shown(finding: Finding) -> str:
    mark = "!" if finding.wrong else " "
    advice = f"\n{'':14}{finding.advice}" if finding.advice else ""
    return f"{mark} {finding.subject:12}{finding.found}{advice}"


def _examine_python(python: tuple[int, int]) -> Finding:
    first, last = (".".join(map(str, version)) for version in TESTED)
    found = ".".join(map(str, python))
    if TESTED[0] <= python <= TESTED[1]:
        return Finding("Python", found)
    return Finding("Python", found, f"antiphon is tested on {first} to {last}: use one of those", wrong=True)


def _examine_provider(provider: Provider, python: tuple[int, int]) -> Finding:
    name, file, owner = provider
    instead = f"`antiphon run PROGRAM`, `antiphon.install()` or `from antiphon import {name}`"
    if file is None:
        advice = f"antiphon is not wholly installed: pip install --force-reinstall antiphon; or use {instead}"
        return Finding(name, "no module of that name", advice, wrong=True)
    if owner is None:
        advice = f"it hides antiphon's: rename it, or use {instead}"
        return Finding(name, f"{file}, which belongs to no distribution", advice, wrong=True)
    found = f"{owner}'s, {file}"
    if owner == ANTIPHON:
        return Finding(name, found)
    if owner == STANDARD_LIBRARY:
        return Finding(name, found, f"as it must be before Python 3.12; for antiphon's, use {instead}")
    advice = f"it hides antiphon's: pip uninstall {owner}; or use {instead}"
    return Finding(name, found, advice, wrong=True)


def _examine_poller(poller: str | None, error: str) -> Finding:
    if poller is None:
        return Finding("poller", "none", f"{error}: unset ANTIPHON_POLLER, or set another", wrong=True)
    if poller == "select":
        return Finding("poller", poller, "watches no descriptor from 1024 on (512 sockets on Windows)")
    return Finding("poller", poller)


def _examine_open_files(limits: tuple[int, int] | None) -> Finding:
    if limits is None:
        return Finding("open files", "no limit that the system tells")
    soft, hard = ("unlimited" if limit < 0 else str(limit) for limit in limits)
    found = f"{soft} at a time"
    if 0 <= limits[0] < FEW_OPEN_FILES:
        if limits[0] == limits[1]:
            way = "limits.conf(5) or, of a service, LimitNOFILE= raises it"
        else:
            way = f"ulimit -n NUMBER raises it, up to {hard}"
        return Finding("open files", found, f"each connection takes one: {way}", wrong=True)
    if limits[0] != limits[1]:
        return Finding("open files", found, f"ulimit -n NUMBER raises it, up to {hard}")
    return Finding("open files", found)


def collect() -> Facts:
    """Look at this process and its environment.  Imports neither asyncore nor asynchat."""
    poller, poller_error = _poller_in_use()
    return Facts(
        antiphon=f"{antiphon.__version__}, {FOLDER}",
        python=sys.version_info[:2],
        providers=(provider_of("asyncore"), provider_of("asynchat")),
        poller=poller,
        poller_error=poller_error,
        open_files=_open_file_limits(),
    )


def provider_of(name: str) -> Provider:
    """Find out who provides a top-level module, without importing it.

    Args:
        name: asyncore or asynchat.
    """
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        return Provider(name, None, None)
    return Provider(name, spec.origin, _owner(name, Path(spec.origin).resolve()))


def _owner(name: str, file: Path) -> str | None:
    if file in (FOLDER / f"{name}.py", FOLDER.parent / f"{name}.py"):
        return ANTIPHON
    if file.parent == Path(sysconfig.get_path("stdlib")).resolve():
        return STANDARD_LIBRARY
    # Several may list the name: Python prefers a package to a module of the same name.
    listing = metadata.packages_distributions().get(name, ())
    return next((distribution for distribution in listing if _brought(distribution, file)), None)


def _brought(distribution: str, file: Path) -> bool:
    return any(Path(str(part.locate())).resolve() == file for part in metadata.files(distribution) or ())


def _poller_in_use() -> tuple[str | None, str]:
    try:
        poller = pollers.make()
    except (PollerUnavailable, OSError) as error:
        return None, str(error)
    poller.close()
    return poller.name, ""


def _open_file_limits() -> tuple[int, int] | None:
    if sys.platform == "win32":  # pragma: no cover: Windows has no such limit and no module resource
        return None
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _or_unlimited(soft, resource.RLIM_INFINITY), _or_unlimited(hard, resource.RLIM_INFINITY)


def _or_unlimited(limit: int, infinity: int) -> int:
    return -1 if limit == infinity else limit
