"""The asyncio client: the same names, awaited."""
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import grpc

from baton.v1 import inference_pb2 as pb
from baton.v1 import inference_pb2_grpc as rpc

from . import wire
from .errors import Cancelled, error_of
from .values import Answer, Delta, Event, Message, Model, Prompt, Sampling


class AsyncGeneration:
    """A request under way: `async for` its events."""

    def __init__(self, start: Callable[[float | None], Any], retry: wire.Retry, n: int):
        self._start = start
        self._retry = retry
        self._n = n
        self._cancelled = False
        self._call = start(retry.remaining())
        self._events = self._read()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        return await self._events.__anext__()

    async def _read(self) -> AsyncIterator[Event]:
        begun = False
        while True:
            try:
                async for message in self._call:
                    begun = True
                    event = wire.event_of(message)
                    if event is not None:
                        yield event
                return
            except grpc.RpcError as failure:
                error = error_of(failure)
                pause = None if begun else self._retry.pause_after(error)
                if pause is None:
                    raise error from failure
                await asyncio.sleep(pause)
                if self._cancelled:
                    raise Cancelled("cancelled by the client") from failure
                self._call = self._start(self._retry.remaining())
            except asyncio.CancelledError:
                # grpc.aio says the same for a call that we cancelled and for a task that somebody did.
                if not self._cancelled:
                    self._call.cancel()
                    raise
                raise Cancelled("cancelled by the client") from None

    def cancel(self) -> None:
        """Stops the work on all workers within one step; the reader gets Cancelled."""
        self._cancelled = True
        self._call.cancel()

    async def texts(self, index: int = 0) -> AsyncIterator[str]:
        """The pieces of one choice's text."""
        async for event in self:
            if isinstance(event, Delta) and event.index == index:
                yield event.text

    async def answer(self) -> Answer:
        """Reads to the end."""
        builder = wire.AnswerBuilder(self._n)
        async for event in self:
            builder.add(event)
        return builder.answer

    async def __aenter__(self) -> AsyncGeneration:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cancel()


class AsyncClient:
    """As Client, for asyncio."""

    def __init__(self, address: str = "127.0.0.1:9000", *, attempts: int = 3, backoff: float = 0.1,
                 api_key: str = "", tls_roots: bytes | None = None, tls_name: str = ""):
        self._attempts = attempts
        self._backoff = backoff
        self._metadata = wire.metadata(api_key)
        if tls_roots is None:
            self._channel = grpc.aio.insecure_channel(address, options=wire.CHANNEL_OPTIONS)
        else:
            self._channel = grpc.aio.secure_channel(address, wire.tls_credentials(tls_roots),
                                                options=wire.tls_options(tls_name))
        self._stub = rpc.InferenceStub(self._channel)

    def generate(self, prompt: Prompt, *, model: str = "", sampling: Sampling | None = None, n: int = 1,
                 echo: bool = False, priority: int = 0, user: str = "", return_token_ids: bool = False,
                 timeout: float | None = None) -> AsyncGeneration:
        """Starts a request. `timeout` is for all of it, in seconds."""
        options = dict(model=model, n=n, echo=echo, priority=priority, user=user, return_token_ids=return_token_ids)
        request = wire.generate_request(prompt, sampling, options)
        retry = wire.Retry(self._attempts, self._backoff, timeout)
        return AsyncGeneration(lambda remaining: self._stub.Generate(request, timeout=remaining, metadata=self._metadata), retry, n)

    def chat(self, question: str, *, system: str = "", **options: Any) -> AsyncGeneration:
        """One question; options as for generate()."""
        messages: list[Message] = [{"role": "system", "content": system}] if system else []
        return self.generate([*messages, {"role": "user", "content": question}], **options)

    async def tokenize(self, prompt: str | Sequence[Message], *, model: str = "", add_special_tokens: bool = True,
                       timeout: float = 10.0) -> list[int]:
        request = wire.tokenize_request(prompt, model, add_special_tokens)
        return list((await self._unary(self._stub.Tokenize, request, timeout)).ids)

    async def detokenize(self, ids: Sequence[int], *, model: str = "", skip_special_tokens: bool = False,
                         timeout: float = 10.0) -> str:
        request = pb.DetokenizeRequest(model=model, ids=ids, skip_special_tokens=skip_special_tokens)
        return str((await self._unary(self._stub.Detokenize, request, timeout)).text)

    async def models(self, *, timeout: float = 10.0) -> list[Model]:
        return wire.models_of(await self._unary(self._stub.ListModels, pb.ListModelsRequest(), timeout))

    async def _unary(self, method: Callable[..., Any], request: Any, timeout: float) -> Any:
        retry = wire.Retry(self._attempts, self._backoff, timeout)
        while True:
            try:
                return await method(request, timeout=retry.remaining(), metadata=self._metadata)
            except grpc.RpcError as failure:
                error = error_of(failure)
                pause = retry.pause_after(error)
                if pause is None:
                    raise error from failure
                await asyncio.sleep(pause)

    async def close(self) -> None:
        """Cancels what still runs."""
        await self._channel.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
