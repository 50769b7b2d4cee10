"""Rate limits: how many requests whoever asks may send.

A token bucket each: it holds ``burst`` requests at most, and ``per_s`` come back every
second. Who shows a token, a certificate or a JWT is known by name; of others the address
stands for them, which a proxy lends to all behind it.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any, Final

from st8.core.errors import RateLimited

if TYPE_CHECKING:
    from collections.abc import Mapping

    from st8.auth.access import Principal
    from st8.core.rates import Rate

__all__ = ["RateLimiter"]

_BUCKETS_MAX: Final = 65_536
"""Those who have asked of late; then all that are full again are forgotten."""


class RateLimiter:
    """The buckets of all who ask; used on the event loop alone.

    Attributes:
        rate: Of those who have none of their own; None is no limit.
        refused: How many requests were refused.
    """

    __slots__ = ("_buckets", "rate", "refused")

    def __init__(self, rate: Rate | None = None) -> None:
        """Begin with full buckets."""
        self.rate = rate
        self.refused = 0
        self._buckets: dict[str, list[float]] = {}

    def take(
        self, principal: Principal, connection: Mapping[str, Any], now_s: float
    ) -> None:
        """Count a request.

        Args:
            principal: Who asks.
            connection: The ASGI connection scope.
            now_s: A moment of a clock that never goes back.

        Raises:
            RateLimited: There were too many; this one is not to be begun.
        """
        rate = principal.rate or self.rate
        if rate is None or not rate.per_s:
            return
        who = principal.name
        if not who:
            client = connection.get("client")
            who = f"@{client[0]}" if client else "@"
        bucket = self._buckets.get(who)
        if bucket is None:
            bucket = self._new_bucket(who, rate, now_s)
        left = min(rate.burst, bucket[0] + (now_s - bucket[1]) * rate.per_s)
        bucket[1] = now_s
        if left < 1:
            bucket[0] = left
            self.refused += 1
            raise RateLimited(
                principal.name, rate.per_s, max(1, ceil((1 - left) / rate.per_s))
            )
        bucket[0] = left - 1

    def _new_bucket(self, who: str, rate: Rate, now_s: float) -> list[float]:
        if len(self._buckets) >= _BUCKETS_MAX:
            # A second without a request fills most; who is left out gains one burst.
            self._buckets = {
                name: bucket
                for name, bucket in self._buckets.items()
                if now_s - bucket[1] < 1
            }
            if len(self._buckets) >= _BUCKETS_MAX:
                self._buckets.clear()
        bucket = self._buckets[who] = [float(rate.burst), now_s]
        return bucket
