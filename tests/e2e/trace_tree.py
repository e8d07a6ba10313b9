"""What Jaeger's API tells of one trace."""
# Of a request whose prompt another worker computed: (service, span).
REMOTE_PREFILL = [
    ("baton-decode-worker", "decode"), ("baton-decode-worker", "kv_transfer"), ("baton-decode-worker", "prefill"),
    ("baton-decode-worker", "queue"), ("baton-prefill-worker", "kv_transfer"), ("baton-prefill-worker", "prefill"),
    ("baton-prefill-worker", "queue"), ("baton-router", "detokenize"), ("baton-router", "request"), ("baton-router", "route"),
    ("baton-router", "tokenize")]


def tags(something):
    """Of a span or a process."""
    return {tag["key"]: tag["value"] for tag in something["tags"]}


class Tree:
    """One trace as Jaeger has it: its spans, whose they are, and how much of the request its children account for."""

    def __init__(self, trace):
        self.spans = trace["spans"]
        self.processes = trace["processes"]
        self.root, = (span for span in self.spans if span["operationName"] == "request")

    def names(self):
        return sorted((self.processes[span["processID"]]["serviceName"], span["operationName"]) for span in self.spans)

    def named(self, operation):
        return [span for span in self.spans if span["operationName"] == operation]

    def instance(self, span):
        return tags(self.processes[span["processID"]])["service.instance.id"]

    def covered(self):
        """0 … 1. Jaeger tells microseconds."""
        root, total, until = self.root, 0, self.root["startTime"]
        for child in sorted(self._children(), key=lambda span: span["startTime"]):
            end = child["startTime"] + child["duration"]
            total += max(0, min(end, root["startTime"] + root["duration"]) - max(child["startTime"], until))
            until = max(until, end)
        return total / root["duration"]

    def _children(self):
        return [span for span in self.spans
                if any(r["refType"] == "CHILD_OF" and r["spanID"] == self.root["spanID"] for r in span["references"])]
