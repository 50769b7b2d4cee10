"""What all tests share: how hypothesis searches, and asserts that explain."""

from __future__ import annotations

import signal

import pytest
from hypothesis import HealthCheck, settings

from tests.postgres.fixtures import postgres

__all__ = ["postgres"]

pytest.register_assert_rewrite("st8.testing.contract", "st8.testing.contract_parts")

# What a shell starts in the background ignores Ctrl-C, and so would the programs that
# tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

# No test is judged by its time, and a loaded machine is no defect.
_PATIENT = [HealthCheck.too_slow, HealthCheck.differing_executors]

settings.register_profile(
    "quick",
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=_PATIENT,
)
settings.register_profile(
    "nightly",  # --hypothesis-profile nightly
    max_examples=5_000,
    stateful_step_count=100,
    deadline=None,
    suppress_health_check=_PATIENT,
)
settings.register_profile(
    "abuse",  # script/abuse
    max_examples=2_000,
    deadline=None,
    database=None,
    suppress_health_check=_PATIENT,
)
settings.load_profile("quick")
