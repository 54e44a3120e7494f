"""Folders that tests read from."""

from pathlib import Path

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
FIXTURES = TESTS / "fixtures"
EXPERIMENTS = ROOT / "experiments"
SHARED = ROOT.parent / "shared" / "data"
