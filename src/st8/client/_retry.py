"""What a failed attempt means: try again, or which error to raise; no I/O.

The rule: what may have been done is never sent twice, unless it is a read or
carries an idempotency key; and once an answer was lost, only an answer that settles
it may say that nothing was changed. Everything else is *unknown*.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from st8.core.errors import (
    InternalError,
    OutcomeUnknown,
    Overloaded,
    RateLimited,
    Refused,
    RequestTimeout,
    ShuttingDown,
    St8Error,
    TimedOut,
    Unavailable,
    Unreachable,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from st8.client._answers import NotUnderstood
    from st8.client._calls import Call

__all__ = ["RETRIES", "TIMEOUT_S", "Attempts", "Failure", "Stage", "reason_of"]

Stage = Literal["connect", "send", "answer"]
"""How far an attempt got. Only a request that was sent whole can have been acted
on, so only at ``answer`` is there anything unknown."""

RETRIES: Final = 2
"""Times that a call is sent again by default."""

TIMEOUT_S: Final = 30.0
"""Seconds that one call may take by default, its retries included."""

_DELAY_S: Final = 0.1
_DELAY_MAX_S: Final = 2.0

_WORTH_WAITING: Final = (
    Overloaded,
    RateLimited,
    ShuttingDown,
    RequestTimeout,
    OutcomeUnknown,
)
"""Answers after which the same request may soon succeed. A full or failed disk is
not among them: it needs somebody."""


class Failure(Exception):
    """An attempt got no answer.

    Attributes:
        stage: How far it got.
        timed_out: It took too long.
        hopeless: Another attempt would end the same way.
        stale: The connection had been idle, and the daemon closed it before it
            read the request.
        remedied: What happened is told with what can be done.
    """

    def __init__(
        self,
        problem: str,
        stage: Stage,
        *,
        timed_out: bool = False,
        hopeless: bool = False,
        stale: bool = False,
        remedied: bool = False,
    ) -> None:
        """Say what happened, without secrets."""
        super().__init__(problem)
        self.stage = stage
        self.timed_out = timed_out
        self.hopeless = hopeless
        self.stale = stale
        self.remedied = remedied


def reason_of(error: OSError) -> str:
    """Return what the system says of ``error``, as part of a sentence."""
    text = error.strerror or str(error) or type(error).__name__
    return text[:1].lower() + text[1:]


class _Facts(NamedTuple):
    """What the error texts of one call share."""

    operation: str
    url: str
    idempotency_key: str


class Attempts:
    """The attempts of one call.

    Feed it each failure; it returns how long to wait before the next attempt, or
    raises the error that the caller gets.
    """

    def __init__(
        self,
        call: Call[object],
        url: str,
        *,
        retries: int = RETRIES,
        jitter: Callable[[], float],
    ) -> None:
        """Prepare for ``call`` to the daemon at ``url``.

        Args:
            call: What is attempted.
            url: For error texts.
            retries: How many more attempts there may be after the first.
            jitter: Returns a number from 0 to 1, so that many clients that were
                cut off together don't come back together.
        """
        self._call = call
        self._retries_left = retries
        self._jitter = jitter
        self._delay_s = _DELAY_S
        self._stale_left = 1
        self._unknown: str | None = None
        self._facts = _Facts(
            call.operation, url, call.request.headers.get("Idempotency-Key", "")
        )

    def after_failure(self, failure: Failure, left_s: float | None) -> float:
        """Return the seconds to wait before the next attempt.

        Args:
            failure: How the last attempt ended.
            left_s: Seconds until the call's time is over; None for no limit.

        Raises:
            St8Error: There is no next attempt.
        """
        lost = failure.stage == "answer"
        if lost and self._call.effect != "read":
            self._unknown = self._unknown or str(failure)
        repeatable = not lost or self._call.effect != "once"
        if failure.stale and repeatable and self._stale_left:
            self._stale_left -= 1
            return 0.0
        if not failure.hopeless and repeatable:
            delay_s = self._next_delay(left_s, 0.0)
            if delay_s is not None:
                return delay_s
        raise self._error_of(failure) from failure

    def after_error(
        self, error: St8Error, left_s: float | None, retry_after_s: float
    ) -> float:
        """Return the seconds to wait after the daemon answered ``error``.

        Args:
            error: The answer.
            left_s: Seconds until the call's time is over; None for no limit.
            retry_after_s: What the daemon asks to wait; 0 if it doesn't say.

        Raises:
            St8Error: ``error``, or OutcomeUnknown if it does not settle what became
                of an earlier attempt.
        """
        if error.outcome == "unknown" and self._call.effect != "read":
            self._unknown = self._unknown or error.detail
        begun = not isinstance(error, RateLimited)
        once = self._call.effect == "once" and begun
        if isinstance(error, _WORTH_WAITING) and not once:
            delay_s = self._next_delay(left_s, retry_after_s)
            if delay_s is not None:
                return delay_s
        settles = not isinstance(error, Unavailable | Refused | InternalError)
        if self._unknown is not None and not settles:
            raise self._outcome_unknown() from error
        raise error

    def after_odd_answer(self, odd: NotUnderstood, left_s: float | None) -> float:
        """Return the seconds to wait after an answer that is not a daemon's.

        Raises:
            St8Error: There is no next attempt.
        """
        if self._call.effect != "read" and not odd.refused:
            self._unknown = self._unknown or str(odd)
        if odd.passing and self._call.effect != "once":
            delay_s = self._next_delay(left_s, 0.0)
            if delay_s is not None:
                return delay_s
        if self._unknown is not None:
            raise self._outcome_unknown() from odd
        raise Unavailable(f"{self._facts.url} {odd}") from odd

    def _next_delay(self, left_s: float | None, at_least_s: float) -> float | None:
        if not self._retries_left:
            return None
        delay_s = max(at_least_s, self._delay_s * (0.5 + self._jitter() / 2))
        if delay_s > _DELAY_MAX_S or (left_s is not None and delay_s >= left_s):
            return None
        self._retries_left -= 1
        self._delay_s = min(_DELAY_MAX_S, self._delay_s * 2)
        return delay_s

    def _error_of(self, failure: Failure) -> St8Error:
        if self._unknown is not None:
            return self._outcome_unknown()
        url = self._facts.url
        if failure.stage == "connect":
            remedy = "; check the address, and that st8d runs there"
            return Unreachable(
                f"can't reach {url}: {failure}" + ("" if failure.remedied else remedy)
            )
        if failure.timed_out:
            return TimedOut(f"{url} did not answer {self._facts.operation}: {failure}")
        return Unreachable(f"lost {url} during {self._facts.operation}: {failure}")

    def _outcome_unknown(self) -> OutcomeUnknown:
        operation, url, key = self._facts
        again = (
            ", or send it again with the same idempotency key, which can't do it twice"
            if key
            else ""
        )
        fields = {"idempotency_key": key} if key else {}
        return OutcomeUnknown(
            f"{operation} was sent to {url}, and it is not known whether it was done: "
            f"{self._unknown}; look at the log{again}",
            **fields,
        )
