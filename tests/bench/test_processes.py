"""Modules of the benchmark as programs of their own."""

import json
import sys
from pathlib import Path

import pytest
from bench.processes import Setting, run_module


def setting(source: Path) -> Setting:
    return Setting(tools=source, python=sys.executable, older=None, source=source, cache=source, cores=(0, 0))


def test_a_module_is_told_where_antiphon_is_and_its_json_is_read(tmp_path: Path) -> None:
    source = tmp_path / "source.json"
    source.write_text(json.dumps([{"operation": "read"}]))
    assert run_module(setting(source), "json.tool", limit=30) == [{"operation": "read"}]


def test_a_module_that_fails_is_named_with_the_last_thing_that_it_said(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"^bench\.calls failed: .*invalid int value: 'many'"):
        run_module(setting(tmp_path), "bench.calls", "--rounds", "many", limit=30)
