"""Sends calls and waits: what blocks in the blocking client."""

from __future__ import annotations

import os
from time import sleep
from typing import TYPE_CHECKING, TypeVar, cast

from st8.client._address import Address
from st8.client._answers import NotUnderstood
from st8.client._connection import Deadline, Pool
from st8.client._retry import TIMEOUT_S, Attempts, Failure
from st8.core.errors import InvalidValue, St8Error

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from st8.client._calls import Call, Steps, Walk
    from st8.client._connection import Stream

__all__ = ["Transport", "chance", "new_key", "retry_after_s_of"]

_OK = 200

P = TypeVar("P")
T = TypeVar("T")


class Transport:
    """The way to one daemon. Safe for use by many threads."""

    def __init__(
        self,
        url: str,
        *,
        token: str | None,
        timeout_s: float | None,
        retries: int,
        ca_file: str | None,
        cert_file: str | None = None,
        key_file: str | None = None,
    ) -> None:
        """Prepare; nothing is connected yet. See :class:`st8.Client`.

        Raises:
            InvalidInput: Something of it can't be right.
        """
        if timeout_s is not None and not timeout_s > 0:
            raise InvalidValue("timeout_s", "must be more than 0; None for no limit")
        if retries < 0:
            raise InvalidValue("retries", "must not be negative")
        self._address = Address.parse(url)
        self._pool = Pool(
            self._address,
            token=token,
            ca_file=ca_file,
            cert_file=cert_file,
            key_file=key_file,
        )
        self._timeout_s = timeout_s
        self._retries = retries

    @property
    def url(self) -> str:
        """The daemon's address."""
        return self._address.url

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()

    def send(self, call: Call[T], deadline: Deadline | None = None) -> T:
        """Return the result of ``call``, repeated where that is safe.

        Args:
            call: What to do.
            deadline: When its time is over; by the client's timeout if None.

        Raises:
            St8Error: What the daemon answered, or why there is no answer.
        """
        deadline = deadline or Deadline(self._timeout_s)
        attempts = Attempts(
            cast("Call[object]", call), self.url, retries=self._retries, jitter=chance
        )
        while True:
            retry_after_s = 0.0
            try:
                answer = self._pool.exchange(call.request, deadline)
                retry_after_s = retry_after_s_of(answer.headers)
                return call.read(answer)
            except Failure as failure:
                delay_s = attempts.after_failure(failure, deadline.left_s())
            except NotUnderstood as odd:
                delay_s = attempts.after_odd_answer(odd, deadline.left_s())
            except St8Error as error:
                delay_s = attempts.after_error(error, deadline.left_s(), retry_after_s)
            sleep(delay_s)

    def stream(self, call: Call[None]) -> Stream:
        """Return the answer to ``call``, to be read as it comes; tries once.

        Raises:
            Failure: There is no answer.
            NotUnderstood: It is not one that a daemon gives.
            St8Error: What the daemon answered instead of a stream.
        """
        deadline = Deadline(TIMEOUT_S if self._timeout_s is None else self._timeout_s)
        stream = self._pool.stream(call.request, deadline)
        try:
            ok = stream.head.status == _OK
            call.read(stream.head if ok else stream.whole(deadline))
        except BaseException:
            stream.close()
            raise
        return stream

    def upload(self, call: Call[T], pieces: Iterable[bytes], patience_s: float) -> T:
        """Return the result of ``call``, whose body is ``pieces``; tries once.

        Args:
            call: What to do.
            pieces: The body of its request.
            patience_s: How long either side may be silent.

        Raises:
            St8Error: What the daemon answered, or why there is no answer.
        """
        attempts = Attempts(
            cast("Call[object]", call), self.url, retries=0, jitter=chance
        )
        try:
            return call.read(self._pool.upload(call.request, pieces, patience_s))
        except Failure as failure:
            attempts.after_failure(failure, None)
        except NotUnderstood as odd:
            attempts.after_odd_answer(odd, None)
        raise AssertionError(call)  # there is no second attempt

    def run(self, steps: Steps[P, T]) -> T:
        """Return what ``steps`` return, given the result of each call they yield."""
        try:
            call = next(steps)
            while True:
                call = steps.send(self.send(call))
        except StopIteration as end:
            return cast("T", end.value)

    def each(self, walk: Walk[P, T]) -> Iterator[T]:
        """Yield what the pages of ``walk`` hold; each is asked for when needed."""
        call: Call[P] | None = walk.first
        while call is not None:
            page = self.send(call)
            yield from walk.items(page)
            call = walk.after(page)


def retry_after_s_of(headers: Mapping[str, str]) -> float:
    """Return the seconds that the daemon asks to wait, 0 if it doesn't say."""
    text = headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() else 0.0


def chance() -> float:
    """Return a number from 0 to 1."""
    return os.urandom(1)[0] / 255


def new_key() -> str:
    """Return an idempotency key that nobody else has."""
    return os.urandom(16).hex()
