"""Settings of every test: fixed seeds and no time limit on the first call, which compiles."""

from hypothesis import settings

settings.register_profile("snnjax", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("snnjax")
