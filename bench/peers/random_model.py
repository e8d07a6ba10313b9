"""Writes a Hugging Face folder with random bf16 weights for a shape (a config.json), so that every engine runs the same.

    random_model.py SHAPE-FOLDER TOKENIZER-FOLDER OUT-FOLDER
"""
import shutil
import sys
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM


def main():
    shape, tokenizer, out = map(Path, sys.argv[1:4])
    torch.manual_seed(0)
    config = AutoConfig.from_pretrained(shape)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    partial = out.with_name(out.name + ".partial")
    model.save_pretrained(partial)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tokenizer / name, partial)
    partial.rename(out)


main()
