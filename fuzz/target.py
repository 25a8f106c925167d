"""One harness in libFuzzer: `python -m fuzz.target NAME [libFuzzer's options and folders]`."""

import sys

import atheris

with atheris.instrument_imports(include=["antiphon", "bench.resp"]):
    from fuzz.harnesses import HARNESSES

if __name__ == "__main__":
    harness = HARNESSES[sys.argv.pop(1)]
    atheris.Setup(sys.argv, harness.try_one)
    atheris.Fuzz()
