"""The results of a run, as pictures for `docs/performance.md`."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from suite.subjects import IDLE, MOTOR, OTHER, PICKLE, PYMONGO

Series = Mapping[str, Any]
_OURS, _OURS_TOO, _RAW, _LESS_RAW, _PICKLE, _OTHER = "#00796b", "#5cb8ad", "#6b7780", "#a3adb5", "#c8553d", "#eb9f5c"
_COLOURS = {
    MOTOR: _OURS,
    PYMONGO: _OURS_TOO,
    "ours, eager": _LESS_RAW,
    "ours: pickle": _OURS,
    "ours: view": _OURS_TOO,
    "ours": _OURS,
    PICKLE: _PICKLE,
    OTHER: _OTHER,
    IDLE: _LESS_RAW,
    "no persistence": _RAW,
}
_STYLE = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.titlepad": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#8a949b",
    "axes.labelcolor": "#3c464d",
    "axes.titlecolor": "#20282d",
    "xtick.color": "#3c464d",
    "ytick.color": "#3c464d",
    "grid.color": "#e4e8ea",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.hashsalt": "ptb_mongo",
}


LAZY = ", lazy"


def colour(name: str) -> str:
    """The colour of a subject, the same in every picture."""
    return _COLOURS.get(name.removesuffix(LAZY), _RAW if name.startswith("Motor") else _LESS_RAW)


def time(seconds: float) -> str:
    """A time, in a unit that fits."""
    for unit, size in (("s", 1), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}" if seconds < 1000 else f"{seconds:,.0f} s"
    return f"{seconds * 1e6:.3g} µs"


def bars(axes: Axes, values: Mapping[str, float], text: Callable[[float], str], *, log: bool = False) -> None:
    """Draws a bar for each name, with its value next to it; the first one on top."""
    names = list(values)
    places = range(len(names))
    axes.barh(places, list(values.values()), color=[colour(name) for name in names], height=0.68)
    for place, value in zip(places, values.values(), strict=True):
        axes.annotate(text(value), (value, place), (4, 0), textcoords="offset points", va="center", fontsize=9)
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    if log:
        axes.set_xscale("log")
        axes.set_xlim(min(values.values()) / 3, max(values.values()) * 8)
        axes.set_xlabel("logarithmic scale")
        axes.minorticks_off()
    else:
        axes.set_xlim(0, max(values.values()) * 1.22)
        axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.grid(axis="x")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: text(value) if value > 0 else "0"))


def lines(axes: Axes, values: Mapping[str, Sequence[tuple[float, float]]]) -> None:
    """Draws a line for each name, over the number of users; both scales are logarithmic."""
    for name, points in values.items():
        axes.plot(*zip(*points, strict=True), "o-", color=colour(name), label=name, markersize=5, linewidth=2)
    axes.set_xscale("log")
    axes.set_yscale("log")
    heights = [height for points in values.values() for _, height in points]
    axes.set_ylim(min(heights) / 3, max(heights) * 3)
    axes.xaxis.set_major_locator(FixedLocator([size for size, _ in max(values.values(), key=len)]))
    axes.grid()
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: time(value)))
    axes.minorticks_off()
    axes.set_xlabel("users stored")
    axes.legend(fontsize=9)


def medians(times: Mapping[str, Sequence[float]], *, descending: bool = False) -> dict[str, float]:
    """The median of each subject, in order."""
    found = {name: statistics.median(values) for name, values in times.items()}
    return dict(sorted(found.items(), key=lambda pair: pair[1], reverse=descending))


def save(left: Axes, right: Axes, series: Series) -> None:
    """Saving all users, and saving one of many."""
    many, one = series["save"], series["save_one"]
    left.set_title(f"Save {many['users']:,} users, a field each")
    bars(left, medians(many["seconds"]), time, log=True)
    right.set_title("Save one user, with many loaded")
    points = {
        name: [(size, statistics.median(times)) for size, times in zip(one["sizes"], rounds, strict=True)]
        for name, rounds in one["seconds"].items()
    }
    lines(right, points)


def load(left: Axes, right: Axes, series: Series) -> None:
    """Loading everything at the start, and a lazy start."""
    everything = series["load"]
    left.set_title(f"Load {everything['users']:,} users at the start")
    bars(left, medians(everything["seconds"]), time)
    right.set_title('Start with loading="lazy", and without')
    points = {
        f"{name}{LAZY}" if name in {MOTOR, PYMONGO} else name: [
            (int(size), statistics.median(times)) for size, times in sizes.items()
        ]
        for name, sizes in series["start"].items()
        if sizes
    }
    lines(right, points)


def refresh(left: Axes, right: Axes, series: Series) -> None:
    """How soon an edit is seen, and what an update costs."""
    left.set_title("An edit from outside, until a handler sees it")
    for name, delays in series["refresh_changed"].items():
        shares = [100 * (number + 1) / len(delays) for number in range(len(delays))]
        left.plot(sorted(delays), shares, color=colour(name), label=name, linewidth=2)
    left.set_xlabel("milliseconds since the write was sent")
    left.set_ylabel("% of the edits")
    left.set_xlim(
        0, 1.7 * max(sorted(delays)[int(len(delays) * 0.99)] for delays in series["refresh_changed"].values())
    )
    left.set_ylim(0, 101)
    left.grid()
    left.legend(fontsize=9, loc="lower right")
    right.set_title("One update, whose handler answers")
    times = medians(series["one_update"]["a handler that answers"])
    bars(right, {name: value * 1e-6 for name, value in times.items() if name != OTHER}, time)


def many(left: Axes, right: Axes, series: Series) -> None:
    """Throughput and memory under load."""
    load = series["many"]
    left.set_title("Updates a second, 64 at once, saved every second")
    bars(left, medians(load["updates"], descending=True), lambda value: f"{value:,.0f}")
    right.set_title("Memory of the process under that load")
    megabytes = load["megabytes"]
    right.plot(range(1, len(megabytes) + 1), megabytes, "o-", color=_OURS, markersize=5, linewidth=2)
    right.set_ylim(0, max(megabytes) * 1.25)
    right.xaxis.set_major_locator(MaxNLocator(integer=True))
    right.set_xlabel(f"rounds of {load['seconds']:g} s for each subject")
    right.set_ylabel("MB")
    right.grid()


def size(left: Axes, right: Axes, series: Series) -> None:
    """The size of an object in the database, and of a loaded user in memory."""
    left.set_title("What is stored for a Message")
    bars(left, series["size"]["a Message"], lambda value: f"{value:,.0f} B")
    right.set_title("Memory for each loaded user")
    bars(right, medians({name: [value] for name, value in series["memory"]["bytes"].items()}), lambda v: f"{v:,.0f} B")


def growth(left: Axes, right: Axes, series: Series) -> None:
    """How a save grows with its work: in time, and as multiples of the smallest."""
    colours = (_OURS, _RAW, _PICKLE, _OTHER)
    for (name, line), shade in zip(series["growth"].items(), colours, strict=True):
        seconds = [statistics.median(rounds) for rounds in line["seconds"]]
        steps = [size / line["sizes"][0] for size in line["sizes"]]
        label = f"{name}, from {line['sizes'][0]:,} on"
        left.plot(steps, seconds, "o-", color=shade, label=label, markersize=5, linewidth=2)
        multiples = [one / seconds[0] for one in seconds]
        right.plot(steps, multiples, "o-", color=shade, markersize=5, linewidth=2)
    left.set_title("How long a save takes")
    right.set_title("The same, as multiples of the least")
    for axes in (left, right):
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.grid()
        axes.set_xlabel("how many times as much there is")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.minorticks_off()
    left.yaxis.set_major_formatter(FuncFormatter(lambda value, _: time(value)))
    right.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value:,.0f} x" if value >= 1 else f"{value:.2g} x")
    )
    left.legend(fontsize=8)


PICTURES: dict[str, tuple[Callable[[Axes, Axes, Series], None], set[str]]] = {
    "performance-save": (save, {"save", "save_one"}),
    "performance-load": (load, {"load", "start"}),
    "performance-refresh": (refresh, {"refresh_changed", "one_update"}),
    "performance-many": (many, {"many"}),
    "performance-size": (size, {"size", "memory"}),
    "performance-growth": (growth, {"growth"}),
}


def draw(folder: Path, series: Series, ending: str = "svg") -> list[Path]:
    """Draws every picture that has figures.

    Returns:
        The files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for name, (paint, needed) in PICTURES.items():
        if not all(series.get(one) for one in needed):
            continue
        with mpl.rc_context(_STYLE):
            figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.6), layout="constrained")
            figure.get_layout_engine().set(w_pad=0.12, wspace=0.05)
            paint(left, right, series)
            path = folder / f"{name}.{ending}"
            figure.savefig(path, dpi=110, metadata={"Date": None} if ending == "svg" else None)
            plt.close(figure)
        made.append(path)
    return made
