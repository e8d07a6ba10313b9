"""What goes in and what comes out, as plain values."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypedDict, Union


class Message(TypedDict):
    """One turn of a chat."""

    role: str  # "system", "user", "assistant" or "tool"
    content: str


# Text is tokenized as it is, messages go through the model's chat template, ids are used as they are.
Prompt = Union[str, Sequence[Message], Sequence[int]]


@dataclass
class Sampling:
    """How tokens are chosen. None: the server's default."""

    temperature: float | None = None  # 0 … 2; 0 is greedy
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    seed: int | None = None  # the same seed gives the same text
    logprobs: int | None = None  # 0: the chosen token's; k: also the k likeliest
    prompt_logprobs: int | None = None  # the same for the prompt's tokens
    max_tokens: int | None = None  # 0, with prompt_logprobs or echo: nothing is generated
    min_tokens: int | None = None
    ignore_eos: bool = False
    stop: Sequence[str] = ()
    stop_token_ids: Sequence[int] = ()
    include_stop_in_output: bool = False


@dataclass(frozen=True)
class Token:
    id: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()  # (id, logprob), falling


@dataclass(frozen=True)
class Started:
    request_id: str
    model: str
    prompt_tokens: int
    seed: int
    decode_worker: str
    prefill_worker: str  # "": prefilled where it is decoded


@dataclass(frozen=True)
class Delta:
    index: int  # choice
    text: str
    tokens: tuple[Token, ...] = ()  # with return_token_ids or logprobs
    prompt: tuple[Token, ...] = ()  # with prompt_logprobs: the prompt's next tokens, before all others


@dataclass(frozen=True)
class Finished:
    index: int
    reason: str  # "stop", "length", "cancelled" or "error"
    message: str = ""  # what happened, with "error"
    stop: str = ""  # the stop string that matched


@dataclass(frozen=True)
class Usage:
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    ttft_ms: float
    total_ms: float


Event = Union[Started, Delta, Finished, Usage]


@dataclass
class Answer:
    """A whole request: one text and one reason per choice."""

    texts: list[str]
    reasons: list[str]
    started: Started | None = None
    usage: Usage | None = None
    # With prompt_logprobs: the prompt's tokens, the same for all choices; the first has no logprob.
    prompt: list[Token] = field(default_factory=list)

    @property
    def text(self) -> str:
        return self.texts[0]


@dataclass(frozen=True)
class Model:
    id: str
    context_tokens_max: int
    vocab_size: int
    created: int  # Unix seconds
