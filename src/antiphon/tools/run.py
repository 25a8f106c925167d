"""`antiphon run`: a program as `python` would run it, but for where it gets asyncore and asynchat.

The program gets a `__main__` module of its own, which stays in place until the interpreter ends, for the exit
handlers, threads and pickles that refer to it; `runpy.run_path` takes it away after the last line.

A process that the program starts imports asyncore from where it finds it, unless it was forked.
"""

import argparse
import builtins
import os
import pkgutil
import runpy
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import BuiltinImporter, SourceFileLoader, SourcelessFileLoader
from io import open_code
from types import CodeType, ModuleType, TracebackType
from typing import Any, Final, NamedTuple, NoReturn, cast

import antiphon

__all__ = ["Program", "main", "parse"]


class Program(NamedTuple):
    """What to run.

    Attributes:
        kind: "script" (a file, a directory or a zip archive; `-` is the standard input), "module" or
            "command".
        name: the path, the module's dotted name, or the source text.
        arguments: what the program finds in `sys.argv[1:]`.
    """

    kind: str
    name: str
    arguments: list[str]


def parse(words: Sequence[str]) -> Program:
    """Tell the program from its arguments, as `python` does: what follows its name is its own.

    >>> parse(["-m", "http.server", "--bind", "::1"])
    Program(kind='module', name='http.server', arguments=['--bind', '::1'])
    >>> parse(["serve.py", "-m", "fast"])
    Program(kind='script', name='serve.py', arguments=['-m', 'fast'])

    Raises:
        SystemExit: there is no program among `words`, or `--help` is (status 2, status 0).
    """
    first, *rest = words or [""]
    for option, kind in (("-m", "module"), ("-c", "command")):
        if first == option and rest:
            return Program(kind, rest[0], rest[1:])
    if first != "-" and (not first or first.startswith("-")):
        _refuse(first)
    return Program("script", first, rest)


def _refuse(word: str) -> NoReturn:
    parser = argparse.ArgumentParser(
        prog="antiphon run",
        usage="antiphon run (FILE | -m MODULE | -c COMMAND | -) [ARGUMENT ...]",
        description="Run a program exactly as python would, with antiphon's asyncore and asynchat.",
        epilog="FILE may be a directory or a zip archive that holds a __main__.py.  Options of python itself "
        "go to python: python -W error -m antiphon run ...",
    )
    parser.parse_args([word] if word in ("-h", "--help") else [])
    parser.error(f"wanted a program, found {word!r}" if word else "wanted a program, found nothing")


def main(words: Sequence[str]) -> int:
    """Run the program that `words` name.

    What the program lets escape, SystemExit and KeyboardInterrupt included, is passed on, so that the
    interpreter ends as it would have under `python`; a traceback is shown without this launcher's frames.

    Returns:
        0: the program came to its end.
    """
    program = parse(words)
    antiphon.install()
    try:
        _RUNNERS[program.kind](program)
    except BaseException as error:
        _show_from(error, _beyond_launcher(error.__traceback__))
        raise
    return 0


def _run_script(program: Program) -> None:
    arguments = [program.name, *program.arguments]
    path = os.path.join(os.getcwd(), program.name)  # Not abspath(): the interpreter leaves .. as it is.
    if program.name == "-":
        _enter(arguments, "")
        _execute("<stdin>", _code_of(sys.stdin.buffer.read(), "<stdin>"), BuiltinImporter)
    elif pkgutil.get_importer(path) is not None:  # A directory, or a zip archive.
        _enter(arguments, path)
        if sys.flags.safe_path:  # For a directory, python -P makes an exception.
            sys.path.insert(0, path)
        _run_as_main("__main__", argv_is_set=True)
    else:
        _enter(arguments, os.path.dirname(os.path.realpath(path)))
        _run_file(path)


def _run_file(path: str) -> None:
    try:
        with open_code(path) as file:
            source = file.read()
    except OSError as error:
        # The wording and the status of the interpreter itself.
        reason = f"[Errno {error.errno}] {error.strerror}"
        print(f"{sys.executable}: can't open file {path!r}: {reason}", file=sys.stderr)
        raise SystemExit(2) from None
    if path.endswith(".pyc"):
        sourceless = SourcelessFileLoader("__main__", path)
        _execute(path, cast("CodeType", sourceless.get_code("__main__")), sourceless)
    else:
        _execute(path, _code_of(source, path), SourceFileLoader("__main__", path))


def _run_module(program: Program) -> None:
    _enter(["-m", *program.arguments], os.getcwd())
    _run_as_main(program.name, argv_is_set=False)


def _run_command(program: Program) -> None:
    _enter(["-c", *program.arguments], "")
    _execute(None, _code_of(program.name, "<string>"), BuiltinImporter)


def _enter(argv: list[str], folder: str) -> None:
    """Give the program its arguments, and its own folder in the place of the launcher's on `sys.path`."""
    sys.argv = argv
    if not sys.flags.safe_path:  # python -P puts no folder there.
        sys.path[0] = folder


def _run_as_main(name: str, *, argv_is_set: bool) -> None:
    """Find a module and run it as `python -m` does; the interpreter calls the same function for that."""
    _fresh_main(BuiltinImporter)
    runpy._run_module_as_main(name, alter_argv=not argv_is_set)  # type: ignore[attr-defined]


def _code_of(source: str | bytes, filename: str) -> CodeType:
    return compile(source, filename, "exec", dont_inherit=True)


def _execute(filename: str | None, code: CodeType, loader: object) -> None:
    main_module = _fresh_main(loader)
    if filename is not None:
        vars(main_module).update(_NAMES_OF_A_FILE, __file__=filename)
    exec(code, vars(main_module))


def _fresh_main(loader: object) -> ModuleType:
    """A `__main__` with the names that the interpreter itself gives it, in its place."""
    main_module = ModuleType("__main__")
    vars(main_module).update(__builtins__=builtins, __loader__=loader)
    vars(main_module).update(_NAMES_OF_ANY_PROGRAM)
    sys.modules["__main__"] = main_module
    return main_module


def _beyond_launcher(traceback: TracebackType | None) -> TracebackType | None:
    while traceback is not None and traceback.tb_frame.f_code.co_filename == main.__code__.co_filename:
        traceback = traceback.tb_next
    return traceback


def _show_from(error: BaseException, start: TracebackType | None) -> None:
    """When the interpreter shows `error`, begin its traceback at `start`."""
    show = sys.excepthook

    def show_program(kind: type[BaseException], value: BaseException, whole: TracebackType | None) -> None:
        if value is not error:
            show(kind, value, whole)
        else:
            value.__traceback__ = start  # The interpreter's own hook looks there.
            show(kind, value, start)

    sys.excepthook = show_program


_NAMES_OF_A_FILE: Final[dict[str, Any]] = {"__cached__": None} if sys.version_info < (3, 15) else {}
_NAMES_OF_ANY_PROGRAM: Final[dict[str, Any]] = {"__annotations__": {}} if sys.version_info < (3, 14) else {}

_RUNNERS: Final[dict[str, Callable[[Program], None]]] = {
    "script": _run_script,
    "module": _run_module,
    "command": _run_command,
}
