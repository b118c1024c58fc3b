"""The long run: plants invented documents for minutes or hours, and shows the smallest ones that break a promise.

python tests/fuzz/run.py --minutes 60 --jobs 2 --seed 1            # half of the time the codec, half whole bots
python tests/fuzz/run.py --minutes 10 --layers codec
python tests/fuzz/run.py --replay bot/1/4711                       # one case again, as findings are named
"""

# ruff: noqa: T201

from __future__ import annotations

import argparse
import contextlib
import pathlib
import sys
import time
from collections.abc import Iterator
from typing import Final

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "unit/codec"))

from bot_layer import BotLayer
from cases import Case, Found, Layer, Statistics
from choices import Choices
from codec_case import CodecLayer
from hunting import hunt, outcome, shortest

from ptb_mongo.embedded import mongodb_uri

_LAYERS: Final = ("codec", "bot")


def main() -> None:
    options = _options()
    if options.replay:
        name, seed, number = options.replay.split("/")
        with _layer(name) as layer:
            sys.exit(replay(layer, Case(name, int(seed), int(number))))
    found: list[Found] = []
    for name in options.layers:
        seconds = 60 * options.minutes / len(options.layers)
        with _layer(name) as layer:
            found += run(layer, options.seed, seconds=seconds, jobs=options.jobs, to_shrink=options.shrink)
    print(f"\n{len(found)} kinds of findings")
    sys.exit(1 if found else 0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0], epilog=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--jobs", type=int, default=1, help="processes at once")
    parser.add_argument("--seed", type=int, default=1, help="another one gives other cases")
    parser.add_argument("--layers", nargs="*", choices=_LAYERS, default=_LAYERS)
    parser.add_argument("--shrink", type=float, default=60, help="seconds to make the case of a finding smaller")
    parser.add_argument("--replay", help="the name of a case")
    return parser.parse_args()


@contextlib.contextmanager
def _layer(name: str) -> Iterator[Layer]:
    if name == "codec":
        yield CodecLayer()
        return
    with mongodb_uri() as uri:
        yield BotLayer(uri)


def run(layer: Layer, seed: int, *, seconds: float, jobs: int, to_shrink: float) -> list[Found]:
    """Plays cases, and prints figures and findings; returns the first finding of each kind."""
    statistics, kinds, began = Statistics(), dict[str, list[Found]](), time.monotonic()
    for said in hunt(layer, seed, seconds=seconds, jobs=jobs):
        if isinstance(said, Statistics):
            statistics.add(said)
            continue
        if said.finding.kind not in kinds:
            print(f"!! {said.case}: {said.finding.kind}", flush=True)
        kinds.setdefault(said.finding.kind, []).append(said)
    _print_figures(layer, statistics, time.monotonic() - began)
    for kind, found in kinds.items():
        print(f"\n== {kind}: {len(found)} times, as in {', '.join(str(one.case) for one in found[:5])}")
        print(found[0].finding.text[-3000:])
        decisions = shortest(layer, found[0], seconds=to_shrink)
        print(f"Made smaller:\n{layer.shown(layer.make(Choices.again(decisions)))}\n{decisions}", flush=True)
    return [found[0] for found in kinds.values()]


def _print_figures(layer: Layer, statistics: Statistics, took: float) -> None:
    cases = max(statistics.cases, 1)
    print(
        f"{layer.name}: {statistics.cases:,} cases of {statistics.bytes / cases:,.0f} bytes in {took:.0f} s and "
        f"{statistics.seconds:.0f} s of CPU, {cases / took:.1f} a second; {statistics.peak / 2**20:,.0f} MiB at most"
    )
    for label, count in statistics.labels.most_common():
        print(f"    {count:9,}  {label}")
    for seconds, size, case in reversed(statistics.slowest):
        print(f"    slow: {seconds:.3f} s for {size:,} bytes, {case}")
    for size, case in reversed(statistics.largest):
        print(f"    large: {size:,} bytes, {case}")


def replay(layer: Layer, case: Case) -> int:
    """Plays one case in a process of its own; returns 1 if it is a finding."""
    choices = case.choices()
    made = layer.make(choices)
    print(f"{case}, {choices.label}\n{layer.shown(made)}")
    finding = outcome(layer, made)
    print("no finding" if finding is None else f"{finding.kind}\n{finding.text}")
    return int(finding is not None)


if __name__ == "__main__":
    main()
