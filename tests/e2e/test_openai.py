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


def test_a_text_is_scored_as_it_is_generated(client, model):
    """What greedy decoding said of its tokens, echo says again when they are a prompt."""
    options = dict(model=model, temperature=0, logprobs=3)
    prompt = [5, 6, 7, 8, 9, 10, 11] * 30
    said = client.completions.create(prompt=prompt, max_tokens=12, extra_body={"return_token_ids": True},
                                     **options).choices[0]
    whole = client.completions.create(prompt=prompt + said.token_ids, max_tokens=0, echo=True, **options)
    choice = whole.choices[0]
    assert choice.text.endswith(said.text) and choice.finish_reason == "length"
    assert whole.usage.completion_tokens == 0
    scores = choice.logprobs
    assert len(scores.tokens) == whole.usage.prompt_tokens
    assert len(scores.token_logprobs) == len(scores.top_logprobs) == len(scores.text_offset) == len(scores.tokens)
    assert scores.token_logprobs[0] is None and scores.top_logprobs[0] is None
    assert all(value <= 0 for value in scores.token_logprobs[1:])
    # The same bits: there after a remote prefill, one decode step each; here from one prompt.
    count = len(said.token_ids)
    assert count == 12 and scores.tokens[-count:] == said.logprobs.tokens
    assert scores.token_logprobs[-count:] == said.logprobs.token_logprobs
    assert scores.top_logprobs[-count:] == said.logprobs.top_logprobs


def test_text_offsets_say_where_a_tokens_text_is(client, model):
    text = "The KV cache — schön — holds keys. 🚀"
    choice = client.completions.create(model=model, prompt=text, max_tokens=0, echo=True, logprobs=0).choices[0]
    assert choice.text == text
    offsets = choice.logprobs.text_offset
    assert offsets == sorted(offsets) and offsets[0] == 0
    ends = offsets[1:] + [len(text)]
    for start, end, token in zip(offsets, ends, choice.logprobs.tokens):
        # A token that ends inside a character shows no text yet; the one that completes it shows it all.
        assert "\ufffd" in token or text[start:end] == token or start == end


def test_scores_are_the_same_in_a_stream_in_every_choice_and_again(client, model):
    options = dict(model=model, prompt=[5, 6, 7, 8] * 40, echo=True, logprobs=2, max_tokens=1, seed=3)
    first, again = (client.completions.create(n=2, **options) for _ in range(2))
    assert len(first.choices[0].logprobs.tokens) == 161
    for a, b in ((first.choices[1], first.choices[0]), (again.choices[0], first.choices[0])):
        assert a.logprobs.token_logprobs[:160] == b.logprobs.token_logprobs[:160]
    streamed = []
    for chunk in client.completions.create(stream=True, **options):
        for choice in chunk.choices:
            if choice.logprobs:
                streamed += choice.logprobs.token_logprobs
    assert streamed == first.choices[0].logprobs.token_logprobs


def test_as_evaluation_harnesses_ask(client, model):
    """Several contexts with continuations as token ids, one token more than is wanted."""
    contexts, continuations = [[5, 6, 7], [9, 10]], [[8, 9], [11]]
    prompts = [context + continuation for context, continuation in zip(contexts, continuations)]
    answer = client.completions.create(model=model, prompt=prompts, echo=True, logprobs=1, max_tokens=1,
                                       temperature=0, seed=1234)
    for choice, context, continuation in zip(answer.choices, contexts, continuations):
        scores = choice.logprobs.token_logprobs[len(context):-1]
        tops = choice.logprobs.top_logprobs[len(context):-1]
        assert len(scores) == len(tops) == len(continuation)
        assert all(score <= max(top.values()) for score, top in zip(scores, tops))


def test_too_much_to_score_is_refused_with_the_limit(client, model):
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(model=model, prompt=[[5] * 800] * 2, echo=True, logprobs=20, n=16, max_tokens=0)
    assert "262144" in str(caught.value)


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
