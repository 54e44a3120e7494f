"""Settings of every test: fixed seeds, no time limit on the first call, no cache of the user's."""

import os

import pytest
from hypothesis import settings

os.environ["SNNJAX_NO_CACHE"] = "1"

settings.register_profile("snnjax", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("snnjax")


def pytest_collection_modifyitems(items):
    """Tests of a file share a process and what it has compiled, but for those in a group."""
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
