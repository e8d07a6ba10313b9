"""Between our values and the messages of proto/. The same for both clients."""
from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any, cast

import grpc

from baton.v1 import inference_pb2 as pb
from baton.v1 import sampling_pb2 as spb

from .errors import BatonError, InternalError
from .values import Answer, Delta, Event, Finished, Message, Model, Prompt, Sampling, Started, Token, Usage

CHANNEL_OPTIONS: list[tuple[str, Any]] = [
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.enable_retries", 0),  # retries are ours: only of what had not begun
]
_REASONS = {spb.FINISH_REASON_STOP: "stop", spb.FINISH_REASON_LENGTH: "length",
            spb.FINISH_REASON_CANCELLED: "cancelled", spb.FINISH_REASON_ERROR: "error"}


def metadata(api_key: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {api_key}"),) if api_key else ()


def tls_credentials(roots: bytes) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(root_certificates=roots or None)


def tls_options(name: str) -> list[tuple[str, Any]]:
    return [*CHANNEL_OPTIONS, ("grpc.ssl_target_name_override", name)] if name else CHANNEL_OPTIONS


def sampling_message(sampling: Sampling) -> spb.SamplingParams:
    message = spb.SamplingParams(ignore_eos=sampling.ignore_eos, stop=sampling.stop,
                                 stop_token_ids=sampling.stop_token_ids, logit_bias=sampling.logit_bias,
                                 include_stop_in_output=sampling.include_stop_in_output)
    for name in ("temperature", "top_k", "top_p", "min_p", "repetition_penalty", "presence_penalty",
                 "frequency_penalty", "seed", "logprobs", "prompt_logprobs", "max_tokens", "min_tokens"):
        value = getattr(sampling, name)
        if value is not None:
            setattr(message, name, value)
    return message


def chat_message(messages: Iterable[Message]) -> pb.Chat:
    return pb.Chat(messages=[pb.ChatMessage(role=m["role"], content=m["content"]) for m in messages])


def generate_request(prompt: Prompt, sampling: Sampling | None, options: dict[str, Any]) -> pb.GenerateRequest:
    request = pb.GenerateRequest(sampling=sampling_message(sampling or Sampling()), **options)
    if isinstance(prompt, str):
        request.text = prompt
    elif len(prompt) > 0 and isinstance(prompt[0], dict):
        request.chat.CopyFrom(chat_message(cast("Sequence[Message]", prompt)))
    else:
        request.token_ids.ids.extend(cast("Sequence[int]", prompt))
    return request


def tokenize_request(prompt: str | Sequence[Message], model: str, add_special_tokens: bool) -> pb.TokenizeRequest:
    if isinstance(prompt, str):
        return pb.TokenizeRequest(model=model, text=prompt, add_special_tokens=add_special_tokens)
    return pb.TokenizeRequest(model=model, chat=chat_message(prompt))


def _token(message: spb.GeneratedToken) -> Token:
    logprob = message.logprob if message.HasField("logprob") else None
    return Token(message.token, logprob, tuple((t.token, t.logprob) for t in message.top))


def event_of(message: pb.GenerateEvent) -> Event | None:
    """None for an event that a newer server sends and this client does not know."""
    kind = message.WhichOneof("event")
    if kind == "started":
        s = message.started
        return Started(s.request_id, s.model, s.prompt_tokens, s.seed, s.decode_worker, s.prefill_worker)
    if kind == "delta":
        d = message.delta
        return Delta(d.index, d.text, tuple(map(_token, d.tokens)), tuple(map(_token, d.prompt)))
    if kind == "finished":
        f = message.finished
        return Finished(f.index, _REASONS.get(f.reason, "unknown"), f.message, f.stop)
    if kind == "usage":
        u = message.usage
        return Usage(u.prompt_tokens, u.cached_tokens, u.completion_tokens, u.ttft_ms, u.total_ms)
    return None


def models_of(reply: pb.ListModelsResponse) -> list[Model]:
    return [Model(m.id, m.context_tokens_max, m.vocab_size, m.created) for m in reply.models]


class AnswerBuilder:
    """Joins events into an Answer; a choice that failed makes the whole an error."""

    def __init__(self, n: int):
        self.answer = Answer([""] * max(1, n), [""] * max(1, n))

    def add(self, event: Event) -> None:
        if isinstance(event, Delta):
            self.answer.texts[event.index] += event.text
            if event.index == 0:
                self.answer.prompt.extend(event.prompt)
        elif isinstance(event, Finished):
            self.answer.reasons[event.index] = event.reason
            if event.reason == "error":
                raise InternalError(event.message)
        elif isinstance(event, Started):
            self.answer.started = event
        else:
            self.answer.usage = event


class Retry:
    """Attempts of one request, and the pauses between them. Never past the deadline."""

    def __init__(self, attempts: int, backoff: float, timeout: float | None):
        self._left = max(1, attempts) - 1
        self._backoff = backoff
        self._deadline = None if timeout is None else time.monotonic() + timeout

    def remaining(self) -> float | None:
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def pause_after(self, error: BatonError) -> float | None:
        """Seconds to wait before the next attempt; None: there is none."""
        if not error.retryable or self._left == 0:
            return None
        pause = max(self._backoff, error.retry_after or 0.0)
        remaining = self.remaining()
        if remaining is not None and pause >= remaining:
            return None
        self._left -= 1
        self._backoff *= 2
        return pause
