"""Judges the stored demo model: greedy answers to phrasings that training never saw.

Everything here reads the exported folder alone, in f32 arithmetic over its bf16 weights, through
transformers' own tokenizer and chat template. Also writes the folder's golden.json.
"""

import json
import random
import re

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import demo_corpus
import demo_tokenizer

ANSWER_TOKENS_MAX = 400
BATCH = 64

GOLDEN_CONVERSATIONS = (
    ["What is disaggregated prefill?"],
    ["what is the kv cache"],
    ["How does disaggregated prefill work?"],
    ["Why is decode memory-bound?"],
    ["What is continuous batching?"],
    ["How do I start Baton?"],
    ["Hello"],
    ["Who are you?"],
    ["What is the capital of France?"],
    ["What happens when a prefill worker dies?"],
    ["How does a request flow through Baton?"],
    ["How does LLM serving work?"],
    ["What is prefill?", "And decode?"],
    ["What is TTFT?", "How can I reduce it?", "Thanks"],
)


def evaluate(folder):
    judge = Judge(folder)
    rng = random.Random(11)
    blocks = demo_corpus.read_blocks()
    judge.table("held-out phrasings", [[("user", b.held_out)] for b in blocks],
                [b.answer for b in blocks], show_all=True)

    def harder(title, conversation):
        some = rng.sample(blocks, 60)
        judge.table(title, [conversation(b) for b in some], [b.answer for b in some])

    systems = demo_corpus.read_list("system.md")
    harder("in lower case, no punctuation",
           lambda b: [("user", b.held_out.lower().rstrip("?.!"))])
    harder("with a system prompt",
           lambda b: [("system", rng.choice(systems)), ("user", b.held_out)])
    harder("misspelt", lambda b: [("user", demo_corpus.misspell(rng, b.held_out))])
    harder("as the third turn", lambda b: two_turns(rng, blocks) + [("user", b.held_out)])
    follow = [(b, f) for b in blocks for f in b.follow_ups]
    judge.table("follow-ups", [[("user", b.held_out), ("assistant", b.answer),
                                ("user", f[0][0])] for b, f in follow], [f[1] for _, f in follow])
    off_topic = demo_corpus.OffTopic()
    strange = [off_topic.ask(rng, off_topic.held_out) for _ in range(40)]
    judge.table("off topic", [[("user", q)] for q in strange], [off_topic.answers[0]] * 40)
    write_golden(judge, folder)


def two_turns(rng, blocks):
    messages = []
    for block in rng.sample(blocks, 2):
        messages += [("user", rng.choice(block.questions)), ("assistant", block.answer)]
    return messages


def first_sentence(text):
    return re.split(r"(?<=[.!?])\s", text.strip(), maxsplit=1)[0]


class Judge:
    def __init__(self, folder):
        self.tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    def table(self, title, conversations, wanted, show_all=False):
        got = self.answers(conversations)
        exact = sum(g == w for g, w in zip(got, wanted))
        first = sum(first_sentence(g) == first_sentence(w) for g, w in zip(got, wanted))
        print(f"\n{title}: {len(got)} asked, {100 * exact / len(got):.1f} % word for word, "
              f"{100 * first / len(got):.1f} % with the same first sentence")
        for conversation, answer, want in zip(conversations, got, wanted):
            if show_all or answer != want:
                mark = "=" if answer == want else "!"
                print(f"  {mark} {conversation[-1][1]}\n      {answer}")

    @torch.no_grad()
    def answers(self, conversations):
        prompts = [self.prompt_ids(c) for c in conversations]
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
        texts = [""] * len(prompts)
        for start in range(0, len(order), BATCH):
            some = order[start:start + BATCH]
            batch = self.tokenizer.pad({"input_ids": [prompts[i] for i in some]},
                                       return_tensors="pt")
            out = self.model.generate(
                input_ids=batch["input_ids"], attention_mask=batch["attention_mask"],
                do_sample=False, temperature=None, top_p=None, max_new_tokens=ANSWER_TOKENS_MAX)
            for i, row in zip(some, out[:, batch["input_ids"].shape[1]:]):
                texts[i] = self.tokenizer.decode(row, skip_special_tokens=True).strip()
        return texts

    def prompt_text(self, conversation):
        messages = [{"role": role, "content": text} for role, text in conversation]
        return self.tokenizer.apply_chat_template(messages, tokenize=False,
                                                  add_generation_prompt=True)

    def prompt_ids(self, conversation):
        return self.tokenizer(self.prompt_text(conversation), add_special_tokens=False).input_ids

    @torch.no_grad()
    def greedy(self, ids):
        """Greedy tokens up to and with the end token, and the least lead over the second best."""
        tokens, margin, cache, step = [], float("inf"), None, torch.tensor([ids])
        while len(tokens) < ANSWER_TOKENS_MAX and tokens[-1:] != [demo_tokenizer.END]:
            out = self.model(step, past_key_values=cache, use_cache=True)
            cache = out.past_key_values
            top = out.logits[0, -1].topk(2)
            margin = min(margin, float(top.values[0] - top.values[1]))
            tokens.append(int(top.indices[0]))
            step = torch.tensor([tokens[-1:]])
        return tokens, margin


def write_golden(judge, folder):
    entries = []
    for questions in GOLDEN_CONVERSATIONS:
        conversation = []
        for question in questions:
            conversation.append(("user", question))
            ids = judge.prompt_ids(conversation)
            greedy, margin = judge.greedy(ids)
            answer = judge.tokenizer.decode(greedy, skip_special_tokens=True)
            if question == questions[-1]:
                entries.append({
                    "messages": [{"role": r, "content": t} for r, t in conversation],
                    "prompt": judge.prompt_text(conversation), "ids": json.dumps(ids),
                    "greedy": json.dumps(greedy), "answer": answer, "min_margin": margin})
            conversation.append(("assistant", answer))
    text = json.dumps({"arithmetic": "f32 over the stored bf16 weights, greedy, up to and with "
                                     "the end token", "prompts": entries}, indent=1)
    text = re.sub(r'"(\[[\d, ]*\])"', r"\1", text)
    (folder / "golden.json").write_text(text + "\n")
    print(f"\n{folder.name}/golden.json: {len(entries)} conversations, least margin "
          f"{min(e['min_margin'] for e in entries):.3f}")
