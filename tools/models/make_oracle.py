#!/usr/bin/env python3
"""Makes Baton's oracle: tiny random-weight models and what `transformers` answers with them.

For every model of oracle_models.py, writes one folder:

    <out>/<model>/config.json, model*.safetensors   a Hugging Face folder like any other
    <out>/<model>/golden.json                       prompts, greedy tokens, recorded tolerances
    <out>/<model>/logits.f32                        little-endian float32, every prompt's logits
                                                    [rows, vocab] one after the other

How to run: install tools/models/requirements.txt into a virtual environment, then, from the
repository's top level,

    python tools/models/make_oracle.py                      # all of them, under a minute
    python tools/models/make_oracle.py --only qwen3-gqa     # one
"""

import argparse
import json
import math
import os
import shutil
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from transformers import AutoConfig, AutoModelForCausalLM

from oracle_models import CONFIG_CLASSES, MODELS

PROMPT_LENGTHS = (1, 5, 17, 33, 64, 90)
GREEDY_TOKENS = 64
MARGIN_MIN = 2e-3  # the best token leads the second by this much at every greedy step
MAX_POSITIONS = 256
LOGIT_STD_TARGET = 2.0


def main():
    args = parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(args.threads)
    total_bytes = 0
    for index, spec in enumerate(MODELS):
        folder = args.out / spec.name
        if not args.only or spec.name in args.only:
            make_model(spec, folder, seed=args.seed + index)
            make_golden(spec, folder, seed=args.seed + index)
        if folder.is_dir():
            total_bytes += sum(f.stat().st_size for f in folder.iterdir())
    print(f"{total_bytes / 1e6:.2f} MB in {args.out}")


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    default_out = Path(__file__).resolve().parents[2] / "tests" / "oracle" / "goldens"
    parser.add_argument("--out", type=Path, default=default_out,
                        help="folder to write to (default: tests/oracle/goldens)")
    parser.add_argument("--only", nargs="*", help="names of the models to make")
    parser.add_argument("--seed", type=int, default=20, help="seed of weights and prompts")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


# --- the model ---------------------------------------------------------------------------------


def make_model(spec, folder, seed):
    """Writes a Hugging Face folder and checks that it loads back to equal logits."""
    config = build_config(spec)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").float()
    randomize(model, seed)
    stored = model.to(getattr(torch, spec.dtype))
    if folder.exists():
        shutil.rmtree(folder)
    stored.save_pretrained(folder, max_shard_size=spec.shard_bytes or "1GB")
    (folder / "generation_config.json").unlink(missing_ok=True)

    probe = torch.arange(40).remainder(spec.sizes["vocab"]).unsqueeze(0)
    as_written = load(folder, torch.float32)(probe).logits
    rewrite_config(spec, folder)
    as_rewritten = load(folder, torch.float32)(probe).logits
    assert torch.equal(as_written, as_rewritten), f"{spec.name}: the rewritten config differs"
    reread = load(folder, stored.dtype).state_dict()
    for name, tensor in stored.state_dict().items():
        assert torch.equal(reread[name], tensor), f"{spec.name}: {name} differs after reload"
    check_weights_dtype(spec, folder)
    for file in folder.iterdir():
        file.chmod(0o644)


def build_config(spec):
    s = spec.sizes
    fields = dict(vocab_size=s["vocab"], hidden_size=s["hidden"], intermediate_size=s["ff"],
                  num_hidden_layers=s["layers"], num_attention_heads=s["heads"],
                  num_key_value_heads=s["kv_heads"], max_position_embeddings=MAX_POSITIONS,
                  bos_token_id=1, eos_token_id=2, pad_token_id=None, tie_word_embeddings=False)
    if s["head_dim"] is not None:
        fields["head_dim"] = s["head_dim"]
    fields.update(spec.extra)
    rope = {"rope_theta": spec.rope_theta, "rope_type": "default"}
    if spec.rope_scaling:
        rope.update({("rope_type" if k == "type" else k): v
                     for k, v in spec.rope_scaling.items()})
    return CONFIG_CLASSES[spec.family](rope_parameters=rope, **fields)


def randomize(model, seed):
    """Weights that make every part matter: no norm weight is 1, no bias is 0, attention is neither
    flat nor one-hot, and the logits have a standard deviation near LOGIT_STD_TARGET."""
    generator = torch.Generator().manual_seed(seed)

    def normal(shape, std):
        return torch.randn(shape, generator=generator) * std

    # Tied embeddings vote for the token just read; louder layers keep the greedy text moving.
    layer_gain = 2.5 if model.config.tie_word_embeddings else 1.0
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "norm" in name:
                p.copy_(1.0 + normal(p.shape, 0.2))
            elif name.endswith("bias"):
                p.copy_(normal(p.shape, 0.25))
            elif "embed_tokens" in name or "lm_head" in name:
                p.copy_(normal(p.shape, LOGIT_STD_TARGET / math.sqrt(p.shape[1])))
            else:
                gain = 1.3 if "q_proj" in name or "k_proj" in name else layer_gain
                p.copy_(normal(p.shape, gain / math.sqrt(p.shape[1])))


def rewrite_config(spec, folder):
    """Puts config.json into the keys that folders in the wild have (or leaves the new ones)."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config.pop("transformers_version", None)
    config.update(spec.extra)  # transformers drops a sliding_window that is switched off
    if spec.config_style == "classic":
        config.pop("rope_parameters")
        config.pop("layer_types", None)  # newer than the folders we imitate
        config["torch_dtype"] = config.pop("dtype")
        config["rope_theta"] = spec.rope_theta
        config["rope_scaling"] = spec.rope_scaling
        if spec.sizes["head_dim"] is None:
            config.pop("head_dim", None)
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    AutoConfig.from_pretrained(folder)


def check_weights_dtype(spec, folder):
    wanted = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}[spec.dtype]
    shards = sorted(folder.glob("*.safetensors"))
    assert (len(shards) > 1) == (spec.shard_bytes is not None), f"{spec.name}: {shards}"
    for shard in shards:
        with safe_open(shard, "pt") as f:
            for key in f.keys():
                assert f.get_slice(key).get_dtype() == wanted, f"{spec.name}: {key}"


def load(folder, dtype):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="eager")
    return model.eval()


# --- the golden --------------------------------------------------------------------------------


@torch.no_grad()
def make_golden(spec, folder, seed):
    model = load(folder, torch.float32)
    rng = np.random.default_rng(seed)
    vocab = spec.sizes["vocab"]
    prompts, pieces, offset = [], [], 0
    for length in PROMPT_LENGTHS:
        entry, logits = pick_prompt(model, rng, vocab, length)
        prompts.append({**entry, "logits_file": "logits.f32", "logits_offset_bytes": offset,
                        "rows": length})
        pieces.append(logits.numpy().astype("<f4"))
        offset += pieces[-1].nbytes
    (folder / "logits.f32").write_bytes(b"".join(p.tobytes() for p in pieces))

    golden = {
        "name": spec.name,
        "family": spec.family,
        "catches": spec.catches,
        "dtype": spec.dtype,
        "vocab_size": vocab,
        "greedy_tokens": GREEDY_TOKENS,
        "greedy_ignores_eos": True,
        "min_margin": min(p["min_margin"] for p in prompts),
        "logits_std": float(np.concatenate(pieces).std()),
        "prompts": prompts,
    }
    if spec.dtype == "bfloat16":
        golden.update(bf16_errors(folder, prompts, pieces))
    with open(folder / "golden.json", "w") as f:
        json.dump(golden, f, indent=1)
        f.write("\n")
    one_line_arrays(folder / "golden.json")
    distinct = [len(set(p["greedy"])) for p in prompts]
    print(f"{spec.name:22} {sum(f.stat().st_size for f in folder.iterdir()) / 1e3:6.0f} kB  "
          f"logit std {golden['logits_std']:.2f}  min margin {golden['min_margin']:.1e}  "
          f"distinct greedy {distinct}  bf16 rel L2 max {golden.get('bf16_rel_l2_max', '-')}",
          flush=True)


def pick_prompt(model, rng, vocab, length):
    """A random prompt whose greedy continuation is well defined: draws until it is."""
    for _ in range(200):
        ids = rng.integers(0, vocab, length).tolist()
        logits = model(torch.tensor([ids])).logits[0]
        greedy, margin = greedy_tokens(model, ids)
        varied = len(set(greedy)) >= 4
        if margin > MARGIN_MIN and varied:
            return {"ids": ids, "greedy": greedy, "min_margin": margin}, logits
    raise RuntimeError(f"no prompt of {length} tokens with a margin above {MARGIN_MIN}; "
                       "try another --seed")


def greedy_tokens(model, ids):
    """Greedy continuation with the KV cache, then once more over the whole text without it: both
    must agree. Returns the tokens and the smallest lead of the best token over the second."""
    tokens, cache, step = [], None, torch.tensor([ids])
    for _ in range(GREEDY_TOKENS):
        out = model(step, past_key_values=cache, use_cache=True)
        cache = out.past_key_values
        tokens.append(int(out.logits[0, -1].argmax()))
        step = torch.tensor([[tokens[-1]]])
    whole = model(torch.tensor([ids + tokens[:-1]]), use_cache=False).logits[0, len(ids) - 1:]
    if whole.argmax(-1).tolist() != tokens:
        return tokens, 0.0
    top = whole.topk(2, dim=-1).values
    return tokens, float((top[:, 0] - top[:, 1]).min())


def bf16_errors(folder, prompts, pieces):
    """How far transformers' own bf16 arithmetic is from f32 over the same bf16 weights."""
    model = load(folder, torch.bfloat16)
    per_position, agree, total, whole_sq, whole_ref = [], 0, 0, 0.0, 0.0
    for prompt, want in zip(prompts, pieces):
        got = model(torch.tensor([prompt["ids"]])).logits[0].float().numpy()
        diff = np.linalg.norm(got - want, axis=-1) / np.linalg.norm(want, axis=-1)
        per_position.append(diff)
        prompt["bf16_rel_l2"] = float(np.linalg.norm(got - want) / np.linalg.norm(want))
        whole_sq += float(((got - want) ** 2).sum())
        whole_ref += float((want ** 2).sum())
        agree += int((got.argmax(-1) == want.argmax(-1)).sum())
        total += len(want)
    flat = np.concatenate(per_position)
    return {"bf16_rel_l2": math.sqrt(whole_sq / whole_ref), "bf16_rel_l2_max": float(flat.max()),
            "bf16_rel_l2_mean": float(flat.mean()), "bf16_argmax_agreement": agree / total}


def one_line_arrays(path):
    """Token ids on one line each: a diff of a golden stays readable."""
    golden = json.loads(path.read_text())
    marks = {}
    for i, prompt in enumerate(golden["prompts"]):
        for key in ("ids", "greedy"):
            mark = f"@{i}-{key}@"
            marks[f'"{mark}"'] = json.dumps(prompt[key])
            prompt[key] = mark
    text = json.dumps(golden, indent=1)
    for mark, ids in marks.items():
        text = text.replace(mark, ids)
    path.write_text(text + "\n")


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
