"""A virtual environment to install things into, and what can be seen of it from outside."""

import base64
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path


class Environment:
    """A virtual environment without pip, which another interpreter's pip fills from a folder of wheels.

    Args:
        folder: where to make it.
        wheels: the only place that distributions may come from.
    """

    def __init__(self, folder: Path, wheels: Path) -> None:
        run(sys.executable, "-m", "venv", "--without-pip", str(folder))
        self.folder = folder
        self.wheels = wheels

    def install(self, *names: str) -> None:
        """Install distributions, without their dependencies."""
        self._pip("install", "--no-index", "--find-links", str(self.wheels), "--no-deps", *names)

    def uninstall(self, *names: str) -> None:
        """Uninstall distributions."""
        self._pip("uninstall", "--yes", *names)

    def check(self) -> None:
        """Fail if pip finds a dependency missing."""
        self._pip("check")

    def output_of(self, *words: str) -> str:
        """What a command of the environment prints.

        Raises:
            subprocess.CalledProcessError: it failed.
        """
        return run(str(self.folder / "bin" / words[0]), *words[1:])

    def files_of(self, *names: str) -> list[str]:
        """The files that top-level modules are imported from, relative to the site-packages folder."""
        program = "; ".join(f"import {name}; print({name}.__file__)" for name in names)
        return [str(self._relative(line)) for line in self.output_of("python", "-c", program).splitlines()]

    def _relative(self, file: str) -> Path:
        site = self.site_packages
        return Path(file).relative_to(site) if Path(file).is_relative_to(site) else Path(file)

    @property
    def site_packages(self) -> Path:
        """Where distributions are installed."""
        return self.folder / "lib" / "python{}.{}".format(*sys.version_info) / "site-packages"

    def damaged(self, *names: str) -> list[str]:
        """The installed files that are missing, or are not what the distribution that brought them lists.

        Args:
            names: the distributions to look at; all, if none is named.
        """
        looked_at = (each for each in self._distributions() if not names or each.name in names)
        return [file for distribution in looked_at for file in damage_of(distribution)]

    def _distributions(self) -> Iterator[Distribution]:
        return iter(distributions(path=[str(self.site_packages)]))

    def leftovers(self) -> list[str]:
        """What is in site-packages and belongs to no distribution, but for the caches of compiled modules."""
        listed = {
            Path(str(file.locate())).resolve()
            for distribution in self._distributions()
            for file in distribution.files or ()
        }
        files = (path for path in self.site_packages.rglob("*") if path.is_file() and path.suffix != ".pyc")
        return [str(path) for path in files if path.resolve() not in listed]

    def _pip(self, command: str, *words: str) -> None:
        python = str(self.folder / "bin" / "python")
        run(sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check", command, *words)


def run(*command: str) -> str:
    """What a command prints, in an environment that says nothing of modules of ours or of other tests.

    Raises:
        subprocess.CalledProcessError: it failed; what it printed is in a note of the exception.
    """
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV"))}
    try:
        done = subprocess.run(
            command, env=variables, stdin=subprocess.DEVNULL, capture_output=True, check=True
        )
    except subprocess.CalledProcessError as error:
        error.add_note((error.stdout + error.stderr).decode())
        raise
    return done.stdout.decode()


def damage_of(distribution: Distribution) -> Iterator[str]:
    """The files of a distribution whose hash is not the one that its list gives."""
    for file in distribution.files or ():
        if file.hash is None:  # The list itself, and compiled modules.
            continue
        path = Path(str(file.locate()))
        if not path.exists() or hash_of(path, file.hash.mode) != file.hash.value:
            yield str(path)


def hash_of(path: Path, algorithm: str) -> str:
    """A file's hash as lists of installed files give it: base64 for URLs, without padding."""
    digest = hashlib.new(algorithm, path.read_bytes()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
