"""What all test modules share: no display, reproducible property tests."""

import os

os.environ.setdefault("MPLBACKEND", "Agg")

import pytest
from hypothesis import HealthCheck, settings

# No deadline: a shared machine is slow at times, and that is no failure.
settings.register_profile(
    "default",
    deadline=None,
    max_examples=50,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("default")


@pytest.fixture
def in_single(monkeypatch):
    """Rows in float32 stay in it however few they are, as large ones do."""
    monkeypatch.setattr("sklearn_mle._samples._ENTRIES_IN_DOUBLE", 0)
