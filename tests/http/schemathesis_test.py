"""The API against its own description: no request, however odd, breaks either."""

from __future__ import annotations

from typing import Any

import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.config import ProjectConfig, ProjectsConfig, SchemathesisConfig
from schemathesis.specs.openapi.checks import ignored_auth, unsupported_method

from st8.clock import SystemClock
from st8.engine.engine import Engine
from st8.http.app import create_app
from st8.http.openapi import document
from st8.store.memory import MemoryStore
from tests.http.asgi import TOKEN, VERSION

CONFIG = SchemathesisConfig(
    projects=ProjectsConfig(
        default=ProjectConfig.from_dict(
            {
                "headers": {"Authorization": f"Bearer {TOKEN}"},
                "checks": {
                    # What a schema can't say (a name's characters, that two fields
                    # exclude each other) is refused with 422; a size with 413.
                    "positive_data_acceptance": {
                        "expected-statuses": [200, 304, 404, 409, 412, 413, 422]
                    },
                    "negative_data_rejection": {
                        "expected-statuses": [400, 401, 404, 405, 409, 413, 422]
                    },
                },
            }
        )
    )
)

# One app for all: what earlier requests left behind is there for later ones.
APP = create_app(Engine(MemoryStore(), SystemClock()), token=TOKEN, version=VERSION)
SCHEMA = schemathesis.openapi.from_dict(document(VERSION), config=CONFIG)
SCHEMA.app = APP


_EXAMPLES = settings.default.max_examples if settings.default else 0
_EXAMPLES = _EXAMPLES if _EXAMPLES >= 1_000 else 25  # the profiles of long forms


# A watch has no end; watch_test.py is about it.
@SCHEMA.exclude(path="/v1/watch").parametrize()
@settings(
    max_examples=_EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
def test_the_api_keeps_to_its_description(case: Any) -> None:
    """Answers match the schema, errors are described, and none is a fault."""
    # The probes answer every method, which OpenAPI has no word for; and the token
    # is sent with every request here: access_test.py is about those without.
    case.call_and_validate(excluded_checks=[unsupported_method, ignored_auth])
