"""Settings of every test: fixed seeds, no time limit on the first call, no cache of the user's."""

import os

from hypothesis import settings

os.environ["SNNJAX_NO_CACHE"] = "1"

settings.register_profile("snnjax", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("snnjax")
