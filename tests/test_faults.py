"""Faults injected into tiny runs (see tests/support/faults.py): the same numbers, in the end, as if nothing had happened."""

import pytest

from tests.support.faults import FAULTS, RUNNERS, SEARCH, Missing, check
from tests.support.faults import undisturbed as run_undisturbed


@pytest.fixture(scope="module")
def undisturbed_runners(tmp_path_factory):
    """A run whose experience two other processes collect, left alone."""
    return run_undisturbed(tmp_path_factory.mktemp("runners") / "whole", RUNNERS)


@pytest.fixture(scope="module")
def undisturbed_search(tmp_path_factory):
    """A search, left alone."""
    return run_undisturbed(tmp_path_factory.mktemp("search") / "whole", SEARCH)


LIKE = {"env runner": "undisturbed_runners", "trial": "undisturbed_search"}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_the_run_ends_with_the_same_numbers(fault, folder, request):
    like = request.getfixturevalue(LIKE.get(fault, "undisturbed"))
    try:
        assert check(fault, folder, like)["ended_by"]
    except Missing as error:
        pytest.skip(str(error))
