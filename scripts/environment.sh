# Sourced by the scripts beside it: finds interpreters and makes virtual environments for them.
#
# An environment is kept in .venv-PURPOSE-VERSION-KEY. KEY stands for the interpreter and for this folder, so that the
# folder can be moved, or shared with a container, and still each side has its own. It is made anew when its
# dependency groups in pyproject.toml change.

supported="3.15 3.14 3.13 3.12 3.11"
needed_modules="ensurepip, venv"

fail() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

# usable COMMAND [VERSION]: whether COMMAND is Python 3.11 or later, of that very VERSION if one is given.
usable() {
    "$1" -c "import sys, $needed_modules
sys.exit(sys.version_info < (3, 11) or sys.argv[1] not in ('', '%d.%d' % sys.version_info[:2]))" "${2-}" >/dev/null 2>&1
}

# find_version VERSION: sets $python to an interpreter of that version, or returns 1.
find_version() {
    for python in "python$1" python3 "${PYENV_ROOT:-${HOME-}/.pyenv}/versions/$1".*[0-9]/bin/python3; do
        usable "$python" "$1" && return
    done
    return 1
}

# find_python: sets $python to $PYTHON, to python3, or to the newest interpreter that is supported.
find_python() {
    wanted="Python 3.11 or later (with the modules $needed_modules)"
    if [ -n "${PYTHON-}" ]; then
        usable "$PYTHON" || fail "wanted $wanted, found PYTHON=$PYTHON, which is not"
        python=$PYTHON
        return
    fi
    usable python3 && python=python3 && return
    for version in $supported; do
        find_version "$version" && return
    done
    fail "found no $wanted on PATH or among pyenv's versions; PYTHON=/path/to/python names one that is elsewhere"
}

# make_environment PURPOSE GROUP...: sets $environment to the folder of one that has these dependency groups.
make_environment() {
    environment=$("$python" -c '
import os, sys, zlib
key = zlib.crc32("\n".join([os.path.realpath(sys.executable), sys.version, os.getcwd()]).encode())
print(".venv-%s-%d.%d-%08x" % (sys.argv[1], *sys.version_info[:2], key))' "$1")
    shift
    requirements=$("$python" -c '
import sys, tomllib
with open("pyproject.toml", "rb") as file:
    groups = tomllib.load(file)["dependency-groups"]
print(*sorted({requirement for name in sys.argv[1:] for requirement in groups[name]}), sep="\n")' "$@")
    [ "$(cat "$environment/installed" 2>/dev/null)" != "$requirements" ] || return 0
    echo "$(basename "$0"): making $environment" >&2
    "$python" -m venv --clear "$environment"
    printf '%s\n' "$requirements" >"$environment/wanted"
    "$environment/bin/python" -m pip install --quiet --disable-pip-version-check -r "$environment/wanted" >&2
    mv "$environment/wanted" "$environment/installed"
}
