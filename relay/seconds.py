"""Histograms of seconds for what every turn has: prometheus_client's, with a cheaper way to count.

Its own takes two locks for each value, because any thread may count, and walks over the buckets: half a dozen of them
are 3 % of the steps of a turn. These are counted by the event loop alone, and written out as the library does it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString


class Seconds:
    """How often something took how long, for one set of labels. Belongs to the event loop."""

    __slots__ = ("_bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        """Begin with nothing counted. `bounds` ascend; a value is in the first whose bound is as high."""
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count a value. Never waits."""
        self.counts[bisect_left(self._bounds, seconds)] += 1
        self.sum += seconds


class SecondsHistogram(Collector):
    """A histogram with labels, as `prometheus_client.Histogram`."""

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str],
        *,
        buckets: Sequence[float],
        registry: CollectorRegistry,
    ) -> None:
        """Register it, with nothing counted."""
        self._name, self._documentation, self._labels = name, documentation, tuple(labels)
        self._bounds = tuple(map(float, buckets))
        self._of: dict[tuple[str, ...], Seconds] = {}
        registry.register(self)

    def labels(self, *values: str) -> Seconds:
        """Return what is counted with these labels: the same object each time, for who counts to keep."""
        return self._of.setdefault(tuple(map(str, values)), Seconds(self._bounds))

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Write out what was counted."""
        family = HistogramMetricFamily(self._name, self._documentation, labels=self._labels)
        bounds = [*map(floatToGoString, self._bounds), "+Inf"]
        for values, seconds in self._of.items():
            family.add_metric(values, list(zip(bounds, accumulate(seconds.counts), strict=True)), seconds.sum)
        yield family
