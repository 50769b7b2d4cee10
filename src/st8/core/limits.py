"""Every limit of st8, named with its unit, with its reason.

A limit that is passed answers with its name and its number
(:class:`st8.core.errors.LimitExceeded`), so nobody has to guess which one it was.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = [
    "ALL",
    "CONTENT_BYTES",
    "IDEMPOTENCY_SECONDS",
    "KEY_BYTES",
    "NAME_BYTES",
    "NODE_ENTRIES",
    "TREE_LEVEL",
    "Limit",
]


class Limit(NamedTuple):
    """One limit.

    Attributes:
        name: What errors, documents and metrics call it; the unit comes before
            ``_max``.
        maximum: The largest value that is still accepted.
        reason: Why it is there, and where the number comes from.
    """

    name: str
    maximum: int
    reason: str


BODY_BYTES = Limit(
    "body_bytes_max",
    20 * 1024 * 1024,
    "One request is held in memory; the same number as the Go st8.",
)
KEY_BYTES = Limit(
    "key_bytes_max",
    1024,
    "Keys stand in tree nodes; S3 has the same limit for object keys.",
)
CONTENT_BYTES = Limit(
    "content_bytes_max",
    4 * 1024 * 1024,
    "A configuration document, not a blob; etcd stops at 1.5 MiB.",
)
APPLY_DOCUMENTS = Limit(
    "apply_documents_max",
    10_000,
    "Puts and deletes of one revision: a commit must not hold the others up.",
)
JSON_DEPTH = Limit(
    "json_depth_max",
    64,
    "No request needs more than four levels; deeper ones attack the parser.",
)
JSON_INTEGER_BITS = Limit(
    "json_integer_bits_max",
    64,
    "Revision numbers are signed 64-bit integers in every store.",
)
HEADER_BYTES = Limit(
    "header_bytes_max",
    32 * 1024,
    "Request line and headers together; ten times what a browser sends.",
)
HEADER_COUNT = Limit(
    "header_count_max",
    100,
    "Far more than any proxy chain adds.",
)
HEADER_SECONDS = Limit(
    "header_seconds_max",
    5,
    "A client that needs longer for its headers is a slowloris.",
)
TARGET_BYTES = Limit(
    "target_bytes_max",
    16 * 1024,
    "Path and query together; leaves room for several long keys.",
)
NAME_BYTES = Limit(
    "name_bytes_max",
    256,
    "Namespaces, branches and checkpoints: longer than any path people type.",
)
MESSAGE_BYTES = Limit(
    "message_bytes_max",
    16 * 1024,
    "A commit message or description, not a document; it is in every log page.",
)
AUTHOR_BYTES = Limit(
    "author_bytes_max",
    256,
    "A name and an address.",
)
IDEMPOTENCY_KEY_BYTES = Limit(
    "idempotency_key_bytes_max",
    255,
    "A UUID, a digest or a build number fit many times.",
)
IDEMPOTENCY_SECONDS = Limit(
    "idempotency_seconds_max",
    24 * 60 * 60,
    "How long the answer to an idempotency key is remembered: a day of retries.",
)
PAGE_ENTRIES = Limit(
    "page_entries_max",
    1_000,
    "Entries of one page of a log or a list: a page is built in memory.",
)
STATE_PAGE_DOCUMENTS = Limit(
    "state_page_documents_max",
    100_000,
    "Documents of one asked-for page of a state; without a page it is streamed.",
)
READ_KEYS = Limit(
    "read_keys_max",
    1_000,
    "Keys named in one read; more are better read as a prefix.",
)
LOG_SCAN_REVISIONS = Limit(
    "log_scan_revisions_max",
    10_000,
    "Revisions one filtered log page looks at before it answers with a cursor.",
)
WATCH_SCOPES = Limit(
    "watch_scopes_max",
    64,
    "Branches that one stream watches.",
)
WATCH_EVENT_BYTES = Limit(
    "watch_event_bytes_max",
    1024 * 1024,
    "Changes of one event of a watch; a larger one has no changes, which are read "
    "as a diff.",
)
WAIT_SECONDS = Limit(
    "wait_seconds_max",
    60,
    "How long a read waits for a change: proxies give up on longer ones.",
)
NODE_ENTRIES = Limit(
    "node_entries_max",
    1_024,
    "Entries of one tree node. Sizes are geometric with mean 16, so honest keys "
    "pass it once in (16/15)^1024 = 10^28 nodes; only keys searched for by their "
    "hash do, and without the limit they would make every edit slow.",
)
TREE_LEVEL = Limit(
    "tree_level_max",
    12,
    "Levels above the leaves: 16^12 documents; searched keys can't build towers.",
)
PENDING_WRITES = Limit(
    "pending_writes_max",
    4_096,
    "Writes that wait for the group commit; beyond it the daemon says overloaded.",
)
PENDING_BYTES = Limit(
    "pending_bytes_max",
    256 * 1024 * 1024,
    "Bytes of the writes that wait; beyond it the daemon says overloaded.",
)
PIPELINED = Limit(
    "pipelined_max",
    64,
    "Requests of one connection that wait behind the one being answered.",
)
BODIES_BYTES = Limit(
    "bodies_bytes_max",
    128 * 1024 * 1024,
    "Bodies of all requests that are being answered, six of the largest: until it is "
    "answered, an apply takes several times its body.",
)
ANSWERS_BYTES = Limit(
    "answers_bytes_max",
    128 * 1024 * 1024,
    "What answers of more than 64 KiB hold while they are sent, a mebibyte or more each: "
    "beyond it no other is begun, and at twice that they are cut off.",
)
UNSENT_BYTES = Limit(
    "unsent_bytes_max",
    128 * 1024 * 1024,
    "Bytes of answers that were written and clients have not taken: beyond it no read is "
    "begun, and who takes nothing is cut off, the one with the most first.",
)
RATE = Limit(
    "rate_max",
    1_000_000,
    "Requests a second, or at once, of a rate limit: more than a daemon answers.",
)
REDACTED_PLACES = Limit(
    "redacted_places_max",
    1_000,
    "Keys under which a content stands that is to be redacted: what stands under more "
    "did not leak, and could never be stored again.",
)
GC_KEEP = Limit(
    "gc_keep_max",
    1_000_000_000,
    "Newest revisions of a branch that a collection keeps.",
)
GC_YOUNGER_SECONDS = Limit(
    "gc_younger_seconds_max",
    1_000 * 365 * 24 * 60 * 60,
    "The age that a collection leaves alone: a thousand years, which 64 bits hold.",
)
GC_RANGES = Limit(
    "gc_ranges_max",
    100,
    "Stretches of revisions that a dry run of a collection names of one namespace; how "
    "many there are it tells all the same.",
)
WAITING_COLLECTIONS = Limit(
    "waiting_collections_max",
    16,
    "Collections and redactions that wait behind the one that runs, which may take "
    "minutes; beyond it the daemon says overloaded.",
)
CONNECTIONS = Limit(
    "connections_max",
    16_384,
    "Open connections of one process; each costs about 20 KB.",
)
WORKERS = Limit(
    "workers_max",
    64,
    "Processes of one daemon: more than the processors of most machines, and commits "
    "take turns however many they are.",
)

ALL: tuple[Limit, ...] = tuple(
    value for value in list(globals().values()) if isinstance(value, Limit)
)
