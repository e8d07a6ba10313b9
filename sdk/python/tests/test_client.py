"""Both clients against a router door that the test writes."""
import threading
import time
from concurrent import futures

import grpc
import pytest

import baton_client as baton
from baton.v1 import inference_pb2 as pb
from baton.v1 import inference_pb2_grpc as rpc
from baton.v1 import sampling_pb2 as spb


class Door(rpc.InferenceServicer):
    def __init__(self):
        self.calls = 0
        self.requests = []
        self.script = None
        self.server = grpc.server(futures.ThreadPoolExecutor(8))
        rpc.add_InferenceServicer_to_server(self, self.server)
        self.address = "127.0.0.1:%d" % self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()

    def Generate(self, request, context):
        self.calls += 1
        self.requests.append(request)
        yield from self.script(self.calls, context)

    def Tokenize(self, request, context):
        return pb.TokenizeResponse(ids=[ord(c) for c in request.text])

    def Detokenize(self, request, context):
        return pb.DetokenizeResponse(text="".join(map(chr, request.ids)))

    def ListModels(self, request, context):
        return pb.ListModelsResponse(models=[pb.ModelCard(id="m", vocab_size=7, context_tokens_max=9)])


def delta(text, index=0):
    return pb.GenerateEvent(delta=pb.Delta(text=text, index=index))


def finished(index=0, reason=spb.FINISH_REASON_STOP, message=""):
    return pb.GenerateEvent(finished=pb.Finished(index=index, reason=reason, message=message))


@pytest.fixture
def door():
    door = Door()
    yield door
    door.server.stop(0)


def two_choices(_, context):
    yield pb.GenerateEvent(started=pb.Started(request_id="r1", seed=5))
    yield delta("a")
    yield delta("x", 1)
    yield delta("b")
    yield finished(1, spb.FINISH_REASON_LENGTH)
    yield finished(0)
    yield pb.GenerateEvent(usage=pb.Usage(completion_tokens=3))


def scored(_, context):
    for token in (spb.GeneratedToken(token=5), spb.GeneratedToken(
            token=6, logprob=-1.5, top=[spb.TokenChance(token=7, logprob=-0.25)])):
        for index in (0, 1):
            yield pb.GenerateEvent(delta=pb.Delta(index=index, prompt=[token]))
    yield finished(0, spb.FINISH_REASON_LENGTH)
    yield finished(1, spb.FINISH_REASON_LENGTH)


def overloaded_twice(call, context):
    if call < 3:
        context.set_trailing_metadata((("retry-after-ms", "5"),))
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "queue full")
    yield delta("ok")
    yield finished()


def lost_half_way(_, context):
    yield delta("half")
    context.abort(grpc.StatusCode.UNAVAILABLE, "decode worker lost")


def bad_field(_, context):
    context.abort(grpc.StatusCode.INVALID_ARGUMENT, "top_p must be in (0, 1], got 2")
    yield


def endless(_, context):
    while context.is_active():
        yield delta("x")
        time.sleep(0.001)


def test_events_and_answer(door):
    door.script = two_choices
    with baton.Client(door.address) as client:
        sampling = baton.Sampling(temperature=0, stop=["!"], logit_bias={3: -1.0})
        answer = client.chat("hi", system="be brief", n=2, sampling=sampling).answer()
    assert answer.texts == ["ab", "x"] and answer.reasons == ["stop", "length"]
    assert answer.started.request_id == "r1" and answer.usage.completion_tokens == 3
    request = door.requests[0]
    assert [m.role for m in request.chat.messages] == ["system", "user"]
    assert request.sampling.HasField("temperature") and not request.sampling.HasField("top_p")
    assert dict(request.sampling.logit_bias) == {3: -1.0}


def test_prompts_of_every_kind(door):
    door.script = two_choices
    with baton.Client(door.address) as client:
        client.generate("text", n=2).answer()
        client.generate([1, 2, 3], n=2).answer()
    assert door.requests[0].text == "text"
    assert list(door.requests[1].token_ids.ids) == [1, 2, 3]


def test_a_prompts_logprobs_are_joined_once(door):
    door.script = scored
    with baton.Client(door.address) as client:
        answer = client.generate([5, 6], n=2, sampling=baton.Sampling(prompt_logprobs=1, max_tokens=0)).answer()
    assert answer.prompt == [baton.Token(5), baton.Token(6, -1.5, ((7, -0.25),))]
    sampling = door.requests[0].sampling
    assert sampling.prompt_logprobs == 1
    assert sampling.HasField("max_tokens") and sampling.max_tokens == 0


def test_what_had_not_begun_is_sent_again(door):
    door.script = overloaded_twice
    with baton.Client(door.address, backoff=0.001) as client:
        assert client.generate("x").answer().text == "ok"
    assert door.calls == 3


def test_attempts_end_and_say_when_to_come_back(door):
    door.script = overloaded_twice
    with baton.Client(door.address, attempts=2, backoff=0.001) as client, pytest.raises(baton.Overloaded) as caught:
        client.generate("x").answer()
    assert caught.value.retry_after == 0.005


def test_what_had_begun_is_not_sent_again(door):
    door.script = lost_half_way
    with baton.Client(door.address) as client, pytest.raises(baton.Unavailable, match="decode worker lost"):
        client.generate("x").answer()
    assert door.calls == 1


def test_errors_of_the_request_are_not_retried(door):
    door.script = bad_field
    with baton.Client(door.address) as client, pytest.raises(baton.InvalidRequest, match="top_p"):
        client.generate("x").answer()
    assert door.calls == 1


def test_a_failed_choice_is_an_error(door):
    door.script = lambda *_: iter([finished(0, spb.FINISH_REASON_ERROR, "lost its worker")])
    with baton.Client(door.address) as client, pytest.raises(baton.InternalError, match="lost its worker"):
        client.generate("x").answer()


def test_cancel_from_another_thread(door):
    ended = threading.Event()

    def script(call, context):
        context.add_callback(ended.set)
        yield from endless(call, context)

    door.script = script
    with baton.Client(door.address) as client:
        generation = client.generate("x")
        assert next(generation).text == "x"
        threading.Thread(target=generation.cancel).start()
        with pytest.raises(baton.Cancelled):
            for _ in generation:
                pass
        assert ended.wait(10)


def test_timeout(door):
    door.script = endless
    with baton.Client(door.address) as client, pytest.raises(baton.DeadlineExceeded):
        client.generate("x", timeout=0.1).answer()


def test_unary_calls(door):
    with baton.Client(door.address) as client:
        assert client.tokenize("ab") == [97, 98]
        assert client.detokenize([97, 98]) == "ab"
        assert client.models() == [baton.Model("m", 9, 7, 0)]


def test_nobody_there():
    with baton.Client("127.0.0.1:1", attempts=2, backoff=0.001) as client, pytest.raises(baton.Unavailable):
        client.models()


async def test_async_answer_and_retry(door):
    door.script = overloaded_twice
    async with baton.AsyncClient(door.address, backoff=0.001) as client:
        assert (await client.chat("x").answer()).text == "ok"
        assert await client.tokenize("ab") == [97, 98]
        assert await client.detokenize([97]) == "a"
        assert (await client.models())[0].id == "m"


async def test_async_errors(door):
    door.script = lost_half_way
    async with baton.AsyncClient(door.address) as client:
        with pytest.raises(baton.Unavailable):
            await client.generate("x").answer()
        door.script = bad_field
        with pytest.raises(baton.InvalidRequest):
            await client.generate("x").answer()
    assert door.calls == 2


async def test_async_cancel_and_timeout(door):
    ended = threading.Event()

    def script(call, context):
        context.add_callback(ended.set)
        yield from endless(call, context)

    door.script = script
    async with baton.AsyncClient(door.address) as client:
        generation = client.generate("x")
        assert (await generation.__anext__()).text == "x"
        generation.cancel()
        with pytest.raises(baton.Cancelled):
            async for _ in generation:
                pass
        assert ended.wait(10)
        with pytest.raises(baton.DeadlineExceeded):
            await client.generate("x", timeout=0.1).answer()
