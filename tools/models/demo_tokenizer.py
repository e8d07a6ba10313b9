"""The demo model's tokenizer: a byte-level BPE trained on the corpus, and its chat template."""

import json
import re

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

import demo_corpus

SPECIAL = ("<|pad|>", "<|bos|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>")
PAD, BOS, END = 0, 1, 2
ROLE_IDS = {"system": 3, "user": 4, "assistant": 5}

CHAT_TEMPLATE = (
    "{{- '<|bos|>' -}}"
    "{%- for message in messages -%}"
    "{%- set role = 'system' if message['role'] == 'developer' else message['role'] -%}"
    "{%- if role not in ['system', 'user', 'assistant'] -%}"
    "{{- raise_exception('role must be system, user or assistant, not ' ~ role) -}}"
    "{%- endif -%}"
    "{{- '<|' ~ role ~ '|>' ~ message['content'] | trim ~ '<|end|>' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)


def train_tokenizer(vocab_size):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, min_frequency=2, show_progress=False,
                                  special_tokens=list(SPECIAL),
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(training_texts(), trainer)
    for index, token in enumerate(SPECIAL):
        assert tokenizer.token_to_id(token) == index
    return tokenizer


def training_texts():
    """Answers and prose as they are; questions also in lower case, as people type them."""
    for block in demo_corpus.read_blocks():
        yield block.answer
        for phrasings, answer in block.follow_ups:
            yield answer
            yield from phrasings
        for question in block.questions[:12]:
            yield question
            yield question.lower()
    for text in demo_corpus.read_prose().values():
        yield text
        yield from re.split(r"(?<=[.])\s+", text.lower())
    for line in demo_corpus.read_list("off_topic.md") + demo_corpus.read_list("system.md"):
        yield re.sub(r"[{}|]", " ", line)


def save_tokenizer(tokenizer, folder, context):
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "add_bos_token": False,
        "add_eos_token": False,
        "bos_token": "<|bos|>",
        "chat_template": CHAT_TEMPLATE,
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|end|>",
        "model_max_length": context,
        "pad_token": "<|pad|>",
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
