import pytest
from bench.command_line import parse
from bench.tls import TLS_MODES, Pair, tls_summary


def test_tls_is_a_run_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert parse(["--tools", "tools", "--tls"]).tls
    with pytest.raises(SystemExit):
        parse(["--tools", "tools", "--tls", "--quick"])
    assert "not allowed with" in capsys.readouterr().err


def test_the_summary_has_paired_ratios_and_memory() -> None:
    pairs = [Pair(mode) for mode in TLS_MODES]
    for pair in pairs:
        for ours, theirs in (10, 20), (100, 150), (10, 10):
            pair.samples[0].append({"cpu_us": ours})
            pair.samples[1].append({"cpu_us": theirs})
    pairs[-1].samples[0][0] |= {"rss0_kb": 20_000, "rss1_kb": 30_000}
    pairs[-1].samples[1][0] |= {"rss0_kb": 20_000, "rss1_kb": 45_000}

    lines = tls_summary(pairs).splitlines()

    assert lines[2].split() == ["pingpong100", "10", "20", "1.50", "1.25-1.75"]
    assert lines[-1] == "memory of an idle connection: antiphon 10.0 KiB, uvloop 25.0 KiB"
    assert len(lines) == 2 + len(TLS_MODES) + 1
