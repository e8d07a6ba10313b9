"""Clients of both doors, on asyncio. Each reads one answer and notes when every piece of it came."""
import asyncio
import json
import time

import grpc

import baton_client as baton
from baton.v1 import inference_pb2_grpc as rpc
from baton_client import wire
from cases import Answer
from members import GRPC, HTTP


class Failed(Exception):
    """A request that did not complete: what the client was told. `kind`: refused (nothing had begun; it may be sent
    again), broken (the connection ended) or error."""

    def __init__(self, kind, message):
        super().__init__(message)
        self.kind = kind


class GrpcDoor:
    """One channel per router, as an application has."""

    def __init__(self, host):
        options = wire.CHANNEL_OPTIONS + [("grpc.keepalive_time_ms", 2000), ("grpc.keepalive_timeout_ms", 2000),
                                          ("grpc.use_local_subchannel_pool", 1)]
        self._channel = grpc.aio.insecure_channel(f"{host}:{GRPC}", options=options)
        self._stub = rpc.InferenceStub(self._channel)

    async def ask(self, case, note, request_id):
        answer = Answer.empty(case.n)
        begun = False
        given = dict(case.sampling)
        sampling = baton.Sampling(max_tokens=case.max_tokens, ignore_eos=True, stop=given.pop("stop", ()), **given)
        options = dict(n=case.n, user=request_id, return_token_ids=True)
        call = self._stub.Generate(wire.generate_request(case.prompt, sampling, options))
        try:
            async for message in call:
                event = wire.event_of(message)
                if isinstance(event, baton.Started):
                    note.request, note.prefill = event.request_id, event.prefill_worker
                elif isinstance(event, baton.Delta):
                    begun = True
                    note.piece()
                    answer.texts[event.index] += event.text
                    answer.tokens[event.index] += [(t.id, t.logprob) for t in event.tokens]
                elif isinstance(event, baton.Finished):
                    answer.reasons[event.index] = event.reason if event.reason != "error" else event.message
                elif isinstance(event, baton.Usage):
                    answer.completion_tokens = event.completion_tokens
        except grpc.RpcError as failure:
            raise self._told(failure, begun) from None
        finally:
            call.cancel()
        return answer

    @staticmethod
    def _told(failure, begun):
        code, message = failure.code(), f"{failure.code().name}: {failure.details()}"
        if code not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED):
            return Failed("error", message)
        return Failed("broken" if begun else "refused", message)

    async def close(self):
        await self._channel.close()


class HttpDoor:
    """A connection per request, so that it tells of this request alone."""

    def __init__(self, host):
        self.host = host

    async def ask(self, case, note, request_id):
        note.request = request_id
        writer = None
        try:
            reader, writer = await self.send(case, request_id)
            return await self.read_answer(reader, case, note)
        except (OSError, asyncio.IncompleteReadError) as error:
            raise Failed("broken" if writer else "refused", f"{type(error).__name__}: {error}") from None
        finally:
            if writer is not None:
                writer.transport.abort()

    async def send(self, case, request_id):
        reader, writer = await asyncio.open_connection(self.host, HTTP)
        await self.write_request(writer, case, request_id)
        return reader, writer

    async def write_request(self, writer, case, request_id):
        body = json.dumps(case.body()).encode()
        writer.write((f"POST /v1/completions HTTP/1.1\r\nHost: {self.host}\r\nContent-Type: application/json\r\n"
                      f"X-Request-Id: {request_id}\r\nContent-Length: {len(body)}\r\n\r\n").encode() + body)
        await writer.drain()

    async def read_answer(self, reader, case, note):
        status = await self._head(reader)
        if status in (429, 503):
            raise Failed("refused", f"{status} {(await self._body(reader))[:200]!r}")
        if status != 200:
            raise Failed("error", f"{status} {(await self._body(reader))[:200]!r}")
        if case.streams:
            return await self._stream(reader, case, note)
        return self._whole(json.loads(await self._body(reader)), case)

    @staticmethod
    async def _head(reader):
        lines = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
        reader.fields = {k.lower(): v.strip() for k, _, v in (line.partition(b":") for line in lines[1:])}
        return int(lines[0].split()[1])

    async def _body(self, reader):
        if b"content-length" in reader.fields:
            return await reader.readexactly(int(reader.fields[b"content-length"]))
        return b"".join([chunk async for chunk in self._chunks(reader)])

    @staticmethod
    async def _chunks(reader):
        while size := int(await reader.readuntil(b"\r\n"), 16):
            chunk = await reader.readexactly(size)
            await reader.readexactly(2)
            yield chunk
        await reader.readuntil(b"\r\n")

    async def _stream(self, reader, case, note):
        answer = Answer.empty(case.n)
        rest = b""
        async for chunk in self._chunks(reader):
            *events, rest = (rest + chunk).split(b"\n\n")
            for event in events:
                if not event.startswith(b"data: "):
                    continue  # a comment
                if event == b"data: [DONE]":
                    return answer
                self._take(json.loads(event[6:]), answer, note)
        raise Failed("broken", "the stream ended without [DONE]")

    @staticmethod
    def _take(event, answer, note):
        if "error" in event:
            kind = "broken" if event["error"].get("type") == "service_unavailable_error" else "error"
            raise Failed(kind, json.dumps(event["error"]))
        for choice in event["choices"]:
            note.piece()
            i = choice["index"]
            answer.texts[i] += choice["text"]
            answer.tokens[i] += HttpDoor._tokens(choice)
            answer.reasons[i] = choice["finish_reason"] or answer.reasons[i]

    @staticmethod
    def _tokens(choice):
        logprobs = choice.get("logprobs")
        return list(zip(logprobs["tokens"], logprobs["token_logprobs"])) if logprobs else []

    def _whole(self, reply, case):
        answer = Answer.empty(case.n)
        for choice in reply["choices"]:
            i = choice["index"]
            answer.texts[i], answer.tokens[i] = choice["text"], self._tokens(choice)
            answer.reasons[i] = choice["finish_reason"]
        answer.completion_tokens = reply["usage"]["completion_tokens"]
        return answer

    async def close(self):
        pass


class Note:
    """When the pieces of one answer came."""

    def __init__(self):
        self.sent = time.monotonic()
        self.request = ""
        self.prefill = ""  # the worker that was to compute the prompt; gRPC tells it before the first piece
        self.pieces = []
        self.ended = None

    def piece(self):
        self.pieces.append(time.monotonic())

    def longest_silence(self, since, until):
        """Seconds that the client waited for a next piece, at most, between these two moments."""
        pieces = [at for at in self.pieces if since < at < until]
        times = [since, *pieces]
        if self.ended:
            times.append(min(self.ended, until))
        return max((b - a for a, b in zip(times, times[1:])), default=until - since)
