"""The simulation finds what it is for: the core with one line for the worse breaks an invariant.

`python tests/simulation/mutants.py` finds the seeds anew.
"""

from __future__ import annotations

import pytest
from mutants import MUTANTS, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.what)
def test_the_simulation_finds_a_line_for_the_worse(mutant: Mutant) -> None:
    assert mutant.fails(mutant.seed) or mutant.first() is not None
