"""What a scrape of /metrics says, read by prometheus_client's own parsers."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


class Scrape:
    """The samples of one scrape.

    Attributes:
        families: by their name, without `_total`.
    """

    def __init__(self, families: Iterable[Metric]) -> None:
        self.families = {family.name: family for family in families}
        self._samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in self.families.values()
            for sample in family.samples
        }

    @classmethod
    def read(cls, body: str, content_type: str) -> Scrape:
        """What a server has answered. Raises: ValueError for what is not in the format of its type."""
        return cls((parse_openmetrics if content_type.startswith("application/openmetrics") else parse_text)(body))

    def __call__(self, name: str, **labels: str) -> float:
        """A sample's value; 0.0 for one that does not exist yet."""
        return self._samples.get((f"socketserver_{name}", frozenset(labels.items())), 0.0)

    def has(self, name: str, **labels: str) -> bool:
        return (f"socketserver_{name}", frozenset(labels.items())) in self._samples

    @property
    def labels(self) -> dict[str, set[str]]:
        """Sample name → the names of its labels."""
        found: dict[str, set[str]] = {}
        for name, labels in self._samples:
            found.setdefault(name, set()).update(label for label, _ in labels)
        return found
