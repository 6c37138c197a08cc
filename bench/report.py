"""What a run came to: a table per scenario on the terminal, and a line in RESULTS.md."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.child import ROOT
from bench.figures import Figure
from bench.machine import Machine

RESULTS = ROOT / "bench" / "RESULTS.md"

_COLORS = {"aim": "green", "floor": "yellow", "below floor": "red"}
_COLUMNS = ("per s", "× limit", "least–most", "floor/aim", "µs PG", "µs own", "µs load", "WAL B", "p50", "p99 ms")
_TABLE = (
    "date", "commit", "machine", "rounds",
    "ledger", "confirm", "checkout", "orders", "callbacks", "consoles", "growth", "notes",
)  # fmt: skip
_HEAD = """# Speed

`make bench` measures each scenario of the design beside its limit, in interleaved rounds of one run, on a PostgreSQL of
its own with fsync on, and adds a line here. Ratios are what counts; machines change their speed from minute to minute.

![Throughput and latency over clients](results.svg)

In each cell: operations a second = ratio to the limit, median (least–most) · processor µs per operation in PostgreSQL +
in Dewpond · WAL bytes per operation · p50/p99 in ms. A plus behind the commit: with changes that were not committed.
Limits: orders and callbacks RSA-2048 signatures, all others `pgbench` TPC-B with 32 clients.

"""


def show(console: Console, scenario: str, figures: Sequence[Figure]) -> None:
    """The table of one scenario, and what was expected of it."""
    limit = f"{figures[0].middle(lambda sample: sample.limit):,.0f} a second: {figures[0].limit_name}"
    table = Table(title=f"{scenario}  ·  limit {limit}", title_justify="left", header_style="bold", expand=False)
    table.add_column("case", min_width=30)
    for title in (
        "per s",
        "× limit",
        "least–most",
        "floor/aim",
        "µs PG",
        "µs own",
        "µs load",
        "WAL B",
        "p50",
        "p99 ms",
    ):
        table.add_column(title, justify="right", no_wrap=True)
    for figure in figures:
        table.add_row(*_row(figure))
    console.print(table)
    for expected in dict.fromkeys(figure.case.expected for figure in figures):
        names = "; ".join(figure.case.name for figure in figures if figure.case.expected == expected)
        console.print(f"  [dim]expected of {names}: {expected}[/dim]", highlight=False)
    console.print()


def _row(figure: Figure) -> list[str]:
    case, ratios = figure.case, figure.ratios
    marks = "" if case.floor is None else f"{case.floor:g}/{case.aim:g} " + _verdict(figure)
    return [
        case.name,
        f"{figure.rate:,.0f}",
        f"{figure.ratio:.2f}",
        f"{ratios[0]:.2f}–{ratios[-1]:.2f}",
        marks,
        f"{figure.middle(lambda sample: sample.server_us):,.0f}",
        f"{figure.middle(lambda sample: sample.ours_us):,.0f}",
        f"{figure.middle(lambda sample: sample.load_us):,.0f}",
        f"{figure.middle(lambda sample: sample.wal_bytes):,.0f}",
        _ms(figure.p50),
        _ms(figure.p99),
    ]


def _verdict(figure: Figure) -> str:
    return f"[{_COLORS[figure.verdict]}]{figure.verdict}[/]"


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def record(machine: Machine, results: Mapping[str, Sequence[Figure]], notes: Sequence[str], how: str) -> Path:
    """Add this run to RESULTS.md: one line of a table. Earlier runs have no figures in columns that came later."""
    run = {"date": machine.date, "commit": machine.commit, "machine": str(machine), "rounds": how}
    run |= {name: "<br>".join(map(_told, figures)) for name, figures in results.items()}
    run["notes"] = "<br>".join(notes)
    lines = [" | ".join(each.get(name) or "–" for name in _TABLE) for each in [*_earlier(), run]]
    head = f"| {' | '.join(_TABLE)} |\n|{'---|' * len(_TABLE)}\n"
    RESULTS.write_text(_HEAD + head + "".join(f"| {line} |\n" for line in lines), encoding="utf-8")
    return RESULTS


def _earlier() -> list[dict[str, str]]:
    """The runs that stand in RESULTS.md."""
    text = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else ""
    rows = [line[2:-2].split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]


def _told(figure: Figure) -> str:
    ratios = figure.ratios
    server, ours = figure.middle(lambda sample: sample.server_us), figure.middle(lambda sample: sample.ours_us)
    return (
        f"**{figure.case.name}** {figure.rate:,.0f} = {figure.ratio:.2f} × ({ratios[0]:.2f}–{ratios[-1]:.2f})"
        f" · {server:,.0f} + {ours:,.0f} µs"
        f" · {figure.middle(lambda sample: sample.wal_bytes):,.0f} B · {_ms(figure.p50)}/{_ms(figure.p99)} ms"
    )
