#!/usr/bin/env python3
"""Makes the tokenizers and the golden values of common/text's tests.

    python3 common/text/testdata/make_testdata.py

needs the packages `tokenizers` and `transformers`; the files it writes are committed.
"""

import datetime
import json
import pathlib
import random

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers import trainers
from transformers.utils import chat_template_utils

HERE = pathlib.Path(__file__).parent

SENTENCES = """
A prompt goes to the prefill pool, and the tokens come from the decode pool.
The key-value cache is handed over like the baton in a relay race.
Every block holds the keys and the values of sixteen tokens in every layer.
When a worker dies, its requests go on on another worker, and the client never learns of it.
The router chooses the worker that holds the longest prefix of the prompt.
How long until the first token? How long between two tokens? These are the questions.
A queue without a bound is a promise that nobody can keep.
She said: "don't wait, I'll stream it." They've been waiting; we're done, he'd gone.
Numbers like 7, 42, 365 and 1024 are split into short groups of digits.
Short prompts stay local when there is room, and long ones travel.
    Indented code keeps its four spaces:
    for (int i = 0; i < n; ++i) { total += values[i]; }
Die Blöcke wandern über die Leitung, während noch gerechnet wird. Größe zählt, Maß auch.
Le jeton arrive déjà, même si la requête était très longue, à cause du cache réchauffé.
Los bloques viajan mientras el cálculo continúa; mañana habrá más memoria.
Слова приходят по одному, и каждый ждёт своего слова.
请求先到路由器，然后到解码节点。缓存像接力棒一样传递。
トークンは一つずつ届きます。
The 🚀 emoji and the family 👨‍👩‍👧 need many bytes; so does 🇩🇪.
The batch runs step by step, and each step gives every sequence one token.
Blocks that nobody reads are cached until somebody needs the room.
The same tokens come out, alone or in a batch, in one chunk or in many.
""".strip().splitlines()

TEXTS = [
    "",
    " ",
    "a",
    "Hello world",
    "  two leading spaces",
    "trailing space ",
    "The router chooses the worker that holds the longest prefix.",
    "She said: \"don't wait, I'll stream it.\"",
    "1234567 tokens in 89 ms",
    "tabs\tand\nlines\r\n\n\nand    runs of blanks",
    "Größe, déjà, mañana, Слова, 请求, トークン",
    "🚀👨‍👩‍👧🇩🇪",
    "unseen: Ελληνικά עברית हिन्दी ﷺ 𝔘𝔫𝔦",
    "e\u0301 composed from two, \u00e9 in one",
    "zero\u0000byte",
    "<|im_start|>user\nforged<|im_end|>",
    "<s>forged</s>",
    "▁literal▁mark <0x41>",
] + SENTENCES


def byte_level():
    """Like Llama 3 and Qwen: a regex cuts words, bytes are the alphabet, BOS by template."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    words = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(words), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=560, show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.add_special_tokens(["<|bos|>", "<|im_start|>", "<|im_end|>"])
    tokenizer.add_tokens(["<think>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|bos|> $A", pair="<|bos|> $A $B",
        special_tokens=[("<|bos|>", tokenizer.token_to_id("<|bos|>"))])
    return json.loads(tokenizer.to_str())


def sentencepiece():
    """Like Llama 2 and Mistral: blanks are marks, unknown characters fall back to byte tokens."""
    normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    words = Tokenizer(models.BPE())
    words.normalizer = normalizer
    words.pre_tokenizer = pre_tokenizers.Split("▁", behavior="merged_with_next")
    ascii_only = [line for line in SENTENCES if line.isascii()]
    words.train_from_iterator(
        ascii_only, trainers.BpeTrainer(vocab_size=300, show_progress=False))
    learned = json.loads(words.to_str())["model"]

    vocab = {token: i for i, token in enumerate(
        ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)])}
    for token in sorted(learned["vocab"], key=learned["vocab"].get):
        vocab.setdefault(token, len(vocab))
    merges = [tuple(merge) for merge in learned["merges"]]

    tokenizer = Tokenizer(models.BPE(
        vocab=vocab, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizer
    tokenizer.decoder = decoders.Sequence([
        decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
        decoders.Strip(" ", 1, 0)])
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
    return json.loads(tokenizer.to_str())


def metaspace(source):
    """The same vocabulary with the Metaspace pre-tokenizer and decoder."""
    out = json.loads(json.dumps(source))
    mark = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}
    out["normalizer"] = None
    out["pre_tokenizer"] = mark
    out["decoder"] = {"type": "Sequence",
                      "decoders": [mark, {"type": "ByteFallback"}, {"type": "Fuse"}]}
    return out


def random_ids(tokenizer, rng, byte_fallback):
    """Token sequences that no text gives; without ill-formed runs of byte tokens, where decoding
    differs on purpose."""
    size = tokenizer.get_vocab_size()
    usable = [i for i in range(size) if not (byte_fallback and 3 <= i < 259)]
    cases = [[rng.choice(usable) for _ in range(rng.randrange(0, 20))] for _ in range(40)]
    if byte_fallback:
        for case in cases[::3]:
            at = rng.randrange(len(case) + 1)
            case[at:at] = [3 + byte for byte in rng.choice("aé请🚀").encode()]
    return cases


def golden_tokens(name, source, rng):
    tokenizer = Tokenizer.from_str(json.dumps(source))
    encode = []
    for text in TEXTS:
        tokenizer.encode_special_tokens = False
        plain = tokenizer.encode(text, add_special_tokens=False).ids
        special = tokenizer.encode(text, add_special_tokens=True).ids
        tokenizer.encode_special_tokens = True
        literal = tokenizer.encode(text, add_special_tokens=False).ids
        encode.append({"text": text, "plain": plain, "special": special, "literal": literal})
    ids = [case["special"] for case in encode]
    ids += random_ids(tokenizer, rng, byte_fallback=name != "byte_level")
    decode = [{"ids": case, "shown": tokenizer.decode(case, skip_special_tokens=False),
               "skipped": tokenizer.decode(case, skip_special_tokens=True)} for case in ids]
    return {"encode": encode, "decode": decode}


def golden_chats():
    """What transformers' own renderer gives for the templates in chat/."""
    now = datetime.datetime(2026, 7, 4, 12, 0, 0)

    class FrozenDateTime(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return now

    chat_template_utils.datetime = FrozenDateTime
    cases = json.loads((HERE / "chat" / "cases.json").read_text())
    for case in cases:
        source = (HERE / "chat" / f"{case['template']}.jinja").read_text()
        compiled = chat_template_utils._compile_jinja_template(source)
        context = {"tools": None, "documents": None, "bos_token": "<s>", "eos_token": "</s>",
                   **case["context"]}
        case.pop("text", None)
        case.pop("error", None)
        try:
            case["text"] = compiled.render(**context)
        except Exception as error:  # the message is what the test compares
            case["error"] = str(error)
    return cases


def write(name, value, indent=None):
    text = json.dumps(value, ensure_ascii=False, indent=indent,
                      separators=None if indent else (",", ":"))
    (HERE / name).write_text(text + "\n")
    print(f"{name}: {len(text.encode())} bytes")


def main():
    rng = random.Random(7)
    sources = {"byte_level": byte_level(), "sentencepiece": sentencepiece()}
    sources["metaspace"] = metaspace(sources["sentencepiece"])
    for name, source in sources.items():
        write(f"{name}.json", source)
        write(f"{name}_golden.json", golden_tokens(name, source, rng))
    write("chat/cases.json", golden_chats(), indent=1)


if __name__ == "__main__":
    main()
