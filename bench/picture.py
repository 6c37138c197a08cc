"""The picture of a run: throughput and waiting over clients, every ratio beside its floor and aim, growth."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.child import ROOT
from bench.figures import Figure
from bench.machine import Machine

PICTURE = ROOT / "bench" / "results.svg"
_COLORS = ("#0b6e99", "#b5540b", "#2d7d46", "#7a3e9d", "#a8324a", "#5d6b1f", "#4a5568")


def draw(results: Mapping[str, Sequence[Figure]], machine: Machine) -> Path:
    """Draw all scenarios of one run; the file replaces the last one."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "dewpond", "font.size": 9, "axes.titlesize": 10})
    from matplotlib import pyplot as plt

    sheet, ((speed, wait), (against, growth)) = plt.subplots(2, 2, figsize=(11.5, 8.4), layout="constrained")
    lines = _lines([figure for figures in results.values() for figure in figures if figure.case.clients])
    _over_clients(speed, lines, "Throughput over clients", "a second")
    _waits(wait, lines)
    _ratios(against, [figure for figures in results.values() for figure in figures if figure.case.floor is not None])
    _growth(growth, results["growth"])
    sheet.suptitle(f"Dewpond {machine.commit}, {machine.date}: {machine.cores} × {machine.processor}, "
                   f"PostgreSQL {machine.postgres}, durable; one run, medians of interleaved rounds")  # fmt: skip
    sheet.savefig(PICTURE, metadata={"Date": None})
    plt.close(sheet)
    return PICTURE


def _lines(figures: Sequence[Figure]) -> dict[str, list[Figure]]:
    lines: dict[str, list[Figure]] = {}
    for figure in figures:
        if figure.case.line:
            lines.setdefault(figure.case.line, []).append(figure)
    return lines


def _over_clients(axes: Any, lines: Mapping[str, Sequence[Figure]], title: str, unit: str) -> None:
    for (name, figures), color in zip(lines.items(), _COLORS, strict=False):
        clients = [figure.case.clients for figure in figures]
        axes.plot(clients, [figure.rate for figure in figures], "o-", color=color, label=name)
        axes.annotate(f"{figures[-1].rate:,.0f}", (clients[-1], figures[-1].rate), textcoords="offset points",
                      xytext=(6, -3), color=color)  # fmt: skip
    _scales(axes, title, unit)
    axes.legend(frameon=False, fontsize=8)


def _waits(axes: Any, lines: Mapping[str, Sequence[Figure]]) -> None:
    for figures, color in zip(lines.values(), _COLORS, strict=False):
        clients = [figure.case.clients for figure in figures]
        axes.plot(clients, [figure.p50 for figure in figures], "o-", color=color)
        axes.plot(clients, [figure.p99 for figure in figures], "o--", color=color, markerfacecolor="white")
    _scales(axes, "How long each waits: p50 ——, p99 – –", "ms")


def _scales(axes: Any, title: str, unit: str) -> None:
    axes.set(title=title, xscale="log", yscale="log", xlabel="clients at once", ylabel=unit, xlim=(0.8, 600))
    axes.set_xticks([1, 32, 256], ["1", "32", "256"])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _ratios(axes: Any, figures: Sequence[Figure]) -> None:
    """Each in units of its floor, so that 1 is the floor of all of them."""
    for at, figure in enumerate(reversed(figures)):
        case = figure.case
        assert case.floor is not None
        ratios = [ratio / case.floor for ratio in figure.ratios]
        axes.plot([ratios[0], ratios[-1]], [at, at], color="#999", linewidth=3, solid_capstyle="round")
        axes.plot(figure.ratio / case.floor, at, "o", color=_COLORS[0])
        if case.aim is not None:
            axes.plot(case.aim / case.floor, at, "|", color=_COLORS[2], markersize=11, markeredgewidth=2)
    axes.axvline(1, color=_COLORS[4], linewidth=1)
    names = [f"{figure.case.scenario}: {figure.case.name}  {figure.ratio:.2f} ×" for figure in reversed(figures)]
    axes.set_yticks(range(len(figures)), names, fontsize=7.5)
    axes.set(title="Ratio to the limit: red is the floor, green the aim", xlabel="in units of the floor")
    axes.set_xlim(left=0)
    axes.grid(axis="x", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _growth(axes: Any, figures: Sequence[Figure]) -> None:
    sizes = [int(figure.case.line) for figure in figures]
    costs = {
        "time against the limit": [1 / figure.ratio for figure in figures],
        "processor time": [figure.middle(lambda s: s.server_us + s.ours_us) for figure in figures],
        "WAL bytes": [figure.middle(lambda s: s.wal_bytes) for figure in figures],
    }
    for (name, values), color in zip(costs.items(), _COLORS, strict=False):
        axes.plot(sizes, [value / values[0] for value in values], "o-", color=color, label=name)
    axes.margins(y=0.15)
    axes.set(title="An entry's cost as the book grows", xscale="log", xlabel="entries stored", ylabel="times the first")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=8)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
