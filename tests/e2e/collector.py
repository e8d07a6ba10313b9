"""A collector that speaks OTLP over gRPC and over HTTP and keeps what it is sent."""
import concurrent.futures
import dataclasses
import http.server
import threading

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as otlp
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as otlp_grpc

from cluster import wait_until


@dataclasses.dataclass
class Span:
    service: str
    instance: str
    name: str
    trace: str
    id: str
    parent: str
    start: int  # nanoseconds, as `end`
    end: int
    attributes: dict
    events: list  # (name, attributes)
    links: list  # (span id, attributes)
    state: str
    error: str  # empty: it went well

    @property
    def seconds(self):
        return (self.end - self.start) / 1e9


def value_of(value):
    return getattr(value, value.WhichOneof("value"))


def attributes_of(pairs):
    return {pair.key: value_of(pair.value) for pair in pairs}


def spans_of(request):
    for of_process in request.resource_spans:
        resource = attributes_of(of_process.resource.attributes)
        for scope in of_process.scope_spans:
            for span in scope.spans:
                yield Span(
                    service=resource["service.name"], instance=resource["service.instance.id"], name=span.name,
                    trace=span.trace_id.hex(), id=span.span_id.hex(), parent=span.parent_span_id.hex(),
                    start=span.start_time_unix_nano, end=span.end_time_unix_nano,
                    attributes=attributes_of(span.attributes),
                    events=[(event.name, attributes_of(event.attributes)) for event in span.events],
                    links=[(link.span_id.hex(), attributes_of(link.attributes)) for link in span.links],
                    state=span.trace_state, error=span.status.message or "error" if span.status.code == 2 else "")


class Collector(otlp_grpc.TraceServiceServicer):
    """`grpc` and `http` are what --trace-endpoint is told."""

    def __init__(self):
        self._lock = threading.Lock()
        self._spans = []
        self.requests = 0
        self._grpc = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
        otlp_grpc.add_TraceServiceServicer_to_server(self, self._grpc)
        self.grpc = f"grpc://127.0.0.1:{self._grpc.add_insecure_port('127.0.0.1:0')}"
        self._http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.http = f"http://127.0.0.1:{self._http.server_port}"

    def Export(self, request, context):
        self._take(request)
        return otlp.ExportTraceServiceResponse()

    def _take(self, request):
        with self._lock:
            self.requests += 1
            self._spans.extend(spans_of(request))

    def _handler(collector):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                found = self.path == "/v1/traces" and self.headers["Content-Type"] == "application/x-protobuf"
                if found:
                    collector._take(otlp.ExportTraceServiceRequest.FromString(body))
                self.send_response(200 if found else 404)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        return Handler

    def spans(self, trace=None):
        with self._lock:
            return [span for span in self._spans if trace in (None, span.trace)]

    def roots(self):
        return [span for span in self.spans() if span.name == "request"]

    def wait_for(self, trace):
        """The whole trace: its spans come together."""
        return wait_until(lambda: self.spans(trace), 20, lambda: f"trace {trace} among {self.roots()}")

    def __enter__(self):
        self._grpc.start()
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._grpc.stop(None)
        self._http.shutdown()
        self._http.server_close()
