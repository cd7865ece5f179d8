"""What Prometheus reads of a server."""

from sngan_tf import errors

with errors.extra("serve"):
    import prometheus_client as prometheus

CONTENT_TYPE = prometheus.CONTENT_TYPE_LATEST
_METHODS = ("GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH")
_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Meters:
    """Counts of one server, in a registry of their own."""

    def __init__(self):
        self.registry = prometheus.CollectorRegistry()
        self._requests = prometheus.Counter(
            "sngan_requests",
            "Requests that were answered.",
            ("method", "path", "status"),
            registry=self.registry,
        )
        self._seconds = prometheus.Histogram(
            "sngan_request_seconds",
            "From a request's headers to its answer.",
            ("path",),
            registry=self.registry,
        )
        self._rows = prometheus.Histogram(
            "sngan_batch_rows",
            "Rows that the model computed at once.",
            buckets=_BATCHES,
            registry=self.registry,
        )
        self._computing = prometheus.Histogram(
            "sngan_batch_seconds",
            "That the model took for them.",
            registry=self.registry,
        )
        self._waiting = prometheus.Gauge(
            "sngan_waiting_requests",
            "Requests that wait for the model.",
            registry=self.registry,
        )
        self._ready = prometheus.Gauge(
            "sngan_ready", "1 once the model is there.", registry=self.registry
        )
        self._model = prometheus.Info(
            "sngan_model", "What is served.", registry=self.registry
        )
        prometheus.ProcessCollector(registry=self.registry)

    def answered(self, method, path, status, seconds):
        """Notes a request, by the pattern of its path: few, whoever asks."""
        method = method if method in _METHODS else "other"
        self._requests.labels(method, path, status).inc()
        self._seconds.labels(path).observe(seconds)

    def computed(self, rows, seconds):
        self._rows.observe(rows)
        self._computing.observe(seconds)

    def count_waiting(self, count):
        """Has the number of waiting requests read from a function."""
        self._waiting.set_function(count)

    def serves(self, name, version):
        self._model.info({"name": name, "version": str(version)})
        self._ready.set(1)

    def text(self):
        """Returns all of it as Prometheus reads it, bytes."""
        return prometheus.generate_latest(self.registry)
