#!/usr/bin/env python3
"""Trains the demo model shipped in models/baton-demo from the text in tools/models/corpus.

Builds a byte-level BPE tokenizer, trains a small Llama from scratch, stores it as bf16 and then
judges what was stored: greedy answers to questions that training never saw, as a table.

How to run: install tools/models/requirements.txt into a virtual environment, then, from the
repository's top level,

    python tools/models/train_demo.py                    # about an hour on 2 cores
    python tools/models/train_demo.py --minutes 5 --out SOME/FOLDER     # a quick look
    python tools/models/train_demo.py --evaluate-only    # the table for the stored model

Each process has one thread and its own share of the batch; gradients are averaged once per step.
That loses nothing when other programs use the same cores, as threads that wait for each other in
every operation do.
"""

import argparse
import json
import random
import socket
import time
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from transformers import LlamaConfig, LlamaForCausalLM

import demo_corpus
import demo_evaluate
import demo_tokenizer

VOCAB_SIZE = 3072
CONTEXT = 4096
ROW_TOKENS = 320
PROSE_SHARE = 0.08
USER_LOSS = 0.1  # questions count a little: it teaches which words belong together
BEGINNING_SHARE = 0.6  # of the conversations: one question and the beginning of its answer
BEGINNING_TOKENS = 12
BEGINNING_LOSS = 3.0
AVERAGE_DECAY = 0.98  # of the running average of weights that snapshots store


def main():
    args = parse_args()
    if not args.evaluate_only:
        args.out.mkdir(parents=True, exist_ok=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        mp.spawn(train_process, args=(args, port), nprocs=args.processes)
    torch.set_num_threads(args.processes)
    demo_evaluate.evaluate(args.out)


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    default_out = Path(__file__).resolve().parents[2] / "models" / "baton-demo"
    parser.add_argument("--out", type=Path, default=default_out,
                        help="model folder to write (default: models/baton-demo)")
    parser.add_argument("--minutes", type=float, default=50, help="how long to train")
    parser.add_argument("--steps", type=int,
                        help="train this many steps instead; equal steps give equal weights")
    parser.add_argument("--snapshot-minutes", type=float, default=0,
                        help="store the averaged weights in --out this often (0: only at the end)")
    parser.add_argument("--lr", type=float, default=3e-3, help="peak learning rate")
    parser.add_argument("--decay-share", type=float, default=0.5,
                        help="share of the training over which the learning rate falls to 0")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--init", type=Path, help="go on from this folder's weights")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--evaluate-only", action="store_true", help="only judge the folder --out")
    return parser.parse_args()


def train_process(rank, args, port):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank,
                            world_size=args.processes)
    torch.manual_seed(args.seed)
    tokenizer = demo_tokenizer.train_tokenizer(VOCAB_SIZE)
    model = LlamaForCausalLM(model_config(tokenizer.get_vocab_size()))
    if args.init:
        model = LlamaForCausalLM.from_pretrained(args.init, dtype=torch.float32)
    if rank == 0:
        print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters, "
              f"{tokenizer.get_vocab_size()} tokens in the vocabulary", flush=True)
    Trainer(model, tokenizer, args, rank).run()
    if rank == 0:
        export(model, tokenizer, args.out)
    dist.destroy_process_group()


def model_config(vocab_size):
    return LlamaConfig(
        vocab_size=vocab_size, hidden_size=256, intermediate_size=704, num_hidden_layers=6,
        num_attention_heads=4, num_key_value_heads=2, head_dim=64, max_position_embeddings=CONTEXT,
        rms_norm_eps=1e-5, tie_word_embeddings=True, bos_token_id=demo_tokenizer.BOS,
        eos_token_id=demo_tokenizer.END, pad_token_id=demo_tokenizer.PAD,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0})


# --- training ----------------------------------------------------------------------------------


class Trainer:
    """One process of the training. All processes hold equal weights after every step."""

    def __init__(self, model, tokenizer, args, rank):
        self.model, self.tokenizer, self.args, self.rank = model, tokenizer, args, rank
        self.rows = RowMaker(tokenizer, args.seed * 1000 + rank)
        self.params = list(model.parameters())
        # Muon learns facts that are seen seldom in far fewer steps than AdamW; it is for the
        # matrices inside the layers. The embedding and the norms stay with AdamW.
        matrices = [p for n, p in model.named_parameters() if p.dim() == 2 and "embed" not in n]
        others = [p for n, p in model.named_parameters() if p.dim() != 2 or "embed" in n]
        self.optimizers = [
            torch.optim.Muon(matrices, lr=args.lr, weight_decay=0.05, momentum=0.95,
                             adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(others, lr=args.lr, weight_decay=0.0, betas=(0.9, 0.98), eps=1e-9)]
        self.average = [p.detach().clone() for p in self.params]
        self.started = time.monotonic()
        self.tokens = 0

    def run(self):
        step, done, smooth, next_snapshot = 0, 0.0, None, self.args.snapshot_minutes
        while done < 1.0:
            self.set_learning_rate(done, step)
            ids, weights, pieces = self.rows.batch(*batch_shape(step))
            loss = weighted_loss(self.model, ids, weights, pieces)
            loss.backward()
            loss, done = self.share_gradients(loss.item(), self.progress(step + 1))
            for optimizer in self.optimizers:
                optimizer.step()
            self.model.zero_grad(set_to_none=True)
            torch._foreach_lerp_(self.average, [p.detach() for p in self.params],
                                 1 - min(AVERAGE_DECAY, step / (step + 10)))
            self.tokens += ids.numel() * self.args.processes
            smooth = loss if smooth is None else 0.98 * smooth + 0.02 * loss
            if step % 50 == 0 or done >= 1.0:
                self.report(step, smooth)
            if next_snapshot and self.minutes() > next_snapshot and done < 1.0:
                self.snapshot()
                next_snapshot += self.args.snapshot_minutes
            step += 1

    def minutes(self):
        return (time.monotonic() - self.started) / 60

    def progress(self, steps):
        if self.args.steps:
            return steps / self.args.steps
        return self.minutes() / self.args.minutes

    def share_gradients(self, loss, done):
        """Averages gradients and loss; everybody goes by the first process's clock."""
        grads = [p.grad for p in self.params]
        extra = torch.tensor([loss, done * self.args.processes if self.rank == 0 else 0.0])
        flat = torch.cat([g.flatten() for g in grads] + [extra])
        dist.all_reduce(flat)
        flat /= self.args.processes
        norm = flat[:-2].norm()
        scale = min(1.0, 1.0 / (float(norm) + 1e-6))
        offset = 0
        for grad in grads:
            grad.copy_(flat[offset:offset + grad.numel()].view_as(grad)).mul_(scale)
            offset += grad.numel()
        return float(flat[-2]), float(flat[-1])

    def set_learning_rate(self, done, step):
        """A short warm-up, a long plateau, then straight down to nothing."""
        factor = min(1.0, (step + 1) / 50, (1.0 - done) / self.args.decay_share)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.args.lr * max(factor, 0.001)

    def report(self, step, loss):
        if self.rank == 0:
            print(f"step {step:5d}  loss {loss:.4f}  {self.minutes():5.1f} min  "
                  f"{self.tokens / self.minutes() / 60:6.0f} tokens/s", flush=True)

    def snapshot(self):
        if self.rank == 0:
            copy = LlamaForCausalLM(self.model.config)
            with torch.no_grad():
                for p, value in zip(copy.parameters(), self.average):
                    p.copy_(value)
            export(copy, self.tokenizer, self.args.out)
            print(f"snapshot after {self.minutes():.1f} minutes", flush=True)


def batch_shape(step):
    """Rows and tokens per row of one process. Mostly short rows; now and then the whole context,
    so that far positions work too."""
    if step % 256 == 255:
        return 1, CONTEXT
    if step % 64 == 31:
        return 1, 2048
    return (1, 1024) if step % 16 == 7 else (3, ROW_TOKENS)


def weighted_loss(model, ids, weights, pieces):
    """Each token sees its own piece of the row only, as if the piece were alone."""
    pieces = pieces[:, :-1]
    same_piece = pieces[:, :, None] == pieces[:, None, :]
    mask = torch.tril(same_piece).unsqueeze(1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        hidden = model.model(input_ids=ids[:, :-1], attention_mask=mask,
                             use_cache=False).last_hidden_state
        chosen = weights[:, 1:] > 0
        logits = model.lm_head(hidden[chosen])
    loss = torch.nn.functional.cross_entropy(logits.float(), ids[:, 1:][chosen], reduction="none")
    weight = weights[:, 1:][chosen]
    return (loss * weight).sum() / weight.sum()


class RowMaker:
    """Fills rows of token ids with conversations and prose, each row from a fresh beginning."""

    def __init__(self, tokenizer, seed):
        self.tokenizer = tokenizer
        self.rng = random.Random(seed)
        self.conversations = demo_corpus.ConversationMaker(seed)
        self.prose = [text.split("\n\n") for text in demo_corpus.read_prose().values()]

    def batch(self, num_rows, row_tokens):
        rows = [self.row(row_tokens) for _ in range(num_rows)]
        return tuple(torch.tensor(column) for column in zip(*rows))

    def row(self, tokens):
        ids, weights, pieces = [], [], []
        while len(ids) < tokens:
            more_ids, more_weights = self.piece()
            more_weights[0] = 0.0  # nothing says which piece comes next
            pieces += [len(pieces)] * len(more_ids)
            ids += more_ids
            weights += more_weights
        return ids[:tokens], weights[:tokens], pieces[:tokens]

    def piece(self):
        if self.rng.random() < PROSE_SHARE:
            return self.prose_piece()
        # Which answer to give is decided in its first words, and is the hard part: so many pieces
        # hold a single question and the beginning of its answer, and beginnings weigh more.
        beginning_only = self.rng.random() < BEGINNING_SHARE
        messages = self.conversations.next(short=beginning_only)
        # BPE dropout: a share of the questions in smaller pieces, as a misspelt word would be.
        self.tokenizer.model.dropout = 0.1 if self.rng.random() < 0.15 else None
        asked = {text: self.encode(text) for role, text in messages if role != "assistant"}
        self.tokenizer.model.dropout = None
        ids, weights = [demo_tokenizer.BOS], [0.0]
        for role, text in messages:
            words = (asked[text] if role != "assistant" else self.encode(text))
            words = words + [demo_tokenizer.END]
            word_weights = self.word_weights(role, len(words))
            if beginning_only and role == "assistant" and text is messages[-1][1]:
                words, word_weights = words[:BEGINNING_TOKENS], word_weights[:BEGINNING_TOKENS]
            ids += [demo_tokenizer.ROLE_IDS[role]] + words
            weights += [0.0] + word_weights
        return ids, weights

    def word_weights(self, role, count):
        if role == "assistant":
            return [BEGINNING_LOSS if i < BEGINNING_TOKENS // 2 else 1.0 for i in range(count)]
        return [USER_LOSS if role == "user" else 0.0] * (count - 1) + [0.0]

    def prose_piece(self):
        paragraphs = self.rng.choice(self.prose)
        start = self.rng.randrange(len(paragraphs))
        words = self.encode("\n\n".join(paragraphs[start:start + 4]))
        if self.rng.random() < 0.5:
            words = [demo_tokenizer.BOS] + words
        return words, [1.0] * len(words)

    def encode(self, text):
        return self.tokenizer.encode(text.strip(), add_special_tokens=False).ids


# --- export ------------------------------------------------------------------------------------


def export(model, tokenizer, folder):
    """A Hugging Face folder with bf16 weights, its config in the keys that folders in the wild
    have (rope_theta, torch_dtype)."""
    model.to(torch.bfloat16).save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
    config = json.loads((folder / "config.json").read_text())
    config.pop("transformers_version", None)
    config["rope_theta"] = config.pop("rope_parameters")["rope_theta"]
    config["rope_scaling"] = None
    config["torch_dtype"] = config.pop("dtype")
    write_json(folder / "config.json", config)
    write_json(folder / "generation_config.json", {
        "bos_token_id": demo_tokenizer.BOS, "eos_token_id": demo_tokenizer.END,
        "pad_token_id": demo_tokenizer.PAD, "do_sample": True, "temperature": 0.2, "top_p": 0.9})
    demo_tokenizer.save_tokenizer(tokenizer, folder, CONTEXT)


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
