"""The official OpenAI package against the HTTP door."""
import openai
import pytest

QUESTION = [{"role": "user", "content": "What is a KV cache?"}]


@pytest.fixture(scope="module")
def client(cluster):
    with openai.OpenAI(base_url=cluster.http + "/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def model(client):
    return client.models.list().data[0].id


def test_models(client, model):
    assert model == "baton-demo"
    assert client.models.retrieve(model).id == model


def test_chat(client, model):
    answer = client.chat.completions.create(model=model, messages=QUESTION, max_tokens=24, temperature=0)
    choice = answer.choices[0]
    assert choice.message.role == "assistant" and len(choice.message.content) > 10
    assert choice.finish_reason in ("stop", "length")
    assert answer.usage.completion_tokens <= 24
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_a_stream_is_the_same_text_as_a_whole_answer(client, model):
    options = dict(model=model, messages=QUESTION, max_tokens=32, temperature=0)
    whole = client.chat.completions.create(**options)
    pieces, usage, reason = [], None, None
    for chunk in client.chat.completions.create(stream=True, stream_options={"include_usage": True}, **options):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            pieces.append(choice.delta.content or "")
            reason = choice.finish_reason or reason
    assert "".join(pieces) == whole.choices[0].message.content
    assert len(pieces) > 3
    assert reason == whole.choices[0].finish_reason
    assert usage.completion_tokens == whole.usage.completion_tokens


def test_completions_echo_and_token_prompts(client, model):
    answer = client.completions.create(model=model, prompt="The KV cache", max_tokens=8, temperature=0, echo=True)
    assert answer.choices[0].text.startswith("The KV cache")
    by_ids = client.completions.create(model=model, prompt=[5, 6, 7], max_tokens=4, temperature=0)
    assert by_ids.usage.prompt_tokens == 3


def test_n_seed_and_logprobs(client, model):
    options = dict(model=model, messages=QUESTION, max_tokens=12, n=3, seed=11, temperature=1.0, logprobs=True,
                   top_logprobs=2)
    first = client.chat.completions.create(**options)
    again = client.chat.completions.create(**options)
    assert [c.index for c in first.choices] == [0, 1, 2]
    assert [c.message.content for c in first.choices] == [c.message.content for c in again.choices]
    entry = first.choices[0].logprobs.content[0]
    assert entry.logprob <= 0 and len(entry.top_logprobs) == 2


def test_stop_strings_end_the_answer(client, model):
    options = dict(model=model, messages=QUESTION, max_tokens=64, temperature=0)
    whole = client.chat.completions.create(**options).choices[0].message.content
    words = whole.split(" ")
    answer = client.chat.completions.create(stop=[words[3]], **options).choices[0]
    assert answer.finish_reason == "stop"
    assert answer.message.content == whole.split(words[3])[0]


@pytest.mark.parametrize("field, value, error", [
    ("temperature", -1, openai.BadRequestError),
    ("top_p", 2, openai.BadRequestError),
    ("max_tokens", -5, openai.BadRequestError),
    ("messages", [], openai.BadRequestError),
    ("messages", [{"role": "wizard", "content": "x"}], openai.BadRequestError),
    ("model", "nothing-of-the-kind", openai.NotFoundError),
])
def test_errors_name_their_field(client, model, field, value, error):
    options = {"model": model, "messages": QUESTION, "max_tokens": 4} | {field: value}
    with pytest.raises(error) as caught:
        client.chat.completions.create(**options)
    assert field in str(caught.value)


def test_a_prompt_beyond_the_context_names_both_numbers(client, model):
    limit = client.models.retrieve(model).model_dump().get("max_model_len") or 4096
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(model=model, prompt=[5] * (limit + 10), max_tokens=4)
    assert str(limit + 10) in str(caught.value) and str(limit) in str(caught.value)


async def test_many_at_once_and_asyncio(cluster, model):
    import asyncio

    async with openai.AsyncOpenAI(base_url=cluster.http + "/v1", api_key="none", max_retries=0) as client:
        async def ask(i):
            answer = await client.chat.completions.create(
                model=model, messages=QUESTION, max_tokens=16, temperature=0)
            return answer.choices[0].message.content

        answers = await asyncio.gather(*[ask(i) for i in range(16)])
    assert len(set(answers)) == 1
