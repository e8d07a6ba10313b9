"""What is asked, again and again. A case always has the same answer, whatever happens to the cluster."""
import random
from dataclasses import dataclass, field

TOPICS = [
    "What is a KV cache?", "Why is decode limited by memory bandwidth?", "How does a router place a request?",
    "A prefill worker computes the prompt and hands its blocks over.", "Once upon a time there was a cluster",
    "A block table maps a sequence's tokens to the blocks that hold their K and V.", "The baton was passed",
    "Blocks are reused only when no write can reach them any more.",
]


@dataclass(frozen=True)
class Case:
    number: int
    door: str  # "grpc", "stream" or "whole": the last two over HTTP
    prompt: str
    n: int = 1
    max_tokens: int = 100
    sampling: dict = field(default_factory=dict, hash=False)  # as OpenAI names it

    @property
    def streams(self):
        return self.door != "whole"

    def body(self):
        """The HTTP request. Chosen tokens' log-probabilities are part of the answer: they tell more than text."""
        return {"model": "baton-demo", "prompt": self.prompt, "n": self.n, "max_tokens": self.max_tokens,
                "stream": self.streams, "ignore_eos": True, **self.sampling}


@dataclass
class Answer:
    """All that a client is told, whichever door it came through. Equal answers are equal to the last bit."""

    texts: list
    tokens: list  # by choice: (id or text, logprob) where they were asked for
    reasons: list
    completion_tokens: int = 0

    @classmethod
    def empty(cls, n):
        return cls([""] * n, [[] for _ in range(n)], [None] * n)

    def difference(self, other):
        """In words; empty when they are equal."""
        for choice, pair in enumerate(zip(self.texts, other.texts)):
            if pair[0] != pair[1]:
                at = next((i for i, (a, b) in enumerate(zip(*pair)) if a != b), min(map(len, pair)))
                return f"choice {choice}, character {at}: {pair[0][at:at + 40]!r}, not {pair[1][at:at + 40]!r}"
        for choice, pair in enumerate(zip(self.tokens, other.tokens)):
            if pair[0] != pair[1]:
                at = next((i for i, (a, b) in enumerate(zip(*pair)) if a != b), min(map(len, pair)))
                return f"choice {choice}, token {at}: {pair[0][at:at + 1]}, not {pair[1][at:at + 1]}"
        if self.reasons != other.reasons:
            return f"reasons {self.reasons}, not {other.reasons}"
        if self.completion_tokens != other.completion_tokens:
            return f"{self.completion_tokens} tokens counted, not {other.completion_tokens}"
        return ""


def make_cases(seed, count, max_tokens):
    """Every kind at every door: greedy and seeded, one choice and several, with and without log-probabilities,
    prompts of one block and of many."""
    dice = random.Random(seed)
    cases = []
    for number in range(count):
        sampling = {"temperature": 0}
        if number % 2:
            sampling = {"temperature": 0.9, "seed": dice.randrange(1 << 30), "top_p": 0.95}
        if number % 4 == 1:
            sampling["frequency_penalty"] = 0.4
        if number % 3 == 0:
            sampling["logprobs"] = 2
        prompt = f"{number}. " + " ".join(dice.choice(TOPICS) for _ in range(dice.choice((1, 5, 20, 50))))
        n = dice.choice((2, 3)) if number % 5 == 2 else 1
        tokens = dice.randint(max_tokens // 2, max_tokens)
        door = ("grpc", "stream", "grpc", "whole")[number % 4]
        cases.append(Case(number, door, prompt, n, tokens // n, sampling))
    return cases


def make_bait(seed):
    """Long prompts and short answers: such a request is with a prefill worker for most of its life."""
    dice = random.Random(seed)
    return [Case(5000 + i, "grpc", f"Bait {i}. " + " ".join(dice.choice(TOPICS) for _ in range(90)), 1, 60,
                 {"temperature": 0}) for i in range(4)]


def with_stop(case, answer):
    """The same with a stop string out of the middle of its answer, so that it ends there."""
    text = answer.texts[0]
    middle = text[len(text) // 2:]
    words = middle.split()
    if case.n != 1 or len(words) < 4:
        return None
    stop = " " + " ".join(words[1:3])
    if stop not in text:
        return None
    return Case(case.number + 1000, case.door, case.prompt, case.n, case.max_tokens,
                {**case.sampling, "stop": [stop]})
