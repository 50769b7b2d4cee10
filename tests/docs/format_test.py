"""docs/format.md suffices to read a store, and its examples are what st8 writes.

The reader (tests/docs/reader.py) knows only the page; the stores are the engine's.
"""

from __future__ import annotations

import re
import shutil
import sqlite3
import stat
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import pytest

from st8.core.documents import Document
from st8.core.errors import NewerFormat, StateDirectoryInUse
from st8.core.ids import (
    Author,
    BranchName,
    CheckpointName,
    IdempotencyKey,
    Key,
    Message,
    Namespace,
    RevisionNumber,
    Scope,
)
from st8.core.limits import CONTENT_BYTES, NODE_ENTRIES
from st8.core.revisions import parse_time
from st8.engine import Engine
from st8.engine.requests import (
    Apply,
    CreateBranch,
    PutCheckpoint,
    Redact,
    Reset,
    Selector,
)
from st8.store.codec import unpack
from st8.store.sqlite import SqliteStore
from tests.docs import reader
from tests.docs.backup_reader import Backup, BrokenBackupError
from tests.docs.reader import StoreReader
from tests.engine.backups import base_of, records_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PAGE = (Path(__file__).parents[2] / "docs" / "format.md").read_text(encoding="utf-8")
EPOCH_NS = parse_time("2026-01-02T03:04:05.000000006Z")
# Names whose parts could be taken for each other, were they ever joined.
SCOPES = [
    Scope(Namespace(namespace), BranchName(branch))
    for namespace, branch in (
        ("payments/prod", "main"),
        ("payments", "prod/main"),
        ("payments/prod/main", "release"),
        ("Ünïcode – 名", "main"),
    )
]
States = dict[tuple[str, int], dict[str, bytes]]


class SteppingClock:
    """A clock that is read once a second, and now and then goes back."""

    def __init__(self) -> None:
        """Begin at the page's example."""
        self._reads = 0

    def now_ns(self) -> int:
        """Return the time."""
        self._reads += 1
        back = 10 if self._reads % 7 == 0 else 0
        return EPOCH_NS + (self._reads - 1 - back) * 1_000_000_000


def _section(title: str) -> str:
    """Return the text below a heading of the page."""
    _, _, rest = PAGE.partition(f" {title}\n")
    return re.split(r"^#+ ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def _named(title: str) -> list[tuple[str, str]]:
    """Return the labelled hexadecimal values of a section, in order."""
    return re.findall(
        r"^([a-z]+(?: \d)?) +([0-9a-f]{10,})$", _section(title), re.MULTILINE
    )


def _engine(directory: Path) -> Engine:
    return Engine(SqliteStore(directory), SteppingClock())


def _key(random: Random) -> str:
    segments = ["app", "ä", "a b", "limits", "z" * 60, str(random.randrange(400))]
    return "/".join(random.sample(segments, random.randint(1, 3)))


def _content(random: Random) -> str:
    words = ["timeout: 30", "ключ", "\r\n", "", "\u2028", str(random.random())]
    return "\n".join(random.choices(words, k=random.randint(0, 40)))


class Filled:
    """A store with a history, and what each of its revisions must hold."""

    def __init__(self, directory: Path) -> None:
        """Write the history: applies, deletes, branches, resets, checkpoints."""
        self.directory = directory
        self.states: States = {}
        self._random = Random(20260102)
        self.engine = _engine(directory)
        for scope in SCOPES:
            self._fill(scope)

    def _fill(self, scope: Scope) -> None:
        engine, random = self.engine, self._random
        state: dict[str, bytes] = {}
        numbers: list[int] = []
        for size in (1, 40, 3_000, *[random.randint(1, 30) for _ in range(45)]):
            puts = {_key(random): _content(random) for _ in range(size)}
            some = random.sample(sorted(state), min(len(state), random.randrange(9)))
            gone = [key for key in some if key not in puts]
            result = engine.apply(
                Apply(
                    scope,
                    tuple(Document(Key(k), text) for k, text in puts.items()),
                    tuple(map(Key, gone)),
                    Message(f"change {len(numbers)}\nand why"),
                    Author("ops"),
                    idempotency_key=IdempotencyKey(f"key-{len(numbers)}"),
                )
            )
            state = {k: v for k, v in state.items() if k not in gone}
            state |= {key: text.encode() for key, text in puts.items()}
            numbers.append(result.number)
            self.states[scope.namespace, result.number] = state
        key, content = next(iter(state.items()))
        again = (Document(Key(key), content.decode()),)
        result = engine.apply(
            Apply(scope, again, idempotency_key=IdempotencyKey("nothing-new"))
        )
        assert result.noop
        self._branch(scope, numbers)

    def _branch(self, scope: Scope, numbers: list[int]) -> None:
        """Make a branch and a checkpoint, roll back, restore, empty the branch."""
        engine, namespace = self.engine, scope.namespace
        middle = Selector(revision=numbers[len(numbers) // 2])
        engine.put_checkpoint(
            PutCheckpoint(scope, CheckpointName("known/good"), middle)
        )
        side = Scope(namespace, BranchName("side"))
        engine.create_branch(CreateBranch(scope, side.branch, middle))
        checkpoint = Selector(checkpoint=CheckpointName("known/good"))
        back = engine.reset(Reset(scope, checkpoint, "rollback"))
        self._same(namespace, back.number, numbers[len(numbers) // 2])
        forth = engine.reset(Reset(side, Selector(revision=numbers[0]), "restore"))
        self._same(namespace, forth.number, numbers[0])
        keys = tuple(map(Key, self.states[namespace, numbers[0]]))
        empty = engine.apply(Apply(side, deletes=keys))
        self.states[namespace, empty.number] = {}

    def _same(self, namespace: str, number: int, as_number: int) -> None:
        self.states[namespace, number] = self.states[namespace, as_number]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    """A store with a history; its engine stays open."""
    filled = Filled(tmp_path_factory.mktemp("filled"))
    yield filled
    filled.engine.close()


@pytest.fixture
def store(filled: Filled) -> Iterator[StoreReader]:
    """The reader of that store, beside the process that holds it."""
    with closing(StoreReader(filled.directory)) as opened:
        yield opened


def test_every_document_of_every_revision_is_read(
    filled: Filled, store: StoreReader
) -> None:
    """The page suffices to read all documents at every revision, byte for byte."""
    actual = {
        (namespace, number): store.documents(revision.root)
        for namespace in store.namespaces()
        for number, revision in store.revisions(namespace).items()
    }

    assert filled.states == actual


def test_documents_come_in_the_order_of_their_keys(
    filled: Filled, store: StoreReader
) -> None:
    """A walk from the root gives the keys in the order of their bytes."""
    namespace, number = max(filled.states, key=lambda at: len(filled.states[at]))
    root = store.revisions(namespace)[number].root
    keys = [key.encode() for key in store.documents(root)]

    assert sorted(keys) == keys


def test_one_document_is_read_down_one_path(filled: Filled, store: StoreReader) -> None:
    """A key is found, or found missing, without reading the rest."""
    for namespace in store.namespaces():
        number, revision = max(store.revisions(namespace).items())
        expected = filled.states[namespace, number - 2]
        root = store.revisions(namespace)[number - 2].root
        for key in [*list(expected)[::100], "", "app/absent", "~"]:
            assert expected.get(key) == store.document(root, key)
        assert revision.root == sha256(reader.EMPTY_NODE).digest()


def test_trees_depend_on_their_documents_alone(
    filled: Filled, store: StoreReader
) -> None:
    """A tree built from nothing by the page's rules has the root that was stored.

    Each node of it is stored too, byte for byte.
    """
    for namespace in store.namespaces():
        for number, revision in store.revisions(namespace).items():
            objects: dict[bytes, bytes] = {}
            root = reader.build_root(filled.states[namespace, number], objects)
            assert root == revision.root
            for digest, data in objects.items():
                assert data == store.object(digest)


def test_histories_are_chains(store: StoreReader) -> None:
    """Parents, their digests and roots, times, depths and skips are as specified."""
    for namespace, last in store.namespaces().items():
        revisions = store.revisions(namespace)
        assert list(range(1, last + 1)) == list(revisions)
        for revision in revisions.values():
            chain = [revision]
            while chain[-1].parents:
                chain.append(revisions[chain[-1].parents[0].number])
            assert len(chain) == revision.depth
            if not revision.parents:
                assert revision.skip is None
                continue
            (parent,) = revision.parents
            assert (chain[1].digest, chain[1].root) == (parent.digest, parent.root)
            assert chain[1].time_ns <= revision.time_ns
            skipped = chain[reader.skip_length(revision.depth)]
            assert (skipped.number, skipped.digest) == revision.skip


def test_refs_name_revisions_by_number_and_digest(store: StoreReader) -> None:
    """Each branch and checkpoint has the digest of the revision that it names."""
    for namespace in store.namespaces():
        revisions = store.revisions(namespace)
        branches = store.branches(namespace)
        checkpoints = store.checkpoints(namespace)
        assert 2 == len(branches)
        assert ["known/good"] == list(checkpoints)
        for name, (base, since, head, digest) in branches.items():
            assert revisions[head].digest == digest
            assert base in {0, *revisions}
            assert base <= since
            own = [r.number for r in revisions.values() if r.branch == name]
            assert since < min(own)
        for number, digest, branch in checkpoints.values():
            assert revisions[number].digest == digest
            assert branch in branches


def test_objects_are_found_by_their_prefix(store: StoreReader) -> None:
    """Every row's prefix is that of its object, and its epoch is not to come."""
    epoch = store.number("SELECT epoch FROM collection")
    count = 0
    for prefix, stamp, data in store.all_objects():
        digest = sha256(data).digest()
        assert prefix == int.from_bytes(digest[:8], "big", signed=True)
        assert data == store.object(digest)
        assert 1 <= stamp <= epoch
        count += 1

    assert store.number("SELECT count(*) FROM objects") == count


def test_objects_are_packed_in_each_way(store: StoreReader) -> None:
    """The store has objects of all three kinds: every way of the page was read."""
    kinds = store.database.execute("SELECT DISTINCT substr(data, 1, 1) FROM objects")

    assert {(b"\0",), (b"\1",), (b"\2",)} == set(kinds.fetchall())


def test_the_files_are_their_owners(tmp_path: Path) -> None:
    """The state directory and the database are for their owner alone."""
    engine = _engine(tmp_path / "state")
    modes = [
        f"{stat.S_IMODE(path.stat().st_mode):04o}"
        for path in (tmp_path / "state", tmp_path / "state" / "st8.db")
    ]
    engine.close()

    assert ["0700", "0600"] == modes
    assert f"modes {' and '.join(modes)}" in _section("The SQLite file")


def test_answers_name_the_head_after_the_request(
    filled: Filled, store: StoreReader
) -> None:
    """An answer is of a revision that exists, and is remembered for a day."""
    rows = list(store.answers())

    assert len(rows) == len(SCOPES) * 49
    assert len(SCOPES) == sum(noop for _, _, _, _, noop, _ in rows)
    for namespace, _, request, revision, noop, expires_ns in rows:
        assert noop in {0, 1}
        assert (namespace, revision) in filled.states
        assert 32 == len(request)
        assert expires_ns > EPOCH_NS + 24 * 60 * 60 * 1_000_000_000 - 10_000_000_000


def test_what_a_collection_leaves_is_read(tmp_path: Path) -> None:
    """After a collection the kept revisions and their parents' states are whole."""
    filled = Filled(tmp_path)
    collected = filled.engine.collect(keep=3)
    filled.engine.close()
    kept = 0
    with closing(StoreReader(tmp_path)) as store:
        assert store.number("SELECT epoch FROM collection") > 1
        for namespace, last in store.namespaces().items():
            revisions = store.revisions(namespace)
            kept += len(revisions)
            assert last == max(revisions)
            for number, revision in revisions.items():
                expected = filled.states[namespace, number]
                assert expected == store.documents(revision.root)
                for parent in revision.parents:
                    expected = filled.states[namespace, parent.number]
                    assert expected == store.documents(parent.root)

    assert len(filled.states) == kept + collected.revisions
    assert collected.revisions > 0


def test_copies_made_by_sqlite_are_stores(filled: Filled, tmp_path: Path) -> None:
    """A copy by SQLite's backup interface opens as the store it is a copy of."""
    path = filled.directory / "st8.db"
    with (
        closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as source,
        closing(sqlite3.connect(tmp_path / "st8.db")) as target,
    ):
        source.backup(target)
    engine = _engine(tmp_path)
    for scope in SCOPES:
        expected = filled.engine.state(scope)
        actual = engine.state(scope)
        assert (expected.number, expected.root) == (actual.number, actual.root)
        assert dict(expected.items()) == dict(actual.items())
    engine.close()


def test_the_page_shows_the_file_as_it_is(filled: Filled) -> None:
    """The tables, indexes and pragmas of the page are those of the file."""
    path = filled.directory / "st8.db"
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as db:
        made = db.execute(
            "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY rowid"
        ).fetchall()
        pragmas = {
            name: db.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("application_id", "user_version", "page_size", "auto_vacuum")
        } | {name: db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("encoding",)}
        journal = db.execute("PRAGMA journal_mode").fetchone()[0]
    shown = re.findall(r"^```sql\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)

    assert ["".join(f"{sql};\n" for (sql,) in made)] == shown
    assert {
        "application_id": 1398028388,
        "user_version": 2,
        "page_size": 16384,
        "auto_vacuum": 2,
        "encoding": "UTF-8",
    } == pragmas
    assert "wal" == journal
    for text in (
        "1398028388",
        "`user_version` 2",
        "16,384",
        "`auto_vacuum` 2",
        "UTF-8",
    ):
        assert text in _section("The SQLite file")
    assert f"{CONTENT_BYTES.maximum:,} bytes" in _section("How an object is packed")
    assert f"{NODE_ENTRIES.maximum:,} entries" in _section("Where a node ends")


def test_the_lock_says_who_holds_it(filled: Filled) -> None:
    """The lock file has the line that the page shows; a second writer is refused."""
    expected = re.fullmatch(
        r"process \d+\n", (filled.directory / "lock").read_text(encoding="utf-8")
    )

    assert expected
    with pytest.raises(StateDirectoryInUse, match=expected[0].strip()):
        SqliteStore(filled.directory)


def test_a_newer_file_is_left_as_it_is(tmp_path: Path) -> None:
    """A file of a newer version is refused, byte for byte unchanged."""
    _engine(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / "st8.db")) as db:
        db.execute("PRAGMA user_version = 3")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    expected = (tmp_path / "st8.db").read_bytes()

    with pytest.raises(NewerFormat):
        SqliteStore(tmp_path)
    assert expected == (tmp_path / "st8.db").read_bytes()


def test_integers_of_the_page() -> None:
    """The varints of the page are right both ways."""
    shown = re.findall(r"^(\d+) +([0-9a-f]+)$", _section("Integers"), re.MULTILINE)

    assert 6 == len(shown)
    for value, data in shown:
        assert data == reader.varint(int(value)).hex()
        assert int(value) == reader.Reader(bytes.fromhex(data)).varint()


def test_levels_of_the_page() -> None:
    """The levels of keys in the page are those that its rule gives."""
    shown = re.findall(
        r"^\| `([^`]+)` \| `([0-9a-f]{16})` \| (\d+) \|$",
        _section("Where a node ends"),
        re.MULTILINE,
    )

    assert [0, 0, 1, 2, 3] == [int(level) for *_, level in shown]
    for key, digits, level in shown:
        assert digits == sha256(key.encode()).hexdigest()[:16]
        assert int(level) == reader.level_of(key.encode())


def test_packed_node_of_the_page() -> None:
    """The packed node of the page is that of its documents, to the reader and st8."""
    section = _section("How an object is packed")
    (_, packed), (_, digest) = _named("How an object is packed")
    frame = re.search(r"of 4d₁₆ = (\d+) bytes, which holds (\d+)", section)
    documents = {
        "services/checkout/production/limits.json": b"100\n",
        "services/checkout/production/timeouts.json": b"30\n",
    }
    objects: dict[bytes, bytes] = {}
    root = reader.build_root(documents, objects)

    assert digest == root.hex()
    assert objects[root] == reader.unpack(bytes.fromhex(packed))
    assert objects[root] == unpack(bytes.fromhex(packed))
    assert frame is not None
    assert (str(0x4D), str(len(objects[root]) - 2 * 32)) == frame.groups()
    assert all(key in section.replace("\n", " ") for key in documents)


def test_seal_of_the_page() -> None:
    """The seal of the page is that of the text that it shows."""
    section = _section("Seals").replace("\n", " ")
    shown = re.search(r"the text `(\S+)` is sealed, and its seal is (\S+)\.", section)

    assert shown is not None
    text, seal = shown.groups()
    assert "13:payments/prod2:42" == text
    assert int(seal.replace("−", "-")) == reader.seal_of(["payments/prod", 42])


def test_what_was_redacted_is_told_by_the_page(tmp_path: Path) -> None:
    """A reader finds no such content, and who redacted it; its mark is the page's."""
    scope = SCOPES[0]
    with closing(Engine(SqliteStore(tmp_path), SteppingClock())) as engine:
        for content in ("secret", "new"):
            engine.apply(Apply(scope, (Document(Key("a"), content),)))
        source = Selector(revision=-1)
        why = (Message("it leaked"), Author("ops"))
        engine.redact(Redact(scope, Key("a"), source, *why))
        mark = engine.state(scope, source).get(Key("a"))
    with closing(StoreReader(tmp_path)) as store:
        gone = sha256(b"secret").digest()
        [[namespace, key, author, reason, _]] = store.redactions()[gone]
        with pytest.raises(reader.BrokenStoreError, match="is missing"):
            store.object(gone)
    with closing(sqlite3.connect(tmp_path / "st8.db")) as db:
        db.execute("UPDATE redactions SET author = 'mole'")
        db.commit()
    with (
        closing(StoreReader(tmp_path)) as store,
        pytest.raises(reader.BrokenStoreError),
    ):
        store.redactions()

    assert (scope.namespace, "a", "ops", "it leaked") == (
        namespace,
        key,
        author,
        reason,
    )
    assert mark is not None
    shown = re.search(r"^\[st8: .*\n", _section("What was redacted"), re.MULTILINE)
    assert shown is not None
    assert re.sub(r"\d", "0", shown[0]) == re.sub(r"\d", "0", mark.decode())


def test_a_changed_row_does_not_match_its_seal(tmp_path: Path) -> None:
    """A reader that checks seals, as the page says, finds any value that was changed."""
    Filled(tmp_path).engine.close()
    scope = SCOPES[0]
    changes: dict[str, Callable[[StoreReader], object]] = {
        "namespaces SET last_revision = last_revision + 1": StoreReader.namespaces,
        "branches SET since = since + 1": lambda s: s.branches(scope.namespace),
        "branches SET base = base + 1": lambda s: s.branches(scope.namespace),
        "checkpoints SET author = 'mole'": lambda s: s.checkpoints(scope.namespace),
        "checkpoints SET time_ns = 7": lambda s: s.checkpoints(scope.namespace),
        "answers SET noop = 1 - noop": lambda s: list(s.answers()),
        "revisions SET seal = seal + 1": lambda s: s.revisions(scope.namespace),
    }
    for change, read in changes.items():
        copy = tmp_path / re.sub(r"\W", "", change)
        copy.mkdir()
        shutil.copy(tmp_path / "st8.db", copy)
        with closing(sqlite3.connect(copy / "st8.db")) as db:
            db.execute(f"UPDATE {change}")
            db.commit()
        with (
            closing(StoreReader(copy)) as store,
            pytest.raises(reader.BrokenStoreError, match="seal"),
        ):
            read(store)


# --- backups ------------------------------------------------------------------------


def test_every_document_of_a_backup_is_read(filled: Filled) -> None:
    """The reader of backups finds in one every document of every revision, and all refs."""
    engine = filled.engine
    backup = Backup(b"".join(engine.backup()))

    assert filled.states == {
        at: backup.documents(*at) for at in sorted(backup.revisions)
    }
    for name, space in backup.spaces.items():
        namespace = Namespace(name)
        assert engine.last_revision(namespace) == space.last == space.newest[0]
        assert backup.revisions[name, space.last].digest == space.newest[1]
        assert {
            branch.name: tuple(branch[1:])
            for branch in engine.branches(namespace, limit=1000).items
        } == {at[1]: ref for at, ref in backup.branches.items() if at[0] == name}
        assert {
            checkpoint.name: tuple(checkpoint[1:])
            for checkpoint in engine.checkpoints(namespace, limit=1000).items
        } == {at[1]: ref for at, ref in backup.checkpoints.items() if at[0] == name}


def test_what_stands_on_a_backup_is_read(tmp_path: Path) -> None:
    """An increment is read on its base, with what was collected and redacted since."""
    scope = SCOPES[0]
    with closing(_engine(tmp_path)) as engine:
        for n in range(4):
            engine.apply(Apply(scope, (Document(Key("k"), f"v{n}"),)))
        full = b"".join(engine.backup())
        engine.apply(Apply(scope, (Document(Key("l"), "1"),)))
        engine.redact(Redact(scope, Key("k"), Selector(revision=2)))
        engine.collect(keep=2)
        increment = b"".join(engine.backup(base=base_of(full)))
    backup = Backup(full, increment)

    assert {"k": None} == backup.documents(scope.namespace, 2)
    assert {"k": b"v3", "l": b"1"} == backup.documents(scope.namespace, 5)
    with pytest.raises(BrokenBackupError, match="base"):
        Backup(increment)


def test_backup_of_the_page(tmp_path: Path) -> None:
    """A backup of the example of the page has the records that stand there."""
    with closing(_engine(tmp_path)) as engine:
        engine.apply(
            Apply(
                SCOPES[0],
                (Document(Key("app/2.json"), "two\n"),),
                message=Message("first limits"),
                author=Author("ops"),
            )
        )
        records = records_of(b"".join(engine.backup()))

    assert [value for _, value in _named("Records")] == [
        (bytes((kind,)) + reader.varint(len(rest)) + rest).hex()
        for kind, rest in records
    ]


def test_skips_of_the_page() -> None:
    """The lengths of skips in the page are those that its rule gives."""
    depths, lengths = re.findall(
        r"^(?:depth|length) ([\d ]+)$", _section("Skips"), re.MULTILINE
    )

    assert lengths.split() == [
        str(reader.skip_length(int(depth))) for depth in depths.split()
    ]


def test_nodes_and_revisions_of_the_page(tmp_path: Path) -> None:
    """The engine makes the example of the page, byte for byte."""
    scope = SCOPES[0]
    engine = _engine(tmp_path)
    for key, content, message, author in (
        ("app/2.json", "two\n", "first limits", "ops"),
        ("app/3.json", "three\n", "raise the limit", ""),
    ):
        engine.apply(
            Apply(
                scope,
                (Document(Key(key), content),),
                message=Message(message),
                author=Author(author),
            )
        )
    engine.apply(Apply(scope, deletes=(Key("app/3.json"),)))
    engine.reset(Reset(scope, Selector(revision=2), "rollback"))
    engine.close()
    with closing(StoreReader(tmp_path)) as store:
        nodes = [
            value.hex()
            for _, _, data in store.all_objects()
            if data.startswith(b"\xffN1")
            for value in (data, sha256(data).digest())
        ]
        revisions = store.revisions(scope.namespace)
        rows = store.database.execute("SELECT data FROM revisions ORDER BY number")
        records = [
            value.hex()
            for (data,) in rows.fetchall()
            for value in (data, sha256(data).digest())
        ]
        prefix = store.number("SELECT prefix FROM objects WHERE id = 1")

    assert nodes == [value for _, value in _named("Where a node ends")]
    assert records == [value for _, value in _named("Revisions")]
    assert [
        *nodes[:2],
        reader.EMPTY_NODE.hex(),
        sha256(reader.EMPTY_NODE).hexdigest(),
    ] == [value for _, value in _named("Nodes")]
    assert (1, revisions[1].digest) == revisions[4].skip
    assert f"`{nodes[1][:16]}…` is found at −{-prefix}." in PAGE.replace("\n", " ")
    first = revisions[RevisionNumber(1)]
    assert f"time {first.time_ns}" in _section("Revisions")
    assert ("ops", "first limits", 1, [], None) == (
        first.author,
        first.message,
        first.depth,
        first.parents,
        first.skip,
    )
