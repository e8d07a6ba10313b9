"""Says what was tried, one line each as tests/run.sh counts them, and keeps it for a table."""
import contextlib
import dataclasses
import time


class Failed(Exception):
    """A claim that does not hold; what it says is all there is to say."""


@dataclasses.dataclass
class Step:
    name: str
    seconds: float
    said: str
    failed: bool = False


class Said:
    """What a step adds to its line."""

    def __init__(self):
        self.text = ""

    def __call__(self, text):
        self.text = text


class Steps:
    """Steps go on after one that failed, unless `needed` says that nothing after it makes sense."""

    def __init__(self):
        self.done, self.skipped = [], {}

    @contextlib.contextmanager
    def step(self, name, needed=False):
        said, began = Said(), time.monotonic()
        try:
            yield said
        except Exception as error:  # whatever it was, the step has failed and the cluster has to be taken down
            self._end(Step(name, time.monotonic() - began, first_lines(error), failed=True))
            if needed:
                raise Stop from error
        else:
            self._end(Step(name, time.monotonic() - began, said.text))

    def _end(self, step):
        self.done.append(step)
        word = "FAILED" if step.failed else "ok"
        print(f"{word} {step.name}: {step.said or 'as it should be'} ({step.seconds:.1f} s)", flush=True)

    def skip(self, name, why):
        self.skipped[name] = why
        print(f"skipped {name}: {why}", flush=True)

    @property
    def failed(self):
        return any(step.failed for step in self.done)


class Stop(Exception):
    """A step failed without which nothing can be tried."""


def first_lines(error):
    text = str(error) if isinstance(error, Failed) else f"{type(error).__name__}: {error}"
    return "; ".join(text.strip().splitlines()[:12])[:1500]


def wait_for(condition, seconds, what):
    """Polls until `condition` gives something true, and gives that; what it raises as Failed is why it does not yet."""
    deadline, why = time.monotonic() + seconds, ""
    while True:
        try:
            if value := condition():
                return value
        except Failed as error:
            why = f": {error}"
        if time.monotonic() > deadline:
            raise Failed(f"not within {seconds} s: {what() if callable(what) else what}{why}")
        time.sleep(0.25)
