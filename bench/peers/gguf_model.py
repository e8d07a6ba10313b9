"""Writes a Hugging Face folder of a Llama or Qwen2 shape as the GGUF file that llama.cpp reads, in bf16.

    gguf_model.py MODEL-FOLDER OUT-FILE

Without a vocabulary: peers are given token ids.
"""
import json
import sys
from pathlib import Path

import gguf
import torch
from safetensors import safe_open

LAYER = {"input_layernorm.weight": "attn_norm.weight", "post_attention_layernorm.weight": "ffn_norm.weight",
         "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
         "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
         "mlp.down_proj": "ffn_down"}
WHOLE = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
         "lm_head.weight": "output.weight"}


def name_of(tensor):
    if tensor in WHOLE:
        return WHOLE[tensor]
    layer, rest = tensor.removeprefix("model.layers.").split(".", 1)
    for theirs, ours in LAYER.items():
        if rest.startswith(theirs):
            return f"blk.{layer}.{ours}{rest[len(theirs):]}"
    raise KeyError(tensor)


def rotated(tensor, heads):
    """llama.cpp turns neighbours where Hugging Face turns halves, for this one architecture."""
    return tensor.reshape(heads, 2, -1, *tensor.shape[1:]).swapaxes(1, 2).reshape(tensor.shape)


def describe(writer, config):
    heads = config["num_attention_heads"]
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_dimension_count(config.get("head_dim") or config["hidden_size"] // heads)
    writer.add_rope_freq_base(config.get("rope_theta", 10000.0))
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("no_vocab")


def main():
    folder, out = map(Path, sys.argv[1:3])
    config = json.loads((folder / "config.json").read_text())
    partial = out.with_suffix(".partial")
    writer = gguf.GGUFWriter(partial, config["model_type"])
    describe(writer, config)
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "pt") as tensors:
            for name in tensors.keys():
                tensor = tensors.get_tensor(name)
                if config["model_type"] == "llama" and (".q_proj." in name or ".k_proj." in name):
                    kind = "num_attention_heads" if ".q_proj." in name else "num_key_value_heads"
                    tensor = rotated(tensor, config[kind])
                if tensor.dim() == 1:
                    writer.add_tensor(name_of(name), tensor.float().numpy())
                else:
                    raw = tensor.to(torch.bfloat16).contiguous().view(torch.uint8).numpy()
                    writer.add_tensor(name_of(name), raw, raw_dtype=gguf.GGMLQuantizationType.BF16)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    partial.rename(out)


main()
