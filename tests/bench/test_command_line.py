import argparse
import shutil
import subprocess
from pathlib import Path

import pytest
from bench.calls import cases
from bench.command_line import parse
from bench.modes import MODES
from bench.quick import WORK_TREE, Comparison, sources, summary, versions_to_compare
from bench.rounds import rotated
from bench.rows import ROWS, chosen

SERVERS = Path(__file__).parents[2] / "bench" / "servers"


def parsed(*arguments: str) -> argparse.Namespace:
    return parse(["--tools", "tools", *arguments])


def test_without_options_everything_is_measured() -> None:
    options = parsed()

    assert options.modes == [*MODES, "scale", "calls", "profile"]
    assert (options.only, options.quick, options.rounds) == (None, None, None)


def test_quick_takes_commits_or_none() -> None:
    assert parsed("--quick").quick == []
    assert parsed("--quick", "v1", "v2").quick == ["v1", "v2"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--modes", "pipeline,nonsense"], "found 'nonsense'"),
        (["--rounds", "0"], "wanted at least 1 round, found 0"),
        (["--quick", "--report"], "not allowed with"),
    ],
)
def test_a_wrong_argument_is_named(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parsed(*arguments)

    assert complaint in capsys.readouterr().err


def test_the_references_are_always_chosen() -> None:
    assert [row.name for row in chosen("antiphon$")] == ["climit", "antiphon", "uvloop protocol"]
    assert chosen(None) == list(ROWS)


def test_each_row_has_a_script_and_a_name_of_its_own() -> None:
    assert all((SERVERS / row.script).is_file() for row in ROWS if row.script)
    assert len({row.name for row in ROWS}) == len(ROWS)


def test_each_round_has_all_rows_in_another_order() -> None:
    orders = [rotated(ROWS, number) for number in range(3)]

    assert all(set(order) == set(ROWS) for order in orders)
    assert orders[0] != orders[1] != orders[2]


def test_calls_that_need_more_files_than_there_may_be_are_left_out() -> None:
    assert max(case.channels for case in cases(20000)) == 16000
    assert max(case.channels for case in cases(1024)) == 100


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository of two commits, whose `src` differs."""
    if shutil.which("git") is None:
        pytest.skip("needs git")

    def git(*arguments: str) -> None:
        who = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True)

    git("init")
    (tmp_path / "src").mkdir()
    for text in ("first", "second"):
        (tmp_path / "src" / "module.py").write_text(text)
        git("add", "src")
        git("commit", "-m", text)
    return tmp_path


def test_the_work_tree_is_compared_with_the_last_commit_that_differs(project: Path) -> None:
    assert versions_to_compare(project, []) == ("HEAD~1", WORK_TREE)
    (project / "src" / "module.py").write_text("third")
    assert versions_to_compare(project, []) == ("HEAD", WORK_TREE)


def test_commits_that_are_named_are_compared(project: Path) -> None:
    assert versions_to_compare(project, ["HEAD~1"]) == ("HEAD~1", WORK_TREE)
    assert versions_to_compare(project, ["HEAD~1", "HEAD"]) == ("HEAD~1", "HEAD")


def test_what_is_no_commit_is_named(project: Path) -> None:
    with pytest.raises(ValueError, match="nonsense"):
        versions_to_compare(project, ["nonsense"])
    with pytest.raises(ValueError, match="at most two commits, found 3: a b c"):
        versions_to_compare(project, ["a", "b", "c"])


def test_a_commit_is_unpacked_beside_the_work_tree_and_removed(project: Path) -> None:
    with sources(project, "HEAD~1") as folder:
        assert (folder / "module.py").read_text() == "first"
    assert not folder.exists()
    with sources(project, WORK_TREE) as folder:
        assert (folder / "module.py").read_text() == "second"


def test_the_summary_says_cheaper_where_both_quartiles_do() -> None:
    found = [
        Comparison("pipeline", [10.0, 11.0, 12.0], [5.0, 5.5, 6.0]),
        Comparison("upload", [10.0, 10.0, 10.0], [9.0, 10.0, 11.0]),
        Comparison("churn", [5.0], [10.0]),
    ]

    pipeline, upload, churn = summary(["HEAD", WORK_TREE], found).splitlines()[2:]

    assert pipeline.split() == ["pipeline", "11", "5.5", "2.000", "2.000-2.000", "3", "cheaper"]
    assert upload.split() == ["upload", "10", "10", "1.000", "0.955-1.056", "3"]
    assert churn.split()[-1] == "dearer"
