"""Parts of the suite for stores: names and lists, answers and collection.

They are apart from :mod:`st8.testing.contract` only for its length.
"""

# ruff: noqa: S101, PLR2004, SIM300 - these are tests, though not in tests/

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import chain
from typing import TYPE_CHECKING, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from st8.core.errors import Forbidden
from st8.core.ids import (
    PREFIX_BYTES,
    Author,
    BranchName,
    CheckpointName,
    IdempotencyKey,
    Namespace,
    digest_of,
    digest_prefix,
)
from st8.core.limits import NAME_BYTES
from st8.core.ports import Pointers, Stale, Swept
from st8.testing.batches import (
    KEY,
    NO_MARKS,
    OTHER,
    A,
    B,
    N,
    answer_of,
    branch_at,
    checkpoint_at,
    content_of,
    dump,
    empty_batch,
    epoch_of,
    full_batch,
    key_of,
    named,
    next_batch,
    objects_of,
    put,
    record_of,
    redaction_of,
    remember,
    set_branch,
    sweep_all,
    write,
    write_named,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from st8.core.ids import RevisionNumber
    from st8.core.ports import Answer, CommitTimes, HeldObject, Store
    from st8.core.redactions import Redaction
    from st8.core.revisions import Branch, Checkpoint, NamespaceInfo

__all__ = ["CollectionContract", "NamesContract"]

_ListT = TypeVar("_ListT", bound="NamespaceInfo | Branch | Checkpoint")

_FEW = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.differing_executors,
        HealthCheck.too_slow,
    ],
)

_NAMES = st.text(
    st.sampled_from(["a", "b", "/", "é", "\uffff", "\U0001f680", "\U0010ffff", "%"]),
    min_size=1,
    max_size=4,
)
"""Names that begin alike, and that sort otherwise as UTF-16 than as UTF-8."""


class _OpensStores:
    """Opens a store for each test."""

    def open_store(self, place: Path) -> Store:
        """Open the store at ``place``: new there, or as it was left.

        The folder exists, is empty at first, and belongs to this store alone.
        """
        raise NotImplementedError

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        """Give a new store, and close it."""
        store = self.open_store(tmp_path)
        yield store
        store.close()


class NamesContract(_OpensStores):
    """What must hold of names and of lists of them."""

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            (("a", "b/main"), ("a/b", "main")),
            (("a", "b"), ("a/b", "b")),
            (("a", "main"), ("a", "main/obj")),
            (("a/cp", "meta"), ("a", "cp/meta")),
            (("a", "/"), ("a/", "/")),
            (("a", "A"), ("a", "a")),
            (("a", "\u00e9"), ("a", "e\u0301")),
            (("a", "a%"), ("a", "ab")),
            (("a", "a_"), ("a", "ab")),
            (("a", "1"), ("a", "01")),
            (("1", "a"), ("1.0", "a")),
        ],
        ids=ascii,
    )
    def test_names_that_look_alike_are_two(
        self, store: Store, first: tuple[str, str], second: tuple[str, str]
    ) -> None:
        """What is written under one pair of names is not seen under another."""
        one = Namespace(first[0]), BranchName(first[1])
        two = Namespace(second[0]), BranchName(second[1])
        write(store, *one)

        assert store.branch(*two) is None
        assert store.checkpoint(two[0], CheckpointName(two[1])) is None
        write(store, *two)
        set_branch(store, store.branch(*one), None, *one)
        assert store.branch(*one) is None
        assert store.branch(*two) is not None

    @_FEW
    @given(
        pairs=st.lists(st.tuples(_NAMES, _NAMES), min_size=2, max_size=12, unique=True)
    )
    def test_names_never_alias(
        self, tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str]]
    ) -> None:
        """Branches, checkpoints and answers under any names keep to themselves."""
        with closing(self.open_store(tmp_path_factory.mktemp("names"))) as store:
            write_named(store, *pairs)
            numbers: dict[str, int] = {}
            for namespace, name in pairs:
                owner = Namespace(namespace)
                number = numbers[namespace] = numbers.get(namespace, 0) + 1

                assert named(name, number) == (
                    store.branch(owner, BranchName(name)),
                    store.checkpoint(owner, CheckpointName(name)),
                    store.answer(owner, key_of(name)),
                )
                assert {number: record_of(owner, number)} == store.revisions(
                    owner, [N(number)]
                )
            for namespace, number in numbers.items():
                assert number == store.namespace(Namespace(namespace)).last_revision

    def test_the_longest_names_are_kept(self, store: Store) -> None:
        """Names of as many bytes as are allowed are stored and listed."""
        longest = "é" * (NAME_BYTES.maximum // 2)
        write_named(store, (longest, longest))

        assert [longest] == [info.name for info in store.namespaces(longest, "", 10)]
        found = store.branches(Namespace(longest), longest[:-1], "", 10)
        assert [longest] == [branch.name for branch in found]

    # --- lists ---------------------------------------------------------------

    @_FEW
    @given(
        names=st.sets(_NAMES, min_size=1, max_size=15),
        prefix=_NAMES | st.just(""),
        after=_NAMES | st.just(""),
        limit=st.integers(1, 6),
    )
    def test_lists_are_in_byte_order_and_paged(
        self,
        tmp_path_factory: pytest.TempPathFactory,
        names: set[str],
        prefix: str,
        after: str,
        limit: int,
    ) -> None:
        """Any page of any list is the part of all names in the order of UTF-8 bytes."""
        with closing(self.open_store(tmp_path_factory.mktemp("lists"))) as store:
            write_named(
                store,
                *((name, "x") for name in names),
                *(("0", name) for name in sorted(names)),
            )
            in_order = sorted(names, key=str.encode)

            def page(of: list[str], prefix: str, after: str) -> list[str]:
                later = [n for n in of if n.startswith(prefix)]
                return [n for n in later if n.encode() > after.encode()][:limit]

            with_owner = sorted([*names, "0"], key=str.encode)
            for lists, every in (
                (store.namespaces, with_owner),
                (_of(store.branches, "0"), in_order),
                (_of(store.checkpoints, "0"), in_order),
            ):
                found = lists(prefix, after, limit)
                assert page(every, prefix, after) == [item.name for item in found]
                assert every == _all_pages(lists, limit)

    @pytest.mark.parametrize(
        ("name", "prefix"),
        [
            ("\U0010ffff", ""),
            ("a\U0010ffff", "a"),
            ("a\U0010ffffz", "a\U0010ffff"),
            ("\U0010ffff\U0010ffff", "\U0010ffff"),
            ("\ud7ff", "\ud7ff"),
            ("\ue000", ""),
        ],
        ids=ascii,
    )
    def test_names_at_the_end_of_unicode_are_listed(
        self, store: Store, name: str, prefix: str
    ) -> None:
        """A name is listed under every prefix of it, whatever character follows."""
        write_named(store, (name, name))
        owner = Namespace(name)

        assert [name] == [info.name for info in store.namespaces(prefix, "", 10)]
        assert [name] == [b.name for b in store.branches(owner, prefix, "", 10)]
        assert [name] == [c.name for c in store.checkpoints(owner, prefix, "", 10)]

    def test_a_prefix_is_no_pattern(self, store: Store) -> None:
        """Percent, underscore, star and case mean themselves in a prefix."""
        write_named(
            store, *((name, "x") for name in ("a%b", "a_b", "a*b", "axb", "Axb"))
        )

        for prefix in ("a%", "a_", "a*", "ax", "Ax"):
            found = [info.name for info in store.namespaces(prefix, "", 10)]
            assert [prefix + "b"] == found

    @_FEW
    @given(
        pairs=st.lists(st.tuples(_NAMES, _NAMES), min_size=1, max_size=12, unique=True),
        hidden=_NAMES,
    )
    def test_pointers_are_what_the_lists_have(
        self,
        tmp_path_factory: pytest.TempPathFactory,
        pairs: list[tuple[str, str]],
        hidden: str,
    ) -> None:
        """All pointers, or those of a namespace, in order; of hidden ones there are none."""
        with closing(self.open_store(tmp_path_factory.mktemp("pointers"))) as store:
            write_named(store, *pairs)
            owner = Namespace(f"{hidden}0")
            batch = empty_batch(store)
            batch.namespaces[owner] = (N(0), N(0))
            batch.checkpoints[owner, OTHER] = (None, checkpoint_at(1, OTHER))
            store.commit(batch)
            infos = list(store.namespaces("", "", 100))
            lists = [
                Pointers(
                    [info],
                    [(info.name, b) for b in store.branches(info.name, "", "", 100)],
                    [(info.name, c) for c in store.checkpoints(info.name, "", "", 100)],
                )
                for info in infos
            ]

            assert lists == [store.pointers(info.name) for info in infos]
            assert Pointers([], [], []) == store.pointers(owner)
            every = Pointers(
                *(list(chain.from_iterable(some)) for some in zip(*lists, strict=True))
            )
            assert every == store.pointers(None)


class CollectionContract(_OpensStores):
    """What must hold of what is forgotten: old answers, revisions and objects."""

    def test_answers_are_remembered(self, store: Store) -> None:
        """An answer is found under its namespace and key; a new one replaces it."""
        write(store)
        write(store, B)
        remember(store, 1, {KEY: answer_of(1), "other": answer_of(3)})
        remember(store, 1, {KEY: answer_of(2)}, B)

        assert answer_of(1) == store.answer(A, KEY)
        assert answer_of(2) == store.answer(B, KEY)
        assert answer_of(3) == store.answer(A, IdempotencyKey("other"))
        remember(store, 1, {KEY: answer_of(4)})
        assert answer_of(4) == store.answer(A, KEY)

    def test_answers_are_listed_in_order(self, store: Store) -> None:
        """Pages of answers go through all of them, by the bytes of namespace and key.

        Expired ones are there too, and those of a namespace without revisions.
        """
        at = [
            ("a", "k"),
            ("a", "k2"),
            ("a/b", "K"),
            ("a/b", "k"),
            ("b", "~"),
            ("é", "!"),
        ]
        expected = [(pair, answer_of(n, n)) for n, pair in enumerate(at)]
        batch = empty_batch(store)
        for (namespace, key), answer in reversed(expected):
            batch.namespaces[Namespace(namespace)] = (N(0), N(0))
            batch.answers[Namespace(namespace), IdempotencyKey(key)] = answer
        store.commit(batch)

        assert [] == list(store.namespaces("", "", 10))
        for limit in (1, 2, 5, 6, 7):
            found: list[tuple[tuple[str, str], Answer]] = []
            while page := store.answers(found[-1][0] if found else ("", ""), limit):
                assert len(page) <= limit
                found += page
            assert expected == found
        assert expected[2:] == list(store.answers(("a", "k3"), 10))
        assert expected[4:] == list(store.answers(("a/c", ""), 10))

    def test_answers_are_kept_until_they_expire(self, store: Store) -> None:
        """No answer is forgotten before its time, whatever is committed."""
        write(store)
        remember(store, 1, {f"k{n}": answer_of(n, 100) for n in range(300)})
        for number in range(10):
            remember(store, 100, {f"later{number}": answer_of(number, 200)})

        for number in range(300):
            key = IdempotencyKey(f"k{number}")
            assert answer_of(number, 100) == store.answer(A, key)

    def test_expired_answers_do_not_pile_up(self, store: Store) -> None:
        """Once they have expired, later commits with answers let the old ones go."""
        write(store)
        remember(store, 1, {f"k{n}": answer_of(n, 100) for n in range(200)})
        for number in range(40):
            remember(store, 101, {f"later{number}": answer_of(number, 200)})

        left = [store.answer(A, IdempotencyKey(f"k{n}")) for n in range(200)]
        assert [None] * 200 == left
        assert store.answer(A, IdempotencyKey("later0")) == answer_of(0, 200)

    # --- redaction -----------------------------------------------------------

    def test_a_redaction_takes_the_content_away(self, store: Store) -> None:
        """What is redacted is gone, what is not is there, and the epoch is raised."""
        put(store, b"secret", b"plain")
        before = epoch_of(store)
        wanted = [redaction_of(b"secret", A), redaction_of(b"secret", B)]
        epoch = store.redact(lambda: wanted)

        assert before + 1 == epoch == epoch_of(store)
        digests = [digest_of(content) for content in (b"secret", b"plain")]
        assert objects_of(b"plain") == store.objects(digests)
        assert wanted == list(store.redactions())

    def test_what_is_redacted_stays_as_it_was_said_first(self, store: Store) -> None:
        """Redacting again adds new places, and changes none that is there."""
        first = redaction_of(b"secret", A)
        store.redact(lambda: [first])
        other = redaction_of(b"secret", B)
        store.redact(lambda: [first._replace(author=Author("another")), other])

        assert [first, other] == list(store.redactions())

    def test_a_batch_that_was_prepared_before_a_redaction_is_stale(
        self, store: Store
    ) -> None:
        """So what was redacted does not come back by a write that did not know it."""
        batch = full_batch(store)
        store.redact(lambda: [redaction_of(b"secret", A)])
        with pytest.raises(Stale):
            store.commit(batch)

        assert [] == list(store.namespaces("", "", 10))

    def test_who_refuses_to_redact_changes_nothing(self, store: Store) -> None:
        """What is raised while it is chosen is raised, and all is as it was."""
        put(store, b"secret")
        before = dump(store)

        def choose() -> list[Redaction]:
            raise Forbidden("no")

        with pytest.raises(Forbidden):
            store.redact(choose)

        assert before == dump(store)
        assert [] == list(store.redactions())
        put(store, b"more")

    def test_nobody_commits_while_it_is_chosen(self, store: Store) -> None:
        """Whoever chooses sees all commits, and none comes before it is done."""
        chosen: list[RevisionNumber] = []
        store.commit(full_batch(store))
        batch = next_batch(store)
        with ThreadPoolExecutor(1) as pool:

            def choose() -> list[Redaction]:
                committing.append(pool.submit(store.commit, batch))
                chosen.append(store.namespace(A).last_revision)
                return [redaction_of(b"secret", A)]

            committing: list[Future[CommitTimes]] = []
            store.redact(choose)
            with pytest.raises(Stale):
                committing[0].result()

        assert [2] == chosen

    # --- collection ----------------------------------------------------------

    def test_raising_the_epoch_removes_revisions(self, store: Store) -> None:
        """A raised epoch is one more, and the named revisions are gone."""
        for _ in range(4):
            write(store)
        write(store, B)
        before = dump(store)
        raised = store.raise_epoch({A: [N(1), N(3), N(77)], B: []}, before.epoch)

        assert (before.epoch + 1, 2) == raised
        assert before.epoch + 1 == epoch_of(store)
        assert [2, 4] == list(store.numbers(A, N(0), 10))
        assert {} == store.revisions(A, [N(1), N(3)])
        after = dump(store)
        assert (before.namespaces, before.branches) == (
            after.namespaces,
            after.branches,
        )
        assert before.revisions[B] == after.revisions[B]

    def test_an_unexpected_epoch_changes_nothing(self, store: Store) -> None:
        """Raising another epoch than the current one is Stale and removes nothing."""
        write(store)
        before = dump(store)

        for wrong in (before.epoch - 1, before.epoch + 1):
            with pytest.raises(Stale):
                store.raise_epoch({A: [N(1)]}, wrong)
        assert before == dump(store)

    def test_a_batch_of_an_older_epoch_is_stale(self, store: Store) -> None:
        """What was prepared before a collection began is not written after."""
        batch = full_batch(store)
        store.raise_epoch({}, batch.epoch)

        with pytest.raises(Stale):
            store.commit(batch)
        assert [] == list(store.namespaces("", "", 10))

    def test_a_sweep_deletes_what_is_old_and_not_marked(self, store: Store) -> None:
        """Unmarked objects of an older epoch go; marked and newer ones stay."""
        marked, dead, again, new = (digest_of(c) for c in (b"m", b"d", b"a", b"n"))
        put(store, b"m", b"d", b"a")
        epoch = store.raise_epoch({}, epoch_of(store)).epoch
        put(store, b"a", b"n")

        assert 1 == sweep_all(store, [marked], epoch)
        left = store.objects([marked, dead, again, new])
        assert objects_of(b"m", b"a", b"n") == left

    def test_a_sweep_spares_the_epoch_it_is_told(self, store: Store) -> None:
        """Objects stamped with the epoch itself, or a later one, stay."""
        put(store, b"x")
        epoch = epoch_of(store)

        assert 0 == sweep_all(store, [], epoch)
        assert 0 == sweep_all(store, [], epoch - 1)
        assert 1 == sweep_all(store, [], epoch + 1)

    @pytest.mark.parametrize("limit", [1, 2, 3, 10, 1_000])
    def test_a_sweep_goes_through_all_in_pieces(self, store: Store, limit: int) -> None:
        """However many objects it looks at in one go, a sweep sees each of them."""
        contents = [b"%d" % n for n in range(20)]
        kept = {digest_of(c): c for c in contents[::4]}
        put(store, *contents)
        epoch = store.raise_epoch({}, epoch_of(store)).epoch

        assert 15 == sweep_all(store, kept, epoch, limit)
        assert kept == store.objects([digest_of(c) for c in contents])
        assert 0 == sweep_all(store, kept, epoch, limit)

    @pytest.mark.parametrize("limit", [1, 3, 1_000])
    @pytest.mark.parametrize("size_max", [0, 1, 1 << 20])
    def test_every_object_is_held_once(
        self, store: Store, limit: int, size_max: int
    ) -> None:
        """Page by page every object is there, by what it is found by, with its bytes.

        Needed or not; the bytes only where they are asked for.
        """
        write(store)
        contents = [content_of(A, 1), *(b"%d" % n * n for n in range(20))]
        put(store, *contents)
        expected = sorted((digest_of(c), c if size_max else None) for c in contents)
        after = 0
        found: list[HeldObject] = []
        while page := store.held_objects(after, limit, size_max):
            assert len(page) <= limit
            assert 1 == len(page) or sum(held.size for held in page[:-1]) <= (
                size_max or 1 << 30
            )
            found += page
            after = page[-1].position

        assert sorted(held.position for held in found) == [h.position for h in found]
        short = {(h.begins, h.data) for h in found}
        assert len(expected) == len(found) == len(short)
        assert {(d[: len(found[0].begins)], c) for d, c in expected} == short
        assert PREFIX_BYTES <= len(found[0].begins)

    def test_a_whole_store_has_no_problems(self, store: Store) -> None:
        """A store that nobody has damaged finds nothing wrong with itself."""
        assert [] == list(store.check_itself().problems)
        for namespace in (A, B):
            write(store, namespace)
        store.raise_epoch({A: [N(1)]}, epoch_of(store))

        assert [] == list(store.check_itself().problems)

    def test_what_is_named_is_not_removed(self, store: Store) -> None:
        """A revision that a branch or checkpoint names stays, though it is to go."""
        for _ in range(6):
            write(store)
        point = checkpoint_at(2)
        made = branch_at(4, BranchName("made"), base=3)
        batch = empty_batch(store)
        batch.checkpoints[A, point.name] = (None, point)
        batch.branches[A, made.name] = (None, made)
        store.commit(batch)
        chosen = [N(n) for n in range(1, 7)]
        raised = store.raise_epoch({A: chosen}, epoch_of(store))

        assert 2 == raised.revisions
        assert [2, 3, 4, 6] == list(store.numbers(A, N(0), 10))

    def test_what_would_be_swept_is_weighed(self, store: Store) -> None:
        """Weighing finds what a sweep deletes, of any stamp, and changes nothing."""
        put(store, b"kept", *(b"dead %d" % n for n in range(20)))
        marks = {digest_prefix(digest_of(b"kept"))}
        before = dump(store)
        weighed = _weigh_all(store, marks, 3)
        assert before == dump(store)
        epoch = store.raise_epoch({}, epoch_of(store)).epoch
        swept = store.sweep(marks, epoch, 0, 1_000)

        assert (weighed.objects, weighed.size) == (swept.objects, swept.size)
        assert swept.objects >= 20
        assert swept.size >= sum(len(b"dead %d" % n) for n in range(20))
        assert (0, 0) == _weigh_all(store, marks, 3)[1:3]

    def test_what_is_free_is_given_back(self, store: Store) -> None:
        """Giving space back ends, and harms nothing that is there."""
        put(store, b"kept", *(bytes([n]) * 50_000 for n in range(40)))
        epoch = store.raise_epoch({}, epoch_of(store)).epoch
        marks = {digest_prefix(digest_of(b"kept"))}
        store.sweep(marks, epoch, 0, 1_000)
        pieces = 0
        while store.shrink(2).size:
            pieces += 1
            assert pieces < 1_000

        assert objects_of(b"kept") == store.objects([digest_of(b"kept")])
        put(store, b"new")
        assert objects_of(b"new") == store.objects([digest_of(b"new")])

    def test_erasing_ends_and_harms_nothing(self, store: Store) -> None:
        """What deletions have left is overwritten, and all that is there stays."""
        put(store, b"kept", bytes(60_000), *(bytes([n]) * 5_000 for n in range(40)))
        epoch = store.raise_epoch({}, epoch_of(store)).epoch
        marks = {digest_prefix(digest_of(one)) for one in (b"kept", bytes(60_000))}
        store.sweep(marks, epoch, 0, 1_000)
        before = dump(store)
        position = pieces = 1
        while position:
            position = store.erase(position, 2)
            pieces += 1
            assert pieces < 1_000

        assert before == dump(store)
        put(store, b"new")
        assert objects_of(b"new") == store.objects([digest_of(b"new")])

    def test_a_collection_is_alone(self, store: Store) -> None:
        """Who collects alone hears so, one time after the other."""
        for _ in range(2):
            with store.collecting() as alone:
                assert alone
                put(store, b"x")

    def test_an_empty_store_is_swept(self, store: Store) -> None:
        """A sweep of nothing ends at once."""
        assert (0, 0, 0) == store.sweep(NO_MARKS, epoch_of(store) + 1, 0, 10)[:3]
        assert (0, 0, 0) == store.weigh(NO_MARKS, 0, 10)[:3]

    def test_what_was_swept_can_be_put_again(self, store: Store) -> None:
        """An object that was deleted is there again after the next put."""
        put(store, b"x")
        epoch = store.raise_epoch({}, epoch_of(store)).epoch
        assert 1 == sweep_all(store, [], epoch)
        assert {} == store.objects([digest_of(b"x")])
        put(store, b"x")

        assert objects_of(b"x") == store.objects([digest_of(b"x")])

    def test_commits_between_the_pieces_of_a_sweep_are_safe(self, store: Store) -> None:
        """What a commit puts while a sweep goes on stays, new or there already."""
        contents = [b"%d" % n for n in range(30)]
        put(store, *contents)
        epoch = store.raise_epoch({}, epoch_of(store)).epoch
        position, deleted, *_ = store.sweep(NO_MARKS, epoch, 0, 4)
        rounds = 0
        while position:
            put(store, *contents[rounds::7], b"new %d" % rounds)
            rounds += 1
            position, more, *_ = store.sweep(NO_MARKS, epoch, position, 4)
            deleted += more

        put(store, *contents[:2])
        there = store.objects([digest_of(b"new %d" % n) for n in range(rounds)])
        assert objects_of(*(b"new %d" % n for n in range(rounds))) == there
        assert objects_of(*contents[:2]) == store.objects(
            [digest_of(c) for c in contents[:2]]
        )
        assert deleted <= 30


def _weigh_all(store: Store, marks: set[int], limit: int) -> Swept:
    """Weigh to the end."""
    position = objects = size = 0
    while True:
        position, some, weight, _ = store.weigh(marks, position, limit)
        objects += some
        size += weight
        if not position:
            return Swept(0, objects, size)


def _of(
    lists: Callable[[Namespace, str, str, int], Sequence[_ListT]], namespace: str
) -> Callable[[str, str, int], Sequence[_ListT]]:
    """Return one of the lists of a namespace, called as that of namespaces is."""

    def call(prefix: str, after: str, limit: int) -> Sequence[_ListT]:
        return lists(Namespace(namespace), prefix, after, limit)

    return call


def _all_pages(
    lists: Callable[[str, str, int], Sequence[_ListT]], limit: int
) -> list[str]:
    """Return all names of a list, read page by page."""
    names: list[str] = []
    while page := lists("", names[-1] if names else "", limit):
        names += [item.name for item in page]
    return names
