"""One scrape, looked up by metric: what people are shown."""

from orin_telemetry.metric import Family
from orin_telemetry.scrape import Scrape


class View:
    """The values of a scrape by their family. What did not answer is missing or None."""

    def __init__(self, scrape: Scrape) -> None:
        self.failures = scrape.failures
        self._values: dict[Family, dict[tuple[str, ...], float]] = {}
        for sample in scrape.samples:
            self._values.setdefault(sample.family, {})[sample.labels] = sample.value

    def all(self, family: Family) -> dict[tuple[str, ...], float]:
        """Every value of `family` by its labels."""
        return self._values.get(family, {})

    def one(self, family: Family, *labels: str) -> float | None:
        """The value with these labels, or the first there is when none are given."""
        values = self.all(family)
        if labels:
            return values.get(labels)
        return next(iter(values.values()), None)

    def labels(self, family: Family) -> dict[str, str]:
        """The labels of an info metric by name; empty where there is none."""
        values = next(iter(self.all(family)), None)
        return {} if values is None else dict(zip(family.labels, values, strict=True))
