"""/metrics: what the engine counts, and what clients see of it, under vLLM's names.

Names and meanings are those of vLLM's documentation ("Production Metrics"), so that dashboards made
for it read this server too.
"""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from orin_llm.server.serving import Serving

# Seconds; from a token of a small model on a large GPU to a long answer on a board.
_TOKEN = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.2, 0.3, 0.5, 1.0, 2.5, 5.0)
_FIRST = (0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_WHOLE = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 60.0, 120.0, 300.0, 600.0)

_LABEL = "model_name"

_GAUGES = {
    "vllm:num_requests_running": ("running", "Sequences that are being computed."),
    "vllm:num_requests_waiting": ("waiting", "Sequences that wait for a slot."),
    "vllm:kv_cache_usage_perc": ("cache_usage", "Share of the KV cache in use, 0 to 1."),
}
_COUNTERS = {
    "vllm:prompt_tokens": ("prompt_tokens", "Tokens of prompts."),
    "vllm:generation_tokens": ("generated_tokens", "Tokens of answers."),
    "vllm:prefix_cache_queries": ("prefix_queries", "Tokens looked for in the prefix cache."),
    "vllm:prefix_cache_hits": ("prefix_hits", "Tokens found in the prefix cache."),
    "vllm:num_preemptions": ("preemptions", "Sequences that lost their cache to others."),
}


class Metrics:
    """The registry behind /metrics, and what answers tell it."""

    def __init__(self, serving: Serving) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(_EngineCollector(serving))
        ProcessCollector(registry=self.registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
            made = Histogram(name, text, [_LABEL], buckets=buckets, registry=self.registry)
            return made.labels(serving.name)

        self.first_token = histogram(
            "vllm:time_to_first_token_seconds", "From the request to its first token.", _FIRST
        )
        self.between_tokens = histogram(
            "vllm:inter_token_latency_seconds", "From one token to the next.", _TOKEN
        )
        self.per_token = histogram(
            "vllm:request_time_per_output_token_seconds",
            "Mean over an answer of the time from one token to the next.",
            _TOKEN,
        )
        self.whole = histogram(
            "vllm:e2e_request_latency_seconds", "From the request to the end of its answer.", _WHOLE
        )
        self._finished = Counter(
            "vllm:request_success",
            "Finished answers, by reason.",
            [_LABEL, "finished_reason"],
            registry=self.registry,
        )
        self._name = serving.name

    def finished(self, reason: str) -> None:
        self._finished.labels(self._name, reason).inc()


class _EngineCollector(Collector):
    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def collect(self) -> Iterator[Metric]:
        if (model := self._serving.loaded) is None:
            return
        stats = model.engine.stats()
        label = [self._serving.name]
        for name, (field, text) in _GAUGES.items():
            gauge = GaugeMetricFamily(name, text, labels=[_LABEL])
            gauge.add_metric(label, getattr(stats, field))
            yield gauge
        for name, (field, text) in _COUNTERS.items():
            counter = CounterMetricFamily(name, text, labels=[_LABEL])
            counter.add_metric(label, getattr(stats, field))
            yield counter
