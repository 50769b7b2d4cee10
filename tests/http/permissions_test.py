"""What a token sees and touches: every operation, by every policy, in every scope.

The matrix asks an oracle of its own, which knows rules as plain texts and nothing of
key sets, plans or globs. A second oracle looks at every answer for what its reader
may not know.
"""

from __future__ import annotations

import bisect
import contextlib
import json
from functools import cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from st8.auth.access import Access, Principal, Protection, Rule, Verb
from st8.auth.globs import Glob
from st8.core.ids import BranchName, Namespace, Scope
from st8.engine.results import Page
from st8.http.listing import visible_page
from st8.http.operations import OPERATIONS
from tests.http.asgi import Answer, Api, connection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, MutableMapping

READ, WRITE, ADMIN = "read", "write", "admin"
EVERY_KEY = "*"
"""A need for all keys of a branch."""


class Allow(NamedTuple):
    """A rule as the oracle reads it: a place, or ``*``; a folder, or nothing."""

    verbs: str
    namespace: str = "*"
    branch: str = "*"
    folder: str = ""

    def rule(self) -> Rule:
        """Return the same rule as st8 has it."""
        known: tuple[Verb, ...] = ("read", "write", "admin")
        return Rule(
            (Glob(self.namespace),),
            (Glob(self.branch),),
            self.folder,
            frozenset(verb for verb in known if verb in self.verbs.split()),
        )


Policy = tuple[Allow, ...]

POLICIES: dict[str, Policy] = {
    "all": (Allow("read write admin"),),
    "nothing": (),
    "reader": (Allow("read", "mine", "main"),),
    "reader of all": (Allow("read"),),
    "writer": (Allow("write", "mine", "main"),),
    "writer of all": (Allow("write"),),
    "admin": (Allow("admin", "mine"),),
    "admin of all": (Allow("admin"),),
    "one branch": (Allow("read write", "mine", "main"),),
    "hidden only": (Allow("read write", "mine", "hidden"),),
    "one namespace": (Allow("read write admin", "mine"),),
    "another": (Allow("read write admin", "other"),),
    "app": (Allow("read write", "mine", "main", "app/"),),
    "app of all": (Allow("read write", folder="app/"),),
    "reads all, writes app": (Allow("read"), Allow("write", folder="app/")),
    "reads app, writes all": (Allow("read", folder="app/"), Allow("write")),
    "new only": (Allow("read write", "mine", "new"), Allow("read", "mine", "main")),
}

PLACES = [("mine", "main"), ("mine", "hidden"), ("other", "main")]


def may(policy: Policy, verb: str, namespace: str, branch: str, key: str) -> bool:
    """Return whether a rule allows it; a key may be one, any (``""``) or all."""
    return any(
        verb in allow.verbs.split()
        and allow.namespace in ("*", namespace)
        and allow.branch in ("*", branch)
        and (
            not allow.folder
            or key == ""
            or (key != EVERY_KEY and key.startswith(allow.folder))
        )
        for allow in policy
    )


class Need(NamedTuple):
    """What must be allowed; ``*`` for a place stands for all of them."""

    verb: str
    namespace: str = ""
    branch: str = ""
    key: str = ""

    def met(self, policy: Policy) -> bool:
        """Return whether ``policy`` allows it."""
        if "*" in (self.namespace, self.branch):
            return any(
                self.verb in allow.verbs.split()
                and not allow.folder
                and allow.branch == "*"
                and allow.namespace in ("*", self.namespace)
                for allow in policy
            )
        return any(
            may((allow,), self.verb, self.namespace or n, self.branch or b, self.key)
            for allow in policy
            for n, b in [*PLACES, ("mine", "new")]
        )


class Row(NamedTuple):
    """A request, what it needs, and what it is answered without that."""

    method: str
    target: str
    body: object
    needs: tuple[Need, ...]
    refused: tuple[int, ...] = (403,)


def scoped(namespace: str, branch: str) -> dict[str, object]:
    """Return the scope as bodies have it."""
    return {"scope": {"namespace": namespace, "branch": branch}}


def query(namespace: str, branch: str) -> str:
    """Return the scope as query strings have it."""
    return f"namespace={namespace}&branch={branch}"


def apply(n: str, b: str) -> Row:
    """Apply a key of ``app/``."""
    documents = [{"key": "app/a", "content": "new"}]
    body = {**scoped(n, b), "documents": documents}
    return Row("POST", "/v1/apply", body, (Need(WRITE, n, b, "app/a"),))


def apply_outside(n: str, b: str) -> Row:
    """Delete a key outside of ``app/``."""
    body = {**scoped(n, b), "deletes": ["sys/x"]}
    return Row("POST", "/v1/apply", body, (Need(WRITE, n, b, "sys/x"),))


def get(n: str, b: str) -> Row:
    """Read the head."""
    return Row("GET", f"/v1/state?{query(n, b)}", None, (Need(READ, n, b),))


def get_checkpoint(n: str, b: str) -> Row:
    """Read through a checkpoint of the hidden branch."""
    target = f"/v1/state?{query(n, b)}&checkpoint=c-hidden"
    needs = (Need(READ, n, b), Need(READ, n, "hidden"))
    return Row("GET", target, None, needs, (403, 404))


def watch(n: str, b: str) -> Row:
    """Watch the branch; what the stream may hold has tests of its own."""
    return Row("HEAD", f"/v1/watch?{query(n, b)}", None, (Need(READ, n, b),))


def diff(n: str, b: str) -> Row:
    """Compare with the other branch."""
    body = {**scoped(n, b), "from": {"branch": "hidden"}, "to": {}}
    needs = (Need(READ, n, b), Need(READ, n, "hidden"))
    return Row("POST", "/v1/diff", body, needs)


def diff_documents(n: str, b: str) -> Row:
    """Compare with a document outside of ``app/``."""
    body = {**scoped(n, b), "documents": [{"key": "sys/x", "content": "1"}]}
    return Row("POST", "/v1/diff", body, (Need(READ, n, b, "sys/x"),))


def rollback(n: str, b: str) -> Row:
    """Go back by one."""
    body = {**scoped(n, b), "revision_id": -1}
    return Row("POST", "/v1/rollback", body, (Need(WRITE, n, b),))


def rollback_checkpoint(n: str, b: str) -> Row:
    """Go back to what a checkpoint of the hidden branch names."""
    body = {**scoped(n, b), "checkpoint_name": "c-hidden"}
    needs = [Need(WRITE, n, b)]
    if b != "hidden":
        needs.append(Need(READ, n, "hidden"))
    return Row("POST", "/v1/rollback", body, tuple(needs), (403, 404))


def restore(n: str, b: str) -> Row:
    """Take over the hidden branch."""
    body = {**scoped(n, b), "from_branch": "hidden"}
    needs = [Need(WRITE, n, b)]
    if b != "hidden":
        needs.append(Need(READ, n, "hidden"))
    return Row("POST", "/v1/restore", body, tuple(needs))


def log(n: str, b: str) -> Row:
    """Read the log."""
    return Row("GET", f"/v1/log?{query(n, b)}", None, (Need(READ, n, b),))


def list_branches(n: str, b: str) -> Row:
    """List branches."""
    return Row("GET", f"/v1/branches?{query(n, b)}", None, (Need(READ, n),))


def create_branch(n: str, b: str) -> Row:
    """Make a branch."""
    needs = (Need(READ, n, b), Need(WRITE, n, "new"))
    return Row("POST", "/v1/branches", {**scoped(n, b), "name": "new"}, needs)


def delete_branch(n: str, b: str) -> Row:
    """Delete the branch."""
    body = {"namespace": n, "name": b}
    return Row("DELETE", "/v1/branches", body, (Need(WRITE, n, b, EVERY_KEY),))


def list_checkpoints(n: str, b: str) -> Row:
    """List checkpoints."""
    del b
    return Row("GET", f"/v1/checkpoints?namespace={n}", None, (Need(READ, n),))


def show_checkpoint(n: str, b: str) -> Row:
    """Show one."""
    target = f"/v1/checkpoints?namespace={n}&name=c-{b}"
    return Row("GET", target, None, (Need(READ, n, b),), (403, 404))


def checkpoint(n: str, b: str) -> Row:
    """Name the head."""
    body = {**scoped(n, b), "name": "fresh"}
    return Row("POST", "/v1/checkpoints", body, (Need(WRITE, n, b),))


def move_checkpoint(n: str, b: str) -> Row:
    """Move a checkpoint away from the hidden branch."""
    body = {**scoped(n, b), "name": "c-hidden", "replace": True}
    needs = (Need(WRITE, n, b), Need(WRITE, n, "hidden"))
    return Row("POST", "/v1/checkpoints", body, needs)


def delete_checkpoint(n: str, b: str) -> Row:
    """Delete the branch's checkpoint."""
    body = {"namespace": n, "name": f"c-{b}"}
    return Row("DELETE", "/v1/checkpoints", body, (Need(WRITE, n, b),), (403, 404))


def list_namespaces(n: str, b: str) -> Row:
    """List namespaces."""
    del n, b
    return Row("GET", "/v1/namespaces", None, (Need(READ),))


def gc(n: str, b: str) -> Row:
    """Collect in one namespace."""
    del b
    return Row("POST", "/v1/gc", {"namespace": n}, (Need(ADMIN, n, "*"),))


def gc_all(n: str, b: str) -> Row:
    """Collect everywhere."""
    del n, b
    return Row("POST", "/v1/gc", {}, (Need(ADMIN, "*", "*"),))


def backup(n: str, b: str) -> Row:
    """Back up a namespace, contents and all."""
    del b
    needs = (Need(ADMIN, n, "*"), Need(READ, n, "*"))
    return Row("POST", "/v1/backup", {"namespace": n}, needs)


def backup_all(n: str, b: str) -> Row:
    """Back up everything."""
    del n, b
    needs = (Need(ADMIN, "*", "*"), Need(READ, "*", "*"))
    return Row("POST", "/v1/backup", {}, needs)


@cache
def a_backup(namespace: str) -> bytes:
    """Return a backup of a namespace with one document."""
    with contextlib.closing(Api()) as api:
        api.apply({"app/a": "1"}, scope={"namespace": namespace})
        return api.post("/v1/backup").body


def restore_backup(n: str, b: str) -> Row:
    """Restore a namespace that is not there."""
    del n, b
    needs = (Need(ADMIN, "fresh", "*"), Need(WRITE, "fresh", "*"))
    return Row("POST", "/v1/restore-backup", a_backup("fresh"), needs)


def redact(n: str, b: str) -> Row:
    """Redact what the branch had before."""
    body = {**scoped(n, b), "key": "app/a", "revision": -1}
    needs = (Need(ADMIN, n, "*"), Need(READ, n, b, "app/a"))
    return Row("POST", "/v1/redact", body, needs, (403, 404))


def verify(n: str, b: str) -> Row:
    """Verify the store, which has all namespaces."""
    del n, b
    return Row("POST", "/v1/verify", {}, (Need(ADMIN, "*", "*"),))


def version(n: str, b: str) -> Row:
    """Ask for versions."""
    del n, b
    return Row("GET", "/v1/version", None, (Need(READ),))


def metrics(n: str, b: str) -> Row:
    """Ask for metrics."""
    del n, b
    return Row("GET", "/metrics", None, (Need(READ),))


def open_to_all(path: str) -> Callable[[str, str], Row]:
    """Ask for what needs no permission."""
    return lambda _n, _b: Row("GET", path, None, ())


ROWS: dict[str, tuple[Callable[[str, str], Row], ...]] = {
    "apply": (apply, apply_outside),
    "get": (get, get_checkpoint),
    "watch": (watch,),
    "diff": (diff, diff_documents),
    "rollback": (rollback, rollback_checkpoint),
    "restore": (restore,),
    "log": (log,),
    "list_branches": (list_branches,),
    "create_branch": (create_branch,),
    "delete_branch": (delete_branch,),
    "list_checkpoints": (list_checkpoints, show_checkpoint),
    "checkpoint": (checkpoint, move_checkpoint),
    "delete_checkpoint": (delete_checkpoint,),
    "list_namespaces": (list_namespaces,),
    "gc": (gc, gc_all),
    "backup": (backup, backup_all),
    "restore_backup": (restore_backup,),
    "redact": (redact,),
    "verify": (verify,),
    "version": (version,),
    "metrics": (metrics,),
    "health": (open_to_all("/healthz"),),
    "ready": (open_to_all("/readyz"),),
    "openapi": (open_to_all("/openapi.json"),),
    "docs": (open_to_all("/docs"),),
}


class Someone:
    """Takes everybody for the same one."""

    def __init__(
        self, policy: Policy, *protections: Protection, speaks: bool = False
    ) -> None:
        access = Access(allow.rule() for allow in policy)
        self.principal = Principal("ci", access, protections, speaks, "token")

    def authenticate(
        self, _authorization: bytes | None, _connection: Mapping[str, Any], /
    ) -> Principal:
        """Return who it is."""
        return self.principal


@contextlib.contextmanager
def world() -> Iterator[Api]:
    """Two namespaces; in each the branches main and hidden, with a checkpoint each."""
    api = Api()
    try:
        for namespace in ("mine", "other"):
            for turn in ("1", "2"):
                for branch in ("main", "hidden"):
                    documents = {
                        key: f"content-of {namespace} {branch} {key} {turn}"
                        for key in ("app/a", "app/b", "sys/x")
                    }
                    api.apply(
                        documents,
                        message=f"message {namespace} {branch}",
                        **scoped(namespace, branch),
                    )
            for branch in ("main", "hidden"):
                body = {**scoped(namespace, branch), "name": f"c-{branch}"}
                assert 200 == api.post("/v1/checkpoints", body).status
        yield api
    finally:
        api.close()


def everything(api: Api) -> list[object]:
    """Return all that the engine has: heads, bases, checkpoints, states."""
    found: list[object] = []
    for name in ("mine", "other"):
        namespace = Namespace(name)
        branches = api.engine.branches(namespace, limit=100).items
        found += branches
        found += api.engine.checkpoints(namespace, limit=100).items
        found += [
            api.engine.state(Scope(namespace, BranchName(branch.name))).root
            for branch in branches
        ]
    return found


def unknown_to(policy: Policy) -> list[str]:
    """Return the contents that a policy may not read, on no branch."""
    return [
        f"content-of {namespace} {branch} {key} "
        for namespace in ("mine", "other")
        for branch in ("main", "hidden")
        for key in ("app/a", "app/b", "sys/x")
        if not may(policy, READ, namespace, branch, key)
    ]


def call(api: Api, row: Row) -> Answer:
    """Make the request of a row."""
    return api.call(row.method, row.target, row.body)


CELLS = [
    pytest.param(make, policy, id=f"{operation}-{make.__name__.strip('<>')}-{policy}")
    for operation, makers in ROWS.items()
    for make in makers
    for policy in POLICIES
]


def test_every_operation_has_a_row() -> None:
    """An operation that nobody has thought about does not pass."""
    assert {operation.name for operation in OPERATIONS} == set(ROWS)


@pytest.mark.parametrize(("make", "name"), CELLS)
def test_matrix(make: Callable[[str, str], Row], name: str) -> None:
    """What the rules allow is done; everything else is refused and changes nothing.

    Whatever the answer, it has no content that the rules do not let be read.
    """
    policy = POLICIES[name]
    for namespace, branch in PLACES:
        row = make(namespace, branch)
        allowed = all(need.met(policy) for need in row.needs)
        if make is create_branch and allowed:
            allowed = all(
                may(policy, READ, namespace, branch, key)
                or not may(policy, READ, namespace, "new", key)
                for key in ("app/a", "sys/x")
            )
        with world() as api:
            api.serve(Someone(policy))
            before = everything(api)

            answer = call(api, row)

            assert allowed == (answer.status == 200), (row, answer)
            assert allowed or answer.status in row.refused, (row, answer)
            assert allowed or before == everything(api)
            for secret in unknown_to(policy):
                assert secret.encode() not in answer.body, (row, answer)


@pytest.mark.parametrize("name", POLICIES)
def test_a_refusal_is_the_same_whether_it_exists_or_not(name: str) -> None:
    """Where a scope may not be reached, a daemon that lacks it says the same bytes."""
    policy = POLICIES[name]
    with world() as full, contextlib.closing(Api()) as empty:
        for api in (full, empty):
            api.serve(Someone(policy))
        for makers in ROWS.values():
            for make in makers:
                for namespace, branch in PLACES:
                    row = make(namespace, branch)
                    reached = all(need.met(policy) for need in row.needs[:1])
                    if reached or may(policy, READ, namespace, branch, ""):
                        continue
                    a, b = call(full, row), call(empty, row)
                    assert a.status in row.refused
                    assert (a.status, a.body) == (b.status, b.body), row


def test_a_checkpoint_of_a_hidden_branch_is_not_there() -> None:
    """It is answered as one that does not exist is, by name and in the list."""
    with world() as api:
        api.serve(Someone(POLICIES["one branch"]))
        for method, target, body in (
            ("GET", "/v1/state?namespace=mine&checkpoint=NAME", None),
            ("GET", "/v1/log?namespace=mine&checkpoint=NAME", None),
            ("GET", "/v1/checkpoints?namespace=mine&name=NAME", None),
            ("DELETE", "/v1/checkpoints", {"namespace": "mine", "name": "NAME"}),
            (
                "POST",
                "/v1/rollback",
                {**scoped("mine", "main"), "checkpoint_name": "NAME"},
            ),
        ):
            answers = [
                api.call(
                    method,
                    target.replace("NAME", name),
                    body and json.loads(json.dumps(body).replace("NAME", name)),
                )
                for name in ("c-hidden", "c-lacking")
            ]
            assert [404, 404] == [answer.status for answer in answers]
            assert answers[0].body == answers[1].body.replace(b"lacking", b"hidden")
        listed = api.get("/v1/checkpoints?namespace=mine").json["checkpoints"]
        assert ["c-main"] == [checkpoint["name"] for checkpoint in listed]


def test_the_branch_of_a_foreign_revision_is_not_told() -> None:
    """That a revision is elsewhere is told with its branch only to who may see it."""
    with world() as api:
        target = "/v1/state?namespace=mine&branch=main&revision=2"
        assert "hidden" in api.get(target).json["detail"]
        api.serve(Someone(POLICIES["one branch"]))
        assert "hidden" not in api.get(target).json["detail"]
        for route, body in (
            ("checkpoints", {"name": "fresh", "revision": 2}),
            ("branches", {"name": "main", "from_revision": 2}),
            ("rollback", {"revision_id": 2}),
            ("restore", {"from_revision": 2}),
            ("diff", {"revision_id": 2}),
        ):
            answer = api.post(f"/v1/{route}", {**scoped("mine", "main"), **body})
            assert (404, "revision_not_found") == (answer.status, answer.code)
            assert "hidden" not in answer.json["detail"]


def test_the_checkpoint_of_a_hidden_branch_is_not_given_out() -> None:
    """Who gives its name to its very revision hears no more than that it is taken."""
    with world() as api:
        off = {**scoped("mine", "main"), "name": "off"}
        assert 200 == api.post("/v1/branches", off).status
        body = {**scoped("mine", "off"), "name": "c-off"}
        assert 200 == api.post("/v1/checkpoints", body).status
        again = {**scoped("mine", "main"), "name": "c-off"}
        assert "off" == api.post("/v1/checkpoints", again).json["branch"]
        api.serve(Someone(POLICIES["one branch"]))
        answer = api.post("/v1/checkpoints", again)
        assert (403, "forbidden") == (answer.status, answer.code)
        assert "revision" not in answer.json
        api.serve(Someone(POLICIES["writer"]))
        assert 403 == api.post("/v1/checkpoints", again | {"replace": True}).status
        for _ in range(2):
            own = {**scoped("mine", "main"), "name": "own"}
            assert 200 == api.post("/v1/checkpoints", own).status


def test_lists_have_what_may_be_seen() -> None:
    """Namespaces and branches that no rule reaches are left out."""
    with world() as api:
        api.serve(Someone(POLICIES["hidden only"]))
        namespaces = api.get("/v1/namespaces").json["namespaces"]
        branches = api.get("/v1/branches?namespace=mine").json["branches"]

        assert ["mine"] == [namespace["name"] for namespace in namespaces]
        assert ["hidden"] == [branch["name"] for branch in branches]


def test_pages_of_lists_are_filled_with_what_may_be_seen() -> None:
    """What is hidden takes no room in a page, and the cursor goes on behind it."""
    with contextlib.closing(Api()) as api:
        for number in range(20):
            api.apply({"a": "1"}, **scoped("mine", f"b{number:02}"))
        api.serve(Someone((Allow("read", "mine", "b?5"), Allow("read", "mine", "b1?"))))
        pages: list[list[str]] = []
        after = ""
        while True:
            page = api.get(f"/v1/branches?namespace=mine&limit=4&after={after}").json
            pages.append([branch["name"] for branch in page["branches"]])
            after = page.get("next")
            if after is None:
                break

    expected = ["b05", *(f"b{number}" for number in range(10, 20))]
    assert expected == [name for page in pages for name in page]
    assert [4, 4, 3] == [len(page) for page in pages]


def test_the_log_of_requests_has_the_branch_that_is_made() -> None:
    """And not the one that it is made from."""
    body = json.dumps({**scoped("mine", "main"), "name": "new"}).encode()
    asked = connection("POST", "/v1/branches", (), "1.1")

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(_message: MutableMapping[str, Any]) -> None:
        """Nobody listens."""

    with world() as api:
        api.run(api.app(asked, receive, send))

    assert ("mine", "new") == (asked["st8.namespace"], asked["st8.branch"])


class Name(NamedTuple):
    """An entry of a list."""

    name: str


def test_a_cursor_has_no_name_that_may_not_be_seen() -> None:
    """However much is hidden, a page is full or the last one."""
    names = [f"secret-{number:05}" for number in range(25_000)]
    visible = ["secret-00003", "secret-09999", "secret-24000"]

    def read(*, after: str, limit: int) -> Page[Name]:
        at = bisect.bisect_right(names, after)
        items = [Name(name) for name in names[at : at + limit]]
        return Page(items, items[-1].name if at + limit < len(names) else None)

    def sees(item: Name) -> bool:
        return item.name in visible

    first = visible_page(read, "", 2, sees)
    second = visible_page(read, first.next or "", 2, sees)

    assert (list(map(Name, visible[:2])), visible[1]) == (first.items, first.next)
    assert (list(map(Name, visible[2:])), None) == (second.items, second.next)


def test_a_prefix_cuts_reads() -> None:
    """State, keys, count, diff and log have the keys under it and no others."""
    with world() as api:
        api.apply({"sys/x": "3"}, message="of sys", **scoped("mine", "main"))
        api.serve(Someone(POLICIES["app"]))
        base = "namespace=mine&branch=main"
        state = api.state(base)
        keys = api.state(f"{base}&contents=false&prefix=s")
        named = api.state(f"{base}&key=sys/x&key=app/a")
        log = api.get(f"/v1/log?{base}").json["entries"]
        of_key = api.get(f"/v1/log?{base}&key=sys/x").json["entries"]
        body = {**scoped("mine", "main"), "from": {"revision": 1}, "to": {}}
        diff = api.post("/v1/diff", body).json

    assert ["app/a", "app/b"] == list(state["objects"])
    assert 2 == state["count"]
    assert [] == keys["keys"]
    assert ["app/a"] == list(named["objects"])
    assert [["app/a", "app/b"]] * 2 == [
        [change["key"] for change in entry["changes"]] for entry in log
    ]
    assert None is of_key
    assert ["app/a", "app/b"] == [change["key"] for change in diff["changes"]]


def test_answers_of_one_are_not_given_to_another() -> None:
    """Neither the entity tag nor the answer that is kept passes for another's."""
    target = "/v1/state?namespace=mine&branch=main"
    with world() as api:
        tags: list[str] = []
        bodies: list[bytes] = []
        for name in ("all", "app", "reads app, writes all", "all", "app"):
            api.serve(Someone(POLICIES[name]))
            answer = [api.get(target) for _ in range(3)][-1]  # by then from the lane
            tags.append(answer.headers["etag"])
            bodies.append(answer.body)
            stale = [api.get(target, if_none_match=tag).status for tag in tags]
            assert [304 if tag == tags[-1] else 200 for tag in tags] == stale

    assert tags[0] == tags[3] != tags[1] == tags[2] == tags[4]
    assert b"sys/x" in bodies[0]
    assert b"sys/x" not in bodies[1] + bodies[2]


def test_pages_of_other_sites_are_refused() -> None:
    """A browser on the machine of a daemon without token is no way in."""
    with world() as api:
        body = json.dumps({"keep": 1}).encode()
        for method, target in (("POST", "/v1/gc"), ("GET", "/v1/state?revision=-1")):
            call = partial(api.call, method, target, body if method == "POST" else None)
            assert 403 == call(sec_fetch_site="cross-site").status
            assert 403 != call(sec_fetch_site="same-origin").status
        assert 200 == api.get("/docs", sec_fetch_site="cross-site").status
        for _ in range(3):  # the last from the lane
            assert 200 == api.get("/v1/state?namespace=mine").status
        known = api.get("/v1/state?namespace=mine", sec_fetch_site="cross-site")
        assert 403 == known.status


def test_one_app_serves_both() -> None:
    """Answers that one app has made and kept are not mixed up between policies."""

    class ByName:
        def authenticate(
            self, authorization: bytes | None, _connection: Mapping[str, Any], /
        ) -> Principal:
            return Someone(POLICIES[(authorization or b"").decode()]).principal

    target = "/v1/state?namespace=mine&branch=main"
    with world() as api:
        api.serve(ByName())
        for _ in range(3):
            whole = api.call("GET", target, authorization="all")
            part = api.call("GET", target, authorization="app")
            none = api.call("GET", target, authorization="another")

            assert 3 == len(whole.json["objects"])
            assert 2 == len(part.json["objects"])
            assert 403 == none.status


@pytest.mark.parametrize("route", ["rollback", "restore"])
def test_a_prefix_limits_what_is_reset(route: str) -> None:
    """Foreign keys stay at their newest; own keys come, go and change."""
    number = "revision_id" if route == "rollback" else "from_revision"
    with contextlib.closing(Api()) as api:
        main = scoped("mine", "main")
        api.apply({"app/a": "1", "app/old": "1", "sys/x": "1", "z": "1"}, **main)
        changed = {"app/a": "2", "app/new": "2", "sys/x": "2", "sys/y": "2"}
        api.apply(changed, deletes=["app/old", "z"], **main)
        api.serve(Someone(POLICIES["app"]))
        trial = api.post(f"/v1/{route}", {**main, number: 1, "dry_run": True}).json
        done = api.post(f"/v1/{route}", {**main, number: 1}).json
        again = api.post(f"/v1/{route}", {**main, number: 1}).json
        api.serve()
        objects = api.state("namespace=mine")["objects"]
        log = api.get("/v1/log?namespace=mine&limit=1").json["entries"]

    expected = {"app/a": "1", "app/old": "1", "sys/x": "2", "sys/y": "2"}
    assert expected == objects
    keys = [("app/a", "update"), ("app/new", "delete"), ("app/old", "create")]
    assert keys == [(change["key"], change["type"]) for change in done["changes"]]
    assert trial["changes"] == done["changes"]
    assert log[0]["changes"] == done["changes"]
    assert (3, True) == (again["revision"], again["noop"])


def test_a_partial_reset_of_too_much_is_refused() -> None:
    """More changes than one apply may have are refused, and nothing is changed."""
    main = scoped("mine", "main")
    with contextlib.closing(Api()) as api:
        for start in (0, 5000, 10000):
            keys = {f"app/{number:05}": "" for number in range(start, start + 5000)}
            api.apply(keys, changes="none", **main)
        api.apply({"app/one": "", "sys": ""}, **main)
        api.serve(Someone(POLICIES["app"]))
        refused = api.post("/v1/rollback", {**main, "revision_id": 1})
        head = api.state("namespace=mine&contents=false&limit=1")["revision"]

    assert (413, "apply_documents_max") == (refused.status, refused.json["limit"])
    assert 4 == head


def test_who_may_not_read_is_not_shown_contents() -> None:
    """A write answers keys and what happened to them, contents only to readers."""
    main = scoped("mine", "main")
    with world() as api:
        api.serve(Someone(POLICIES["writer"]))
        applied = api.apply({"app/a": "mine"}, **main)["changes"]
        back = api.post("/v1/rollback", {**main, "revision_id": 1}).json["changes"]
        api.serve(Someone(POLICIES["reads app, writes all"]))
        again = api.apply({"app/a": "2", "sys/x": "2"}, **main)["changes"]

    assert [{"key": "app/a", "type": "update"}] == applied
    assert [{"key": k, "type": "update"} for k in ("app/a", "app/b", "sys/x")] == back
    assert [{"key", "type", "before", "after"}, {"key", "type"}] == [
        set(change) for change in again
    ]


def test_a_branch_shows_nobody_more_than_they_saw() -> None:
    """Whoever sees more of a new branch than of its source can't make it."""
    wider = (
        Allow("read write", "mine", "main", "app/"),
        Allow("read write", "mine", "free*"),
    )
    with world() as api:
        api.serve(Someone(wider))
        for source in ({}, {"from_checkpoint": "c-main"}):
            body = {**scoped("mine", "main"), "name": "free", **source}
            assert api.post("/v1/branches", body).status in (403, 404)
        alike = Allow("read write", "mine", folder="app/")
        api.serve(Someone((alike,)))
        body = {**scoped("mine", "main"), "name": "free"}
        assert 200 == api.post("/v1/branches", body).status
        state = api.state("namespace=mine&branch=free")
        assert ["app/a", "app/b"] == list(state["objects"])


def test_a_checkpoint_that_moves_shows_what_its_branch_shows() -> None:
    """The same revision by another branch's checkpoint shows what that one allows."""
    by_branch = (
        Allow("read", "mine", "main"),
        Allow("read", "mine", "copy", "app/"),
    )
    target = "/v1/state?namespace=mine&branch=main&checkpoint=c-main"
    with world() as api:
        created = {**scoped("mine", "main"), "name": "copy"}
        assert 200 == api.post("/v1/branches", created).status
        api.serve(Someone(by_branch))
        whole = api.get(target)
        assert 3 == len(whole.json["objects"])
        api.serve()
        moved = {**scoped("mine", "copy"), "name": "c-main", "description": "moved"}
        assert 200 == api.post("/v1/checkpoints", {**moved, "replace": True}).status
        api.serve(Someone(by_branch))
        part = api.get(target, if_none_match=whole.headers["etag"])

    assert ["app/a", "app/b"] == list(part.json["objects"])


# --- authors -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "speaks", "expected"),
    [
        ("", False, "ci"),
        ("ci", False, "ci"),
        ("ops", False, None),
        ("", True, "ci"),
        ("ops", True, "ops"),
    ],
)
def test_the_author_is_whoever_asks(
    given: str, speaks: bool, expected: str | None
) -> None:
    """Nobody writes in another's name, unless they may speak for others."""
    main = scoped("mine", "main")
    with world() as api:
        api.serve(Someone(POLICIES["all"], speaks=speaks))
        head = api.state("namespace=mine")["revision"]
        named = {**main, "author": given}
        answers = [
            api.post(
                "/v1/apply", {**named, "documents": [{"key": "a", "content": "1"}]}
            ),
            api.post("/v1/rollback", {**named, "revision_id": -1}),
            api.post("/v1/restore", {**named, "from_branch": "hidden"}),
            api.post("/v1/checkpoints", {**named, "name": "fresh"}),
        ]
        log = api.get("/v1/log?namespace=mine&limit=3").json["entries"]

        if expected is None:
            assert [403] * 4 == [answer.status for answer in answers]
            assert head == api.state("namespace=mine")["revision"]
        else:
            assert [200] * 4 == [answer.status for answer in answers]
            assert [expected] * 3 == [entry["author"] for entry in log]
            assert expected == answers[-1].json["author"]


def test_the_daemons_own_token_is_admin() -> None:
    """Its changes are by ``admin``, who may name another author."""
    with contextlib.closing(Api(token="sesame")) as api:
        api.apply({"a": "1"})
        api.apply({"a": "2"}, author="ops")
        log = api.get("/v1/log").json["entries"]

    assert ["ops", "admin"] == [entry["author"] for entry in log]


# --- protected branches --------------------------------------------------------------


def protection(
    *writers: str, expect: bool = False, rollback: bool = True
) -> Protection:
    """Return what protects main in mine."""
    main = (Glob("mine"),), (Glob("main"),)
    return Protection(*main, frozenset(writers), expect, rollback)


ONE = {"documents": [{"key": "a", "content": "1"}]}
WRITES: list[tuple[str, str, dict[str, object]]] = [
    ("POST", "apply", {**scoped("mine", "main"), **ONE}),
    ("POST", "rollback", {**scoped("mine", "main"), "revision_id": -1}),
    ("POST", "restore", {**scoped("mine", "main"), "from_branch": "hidden"}),
    ("POST", "checkpoints", {**scoped("mine", "main"), "name": "fresh"}),
    ("DELETE", "checkpoints", {"namespace": "mine", "name": "c-main"}),
    (
        "POST",
        "checkpoints",
        {**scoped("mine", "hidden"), "name": "c-main", "replace": True},
    ),
    ("DELETE", "branches", {"namespace": "mine", "name": "main"}),
]


@pytest.mark.parametrize(("method", "route", "body"), WRITES)
def test_only_the_named_write_to_a_protected_branch(
    method: str, route: str, body: dict[str, object]
) -> None:
    """Others are refused whatever their rules, and nothing is changed."""
    with world() as api:
        api.serve(Someone(POLICIES["all"], protection("release")))
        before = everything(api)
        assert 403 == api.call(method, f"/v1/{route}", body).status
        assert before == everything(api)
        api.serve(Someone(POLICIES["all"], protection("release", "ci")))
        assert 200 == api.call(method, f"/v1/{route}", body).status


def test_a_protected_name_can_not_be_made_by_others() -> None:
    """Making a branch of that name is writing to it; reading and branching off is not."""
    with world() as api:
        api.serve(Someone(POLICIES["all"], protection("release")))
        other = {**scoped("mine", "hidden"), "name": "main"}
        assert 403 == api.post("/v1/branches", other).status
        off = {**scoped("mine", "main"), "name": "off"}
        assert 200 == api.post("/v1/branches", off).status
        assert 200 == api.get("/v1/state?namespace=mine").status
        dry = {**WRITES[0][2], "dry_run": True}
        assert 200 == api.post("/v1/apply", dry).status


@pytest.mark.parametrize(("method", "route", "body"), [*WRITES[:3], WRITES[-1]])
def test_a_protected_branch_wants_the_expected_head(
    method: str, route: str, body: dict[str, object]
) -> None:
    """Without ``expect_revision`` 428 and nothing changed; with the right one 200."""
    with world() as api:
        api.serve(Someone(POLICIES["all"], protection("ci", expect=True)))
        head = api.state("namespace=mine")["revision"]
        refused = api.call(method, f"/v1/{route}", body)
        assert (428, "expect_revision_required") == (refused.status, refused.code)
        assert head == api.state("namespace=mine")["revision"]
        wrong = api.call(method, f"/v1/{route}", {**body, "expect_revision": head - 1})
        assert 409 == wrong.status
        right = api.call(method, f"/v1/{route}", {**body, "expect_revision": head})
        assert 200 == right.status


def test_a_protected_branch_may_forbid_direct_rollback() -> None:
    """Neither rollback nor its twin, a restore from the branch's own history."""
    main = scoped("mine", "main")
    with world() as api:
        api.serve(Someone(POLICIES["all"], protection("ci", rollback=False)))
        for route, body in (
            ("rollback", {"revision_id": -1}),
            ("rollback", {"checkpoint_name": "c-main"}),
            ("restore", {"from_revision": 1}),
            ("restore", {"from_checkpoint": "c-hidden"}),
            ("restore", {"from_branch": "main", "from_revision": 1}),
        ):
            assert 403 == api.post(f"/v1/{route}", {**main, **body}).status
        body = {**main, "from_branch": "hidden", "from_checkpoint": "c-hidden"}
        assert 200 == api.post("/v1/restore", body).status
        assert 200 == api.post("/v1/apply", {**main, **ONE}).status


@pytest.mark.parametrize(
    "source",
    [
        {"from_branch": "hidden", "from_checkpoint": "c-old"},
        {"from_branch": "off", "from_checkpoint": "c-old"},
        {"from_branch": "off", "from_revision": 1},
        {"from_branch": "off", "from_revision": -1},
        {"from_branch": "off", "from_at": "2026-01-01T00:00:02Z"},
        {"from_branch": "off"},
        {"from_branch": "on", "from_revision": 1},
    ],
)
def test_another_name_for_it_makes_it_no_other_state(source: dict[str, object]) -> None:
    """What the branch has had is refused by whatever branch it is named."""
    main = scoped("mine", "main")
    with world() as api:
        old = {**main, "name": "c-old", "revision": 1}
        assert 200 == api.post("/v1/checkpoints", old).status
        for name, number in (("off", 1), ("on", 3)):
            made = {**main, "name": name, "from_revision": number}
            assert 200 == api.post("/v1/branches", made).status
        if source.get("from_revision") == -1:
            api.apply({"z": "1"}, **scoped("mine", "off"))
        api.serve(Someone(POLICIES["all"], protection("ci", rollback=False)))
        before = everything(api)
        answer = api.post("/v1/restore", {**main, **source})
        assert (403, "forbidden") == (answer.status, answer.code)
        assert before == everything(api)
        same = {**main, "from_branch": "on"}
        assert api.post("/v1/restore", same).json["noop"]
        trial = api.post("/v1/restore", {**main, **source, "dry_run": True})
        assert 200 == trial.status
        api.serve(Someone(POLICIES["all"], protection("ci")))
        assert 200 == api.post("/v1/restore", {**main, **source}).status


def test_where_rollback_is_forbidden_nothing_is_made_anew() -> None:
    """A branch that could be deleted could be made again at an earlier revision."""
    with world() as api:
        api.serve(Someone(POLICIES["all"], protection("ci", rollback=False)))
        gone = api.delete("/v1/branches", {"namespace": "mine", "name": "main"})
        assert (403, "forbidden") == (gone.status, gone.code)
        other = api.delete("/v1/branches", {"namespace": "mine", "name": "hidden"})
        assert 200 == other.status
