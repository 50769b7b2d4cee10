"""A policy file for every test that asks for one, and an identity provider."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from st8.testing.clock import FakeClock
from tests.auth.policies import Policies
from tests.auth.provider import IdentityProvider

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def policies(tmp_path: Path) -> Iterator[Policies]:
    """Policy files in an empty folder, under a clock that stands still."""
    policies = Policies(tmp_path, FakeClock())
    yield policies
    policies.close()


@pytest.fixture(scope="session")
def provider() -> IdentityProvider:
    """An identity provider with an RSA key, named ``one``."""
    return IdentityProvider()
