"""The API against its own description: no request, however odd, breaks either."""

from __future__ import annotations

import sys
from collections import Counter
from http import HTTPStatus
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
from st8.testing.clock import FakeClock
from tests.engine.acts import applied, branch, checkpoint
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
WITH_END = SCHEMA.exclude(path="/v1/watch")
# The probes answer every method, which OpenAPI has no word for; and the token is sent
# with every request here: access_test.py is about those without.
EXCLUDED = [unsupported_method, ignored_auth]


@WITH_END.parametrize()
@settings(
    max_examples=_EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
def test_the_api_keeps_to_its_description(case: Any) -> None:
    """Answers match the schema, errors are described, and none is a fault."""
    case.call_and_validate(excluded_checks=EXCLUDED)


def test_sequences_of_requests_keep_to_it_too() -> None:
    """So it is where requests follow the links of answers that came before.

    They begin with a store that has a history: there is little to follow in none.
    """
    statuses = Counter[int]()
    followed = Counter[str]()
    # Another store for each sequence: the same requests have to have the same answers.
    engines: list[Engine] = []
    apps: list[Any] = []

    async def app(*call: Any) -> None:
        await apps[-1](*call)

    def begin(_machine: object) -> None:
        engines.append(Engine(MemoryStore(), FakeClock()))
        applied(engines[-1], "1", "2", "3")
        branch(engines[-1], "b")
        checkpoint(engines[-1], "c")
        apps[:] = [create_app(engines[-1], token=TOKEN, version=VERSION)]

    def end(_machine: object) -> None:
        engines.pop().close()

    def step(machine: Any, asked: Any) -> Any:
        if asked.transition is not None:
            followed[asked.transition.id] += 1
        return base.step(machine, asked)

    def validate(_machine: object, response: Any, case: Any, **_: object) -> None:
        statuses[response.status_code] += 1
        case.validate_response(response, excluded_checks=EXCLUDED)

    schema = schemathesis.openapi.from_dict(document(VERSION), config=CONFIG)
    schema.app = app
    base: Any = schema.exclude(path="/v1/watch").as_state_machine()
    machine: Any = type(
        "Sequences",
        (base,),
        {
            "setup": begin,
            "teardown": end,
            "step": step,
            "validate_response": validate,
        },
    )
    machine.run(
        settings=settings(
            max_examples=_EXAMPLES,
            stateful_step_count=10,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
    )

    sys.stdout.write(
        f"{statuses.total()} requests, answered {dict(sorted(statuses.items()))}; "
        f"followed {followed.total()} times {len(followed)} links: {followed}\n"
    )
    assert statuses[HTTPStatus.OK]
    assert [name for name in followed if "next" not in name]
