"""The synchronous client."""
from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import grpc

from baton.v1 import inference_pb2 as pb
from baton.v1 import inference_pb2_grpc as rpc

from . import wire
from .errors import Cancelled, error_of
from .values import Answer, Delta, Event, Message, Model, Prompt, Sampling


class Generation:
    """A request under way: iterate for its events. One thread reads; cancel() may come from any."""

    def __init__(self, start: Callable[[float | None], Any], retry: wire.Retry, n: int):
        self._start = start
        self._retry = retry
        self._n = n
        self._lock = threading.Lock()  # guards _call: cancel() races with a new attempt
        self._cancelled = threading.Event()
        self._call = start(retry.remaining())
        self._events = self._read()

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        return next(self._events)

    def _read(self) -> Iterator[Event]:
        begun = False
        while True:
            try:
                for message in self._call:
                    begun = True
                    event = wire.event_of(message)
                    if event is not None:
                        yield event
                return
            except grpc.RpcError as failure:
                error = error_of(failure)
                # What had begun is not sent twice.
                pause = None if begun else self._retry.pause_after(error)
                if pause is None:
                    raise error from failure
                self._start_again(pause)

    def _start_again(self, pause: float) -> None:
        self._cancelled.wait(pause)
        with self._lock:
            if self._cancelled.is_set():
                raise Cancelled("cancelled by the client")
            self._call = self._start(self._retry.remaining())

    def cancel(self) -> None:
        """Stops the work on all workers within one step; the reader gets Cancelled."""
        with self._lock:
            self._cancelled.set()
            self._call.cancel()

    def texts(self, index: int = 0) -> Iterator[str]:
        """The pieces of one choice's text."""
        return (e.text for e in self if isinstance(e, Delta) and e.index == index)

    def answer(self) -> Answer:
        """Reads to the end."""
        builder = wire.AnswerBuilder(self._n)
        for event in self:
            builder.add(event)
        return builder.answer

    def __enter__(self) -> Generation:
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()


class Client:
    """A connection to a cluster's gRPC door. Thread-safe; any number of requests may run at once.

    A request that had not begun is sent again when the cluster was overloaded or unavailable, `attempts`
    times in all, first after `backoff` seconds. `api_key` goes with every call. With `tls_roots` the connection is
    TLS and the router proves itself by a certificate of one of these CAs (PEM; b"": those this machine believes) for
    `tls_name`, or, left out, for the host that is dialled; every router of a cluster with a CA of its own has the name
    "router.baton.internal".
    """

    def __init__(self, address: str = "127.0.0.1:9000", *, attempts: int = 3, backoff: float = 0.1,
                 api_key: str = "", tls_roots: bytes | None = None, tls_name: str = ""):
        self._attempts = attempts
        self._backoff = backoff
        self._metadata = wire.metadata(api_key)
        if tls_roots is None:
            self._channel = grpc.insecure_channel(address, options=wire.CHANNEL_OPTIONS)
        else:
            self._channel = grpc.secure_channel(address, wire.tls_credentials(tls_roots),
                                                options=wire.tls_options(tls_name))
        self._stub = rpc.InferenceStub(self._channel)

    def generate(self, prompt: Prompt, *, model: str = "", sampling: Sampling | None = None, n: int = 1,
                 echo: bool = False, priority: int = 0, user: str = "", return_token_ids: bool = False,
                 timeout: float | None = None) -> Generation:
        """Starts a request and returns at once. `timeout` is for all of it, in seconds."""
        options = dict(model=model, n=n, echo=echo, priority=priority, user=user, return_token_ids=return_token_ids)
        request = wire.generate_request(prompt, sampling, options)
        retry = wire.Retry(self._attempts, self._backoff, timeout)
        return Generation(lambda remaining: self._stub.Generate(request, timeout=remaining, metadata=self._metadata), retry, n)

    def chat(self, question: str, *, system: str = "", **options: Any) -> Generation:
        """One question; options as for generate()."""
        messages: list[Message] = [{"role": "system", "content": system}] if system else []
        return self.generate([*messages, {"role": "user", "content": question}], **options)

    def tokenize(self, prompt: str | Sequence[Message], *, model: str = "", add_special_tokens: bool = True,
                 timeout: float = 10.0) -> list[int]:
        request = wire.tokenize_request(prompt, model, add_special_tokens)
        return list(self._unary(self._stub.Tokenize, request, timeout).ids)

    def detokenize(self, ids: Sequence[int], *, model: str = "", skip_special_tokens: bool = False,
                   timeout: float = 10.0) -> str:
        request = pb.DetokenizeRequest(model=model, ids=ids, skip_special_tokens=skip_special_tokens)
        return str(self._unary(self._stub.Detokenize, request, timeout).text)

    def models(self, *, timeout: float = 10.0) -> list[Model]:
        return wire.models_of(self._unary(self._stub.ListModels, pb.ListModelsRequest(), timeout))

    def _unary(self, method: Callable[..., Any], request: Any, timeout: float) -> Any:
        retry = wire.Retry(self._attempts, self._backoff, timeout)
        while True:
            try:
                return method(request, timeout=retry.remaining(), metadata=self._metadata)
            except grpc.RpcError as failure:
                error = error_of(failure)
                pause = retry.pause_after(error)
                if pause is None:
                    raise error from failure
                threading.Event().wait(pause)

    def close(self) -> None:
        """Cancels what still runs."""
        self._channel.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
