"""The codec, driven by the branches that it takes: with atheris, which is in the extra `fuzz`.

python tests/fuzz/guided.py -max_total_time=600            # and all other options of libFuzzer
python tests/fuzz/guided.py crash-0123…                    # a file that it has left, again
"""

from __future__ import annotations

import pathlib
import sys

import atheris

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "unit/codec"))

with atheris.instrument_imports(include=["ptb_mongo.codec"]):
    from choices import Choices
    from codec_case import judge, make


def one(data: bytes) -> None:
    """One case, of the decisions that these bytes stand for."""
    finding = judge(make(Choices.of_bytes(data)))
    if finding is not None:
        raise AssertionError(f"{finding.kind}\n{finding.text}")


if __name__ == "__main__":
    atheris.Setup([*sys.argv, "-max_len=4096", "-len_control=0"], one)
    atheris.Fuzz()
