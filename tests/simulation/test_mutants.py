"""The simulation finds faults in the core: if one line is made worse, some schedule fails."""

from __future__ import annotations

import gc
import itertools

import pytest
from making import make
from mutants import ALL, MUTANTS, WITHIN, Mutant
from world import play


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::RuntimeWarning")
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.what)
def test_a_line_for_the_worse_is_found(mutant: Mutant) -> None:
    """By its schedule; where core or simulation have changed since, by another one."""
    assert mutant.first(itertools.chain([mutant.seed], range(WITHIN))) is not None
    gc.collect()  # a world that never comes to rest leaves tasks behind that nothing can end: here, not in other tests


def test_the_schedules_that_find_them_do_not_fail_by_themselves() -> None:
    assert [seed for seed in {mutant.seed for mutant in MUTANTS} if play(make(seed, ALL)).violation is not None] == []
