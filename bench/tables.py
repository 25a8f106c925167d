"""The tables of the report, in Markdown."""

from collections.abc import Callable, Iterable, Sequence

from bench.bars import BARS, judge, shown
from bench.modes import CONNECTION_COUNTS, IDLE, MODES
from bench.ratios import good, median, quartiles, short, values
from bench.results import Results
from bench.rows import LIMIT, REFERENCE

__all__ = [
    "bars",
    "calls",
    "cpu",
    "failures",
    "idle",
    "latency",
    "machine",
    "profile",
    "profile_functions",
    "rates",
    "scale",
    "spread",
    "use",
    "weak",
]

NOTHING = "Not measured."


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    body = [f"| {' | '.join(row)} |" for row in rows]
    if not body:
        return NOTHING
    return "\n".join([f"| {' | '.join(head)} |", "|" + "---|" * len(head), *body])


def _by_mode(results: Results, cell: Callable[[str, str], str], modes: Sequence[str] | None = None) -> str:
    """A row per server, a column per mode; "-" where nothing was measured."""
    columns = results.modes_of(list(modes or MODES))

    def text(row: str, mode: str) -> str:
        samples = results.samples(row, mode)
        if good(samples):
            return cell(row, mode)
        return "fails" if samples else "-"

    rows = ([row, *(text(row, mode) for mode in columns)] for row in results.rows)
    return _table(["server", *columns], rows if columns else [])


def _times(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2f}"


def cpu(results: Results) -> str:
    """CPU per operation, and how it compares."""

    def cell(row: str, mode: str) -> str:
        against = (results.ratio(row, mode, reference) for reference in (LIMIT, REFERENCE))
        return " · ".join([short(results.figure(row, mode, "cpu_us")), *map(_times, against)])

    return _by_mode(results, cell)


def spread(results: Results) -> str:
    """Quartiles of the ratio to uvloop."""

    def cell(row: str, mode: str) -> str:
        found = results.all_ratios(row, mode, REFERENCE)
        if not found:
            return "-"
        low, _, high = quartiles(found)
        return f"{low:.2f}-{high:.2f}"

    return _by_mode(results, cell)


def rates(results: Results) -> str:
    """Operations per second."""
    units = ", ".join(f"{name} {MODES[name].unit}" for name in results.modes_of(list(MODES)))
    table = _by_mode(results, lambda row, mode: short(results.figure(row, mode, "rate")))
    return f"Units: {units}.\n\n{table}" if units else NOTHING


def use(results: Results) -> str:
    """How full the two cores were."""

    def cell(row: str, mode: str) -> str:
        both = (results.figure(row, mode, key) for key in ("server_cpu", "generator_cpu"))
        return " / ".join(map(_times, both))

    return _by_mode(results, cell)


def latency(results: Results) -> str:
    """Percentiles of what one operation takes."""

    def cell(row: str, mode: str) -> str:
        found = [sample["latency_us"] for sample in good(results.samples(row, mode))]
        return " / ".join(short(median(values(found, percentile))) for percentile in ("50", "99", "99.9"))

    modes = [name for name in MODES if name.startswith(("pingpong", "idle"))]
    return _by_mode(results, cell, modes)


def idle(results: Results) -> str:
    """Memory of idle connections, page faults of bodies, growth of CPU with the length of a line."""
    rows = []
    for row in results.rows:
        memory = results.bytes_per_connection(row, "idle9000", IDLE)
        figures = [
            short(memory),
            short(results.figure(row, "idle9000", "setup_s")),
            short(results.figure(row, "upload", "faults")),
            _times(results.figure(row, "drip", "growth")),
        ]
        if any(figure != "-" for figure in figures):
            rows.append([row, *figures])
    head = [
        "server",
        "bytes a connection",
        "set-up of 9,000, s",
        "page faults a body",
        "CPU of 8 MiB over 4 MiB",
    ]
    return _table(head, rows)


def scale(results: Results) -> str:
    """CPU of a request against the number of idle connections."""
    found = {row: results.points(row) for row in results.rows}
    counts = [count for count in CONNECTION_COUNTS if any(count in points for points in found.values())]
    rows = []
    for row, points in found.items():
        if points:
            cells = (short(median(values(points.get(count, []), "cpu_us"))) for count in counts)
            rows.append([row, *cells])
    return _table(["server", *(f"{count:,}" for count in counts)], rows)


def calls(results: Results) -> str:
    """CPU of a call to `loop`."""
    rows = (
        [
            f"{case['channels']:,}",
            f"`{case['kind']}`",
            "poll" if case["use_poll"] else "select",
            short(case["ours_us"]),
            short(case["theirs_us"]),
            f"{case['ratio']:.2f}",
        ]
        for case in results.calls
    )
    return _table(
        ["channels", "map", "`use_poll`", "antiphon, us", "old modules, us", "old / antiphon"], rows
    )


def profile(results: Results) -> str:
    """Bytecodes and calls of an operation."""
    servers = list(dict.fromkeys(found["server"] for found in results.profile))
    operations = list(dict.fromkeys(found["operation"] for found in results.profile))
    cells = {
        (found["server"], found["operation"]): f"{found['bytecodes']:.0f} / {found['calls']:.1f}"
        for found in results.profile
    }
    rows = [[server, *(cells.get((server, each), "-") for each in operations)] for server in servers]
    return _table(["server", *operations], rows)


def profile_functions(results: Results) -> str:
    """The functions of the first server that execute most."""
    rows = (
        [found["operation"], f"`{name}`", short(bytecodes), short(calls)]
        for found in results.profile
        if found["server"] == results.profile[0]["server"]
        for name, bytecodes, calls in found["functions"]
    )
    return _table(["operation", "function", "bytecodes", "calls"], rows)


def bars(results: Results) -> str:
    """What is to be reached, and what is."""
    answers = {True: "yes", False: "**no**", None: "-"}
    verdicts = (judge(bar, results) for bar in BARS)
    rows = ([one.bar.subject, one.bar.wanted, shown(one), answers[one.reached]] for one in verdicts)
    return _table(["what", "bar", "found", "reached"], rows)


def weak(results: Results) -> str:
    """The bars that are not reached, one a line."""
    verdicts = [judge(bar, results) for bar in BARS]
    missed = [
        f"- {one.bar.subject}: {shown(one)}, where the bar is {one.bar.wanted}."
        for one in verdicts
        if one.reached is False
    ]
    unknown = sum(one.reached is None for one in verdicts)
    lines = missed or ["Every bar that was measured is reached."]
    if unknown:
        lines += ["", f"Not measured: {unknown} of {len(verdicts)}."]
    return "\n".join(lines)


def _disturbance(results: Results) -> str:
    found = [
        number
        for row in results.rows
        for mode in MODES
        for number in values(results.samples(row, mode), "foreign")
    ]
    if not found:
        return ""
    disturbed = sum(number > 0.15 for number in found)
    return (
        f"Other processes used {median(found):.2f} cores during a sample in the median; "
        f"{disturbed} of {len(found)} samples were taken beside more than 0.15."
    )


def machine(results: Results) -> str:
    """Where and when, with which versions."""
    runs = results.document["runs"]
    lines = [f"- {name}: {runs[0][name]}" for name in ("processor", "cores", "kernel", "C library")]
    for name, found in results.document["versions"].items():
        lines.append(
            f"- {name} interpreter: " + ", ".join(f"{peer} {version}" for peer, version in found.items())
        )
    for run in runs:
        rows = f" of rows that match `{run['only']}`" if run["only"] else ""
        lines.append(
            f"- measured {run['started']}, {run['rounds']} x {run['seconds']:g} s{rows}: "
            f"{', '.join(run['modes'])}"
        )
    disturbance = _disturbance(results)
    return "\n".join([*lines, *([f"- {disturbance}"] if disturbance else [])])


def failures(results: Results) -> str:
    """What could not be measured, and why."""
    lines = [f"- {row} is left out: {why}" for row, why in results.document["left_out"].items()]
    for row in results.rows:
        for mode in (*MODES, "scale"):
            for sample in results.samples(row, mode):
                reason = sample.get("error") or sample.get("stopped")
                if reason:
                    said = f" ({sample['server']})" if sample.get("server") else ""
                    lines.append(f"- {row}, {mode}: {reason}{said}")
    return "\n".join(dict.fromkeys(lines)) or "Nothing failed."
