"""Two things that were measured in turns, compared as a ratio with its confidence interval."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

_RESAMPLES = 10_000


@dataclass(frozen=True)
class Ratio:
    """A measured value against a reference, a pair for each round.

    Attributes:
        title: what was measured.
        against: the reference.
        unit: of both.
        values: one for each round.
        references: those of the same rounds.
        bound: what the ratio must keep, None if nothing.
        at_most: whether it must not be more than that; else not less.
    """

    title: str
    against: str
    unit: str
    values: Sequence[float]
    references: Sequence[float]
    bound: float | None = None
    at_most: bool = False

    @property
    def each(self) -> list[float]:
        """The ratio of each round."""
        return [value / reference for value, reference in zip(self.values, self.references, strict=True)]

    @property
    def middle(self) -> float:
        """The median of the rounds."""
        return median(self.each)

    @property
    def interval(self) -> tuple[float, float]:
        """In which the median lies with 95 % confidence."""
        return interval(self.each)

    @property
    def holds(self) -> bool | None:
        """Whether the worse end of the interval keeps the bound; None without one."""
        if self.bound is None:
            return None
        low, high = self.interval
        return high <= self.bound if self.at_most else low >= self.bound

    def as_json(self) -> dict[str, Any]:
        """Return all of it."""
        return {
            "title": self.title,
            "against": self.against,
            "unit": self.unit,
            "ratio": self.middle,
            "interval": self.interval,
            "bound": self.bound,
            "at_most": self.at_most,
            "holds": self.holds,
            "values": list(self.values),
            "references": list(self.references),
        }


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the ends between which the median lies with 95 % confidence, by the bootstrap.

    With fewer than 9 values the percentiles of a resampled median are too narrow for that: of 7 they are the second and
    the sixth, 88 %; of 9 the second and the eighth, 96 %.
    """
    chosen = random.Random(1)  # noqa: S311 - no secret, and the same ends for the same values
    medians = sorted(median(chosen.choices(values, k=len(values))) for _ in range(_RESAMPLES))
    return medians[int(_RESAMPLES * 0.025)], medians[int(_RESAMPLES * 0.975) - 1]
