"""The oracle's models: one entry per thing a loader or a kernel could get wrong.

Every entry says what it is there to catch. Sizes are small on purpose and awkward on purpose:
vocabularies that divide by nothing, head_dim that is not hidden / heads, feed-forward widths that
are no multiple of a vector register.
"""

from dataclasses import dataclass, field

from transformers import LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config

CONFIG_CLASSES = {
    "llama": LlamaConfig,
    "mistral": MistralConfig,
    "qwen2": Qwen2Config,
    "qwen3": Qwen3Config,
}


@dataclass(frozen=True)
class OracleModel:
    name: str
    family: str
    catches: str
    sizes: dict  # vocab, hidden, ff, layers, heads, kv_heads, head_dim (None: not written)
    dtype: str = "float32"  # how the weights are stored
    rope_theta: float = 10000.0
    rope_scaling: dict | None = None  # in the classic keys
    extra: dict = field(default_factory=dict)  # further config fields
    shard_bytes: int | None = None  # sharded safetensors with an index
    config_style: str = "classic"  # classic: rope_theta + rope_scaling; new: rope_parameters


def _sizes(vocab, hidden, ff, layers, heads, kv_heads, head_dim=None):
    return dict(vocab=vocab, hidden=hidden, ff=ff, layers=layers, heads=heads,
                kv_heads=kv_heads, head_dim=head_dim)


MODELS = [
    OracleModel("llama-mha", "llama", "plain Llama 2: one KV head per query head, untied",
                _sizes(199, 48, 88, 2, 3, 3)),
    OracleModel("llama-gqa-tied-bf16", "llama", "grouped KV heads, tied embeddings, bf16",
                _sizes(257, 64, 96, 3, 4, 2), dtype="bfloat16",
                extra={"tie_word_embeddings": True}),
    OracleModel("llama-mqa-headdim", "llama", "one KV head; head_dim is not hidden / heads",
                _sizes(199, 40, 72, 2, 4, 1, 32)),
    OracleModel("llama-rope-llama3", "llama", "Llama 3.1 frequency scaling, three shards",
                _sizes(199, 48, 88, 3, 3, 1, 16), rope_theta=500000.0,
                rope_scaling={"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                              "high_freq_factor": 4.0, "original_max_position_embeddings": 64},
                shard_bytes=110_000),
    OracleModel("llama-rope-linear", "llama", "linear scaling under its oldest key, `type`",
                _sizes(131, 32, 80, 2, 2, 2, 16),
                rope_scaling={"type": "linear", "factor": 2.5}),
    OracleModel("llama-rope-yarn", "llama", "YaRN with the defaults for its attention factor",
                _sizes(199, 32, 72, 2, 2, 1, 32),
                rope_scaling={"rope_type": "yarn", "factor": 4.0,
                              "original_max_position_embeddings": 64}),
    OracleModel("llama-biases", "llama", "attention_bias and mlp_bias; a large norm eps, an odd ff",
                _sizes(131, 48, 85, 2, 4, 2, 16),
                extra={"attention_bias": True, "mlp_bias": True, "rms_norm_eps": 0.02}),
    OracleModel("llama-new-config", "llama", "rope_parameters, as transformers 5 writes it; bf16",
                _sizes(331, 48, 96, 2, 3, 3, 16), dtype="bfloat16", rope_theta=1000000.0,
                rope_scaling={"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0,
                              "high_freq_factor": 4.0, "original_max_position_embeddings": 32},
                config_style="new"),
    OracleModel("mistral-window", "mistral", "sliding window of 24: prompts outgrow it",
                _sizes(199, 48, 72, 3, 4, 2, 16), extra={"sliding_window": 24}),
    OracleModel("mistral-nowindow-f16", "mistral", "sliding_window null, head_dim 48, f16",
                _sizes(199, 64, 104, 2, 4, 1, 48), dtype="float16", rope_theta=1000000.0,
                extra={"sliding_window": None}),
    OracleModel("qwen2-bias", "qwen2", "QKV biases; sliding_window written but switched off",
                _sizes(199, 48, 88, 3, 3, 1, None), rope_theta=1000000.0,
                extra={"use_sliding_window": False, "sliding_window": 24,
                       "max_window_layers": 1}),
    OracleModel("qwen2-tied-bf16", "qwen2", "QKV biases, tied embeddings, bf16, seven heads",
                _sizes(331, 56, 72, 2, 7, 1, None), dtype="bfloat16", rope_theta=1000000.0,
                extra={"tie_word_embeddings": True, "use_sliding_window": False}),
    OracleModel("qwen2-yarn", "qwen2", "YaRN with its own betas and attention factor",
                _sizes(199, 32, 80, 2, 2, 2, None), rope_theta=10000.0,
                rope_scaling={"rope_type": "yarn", "factor": 4.0, "beta_fast": 24.0,
                              "beta_slow": 2.0, "attention_factor": 1.25,
                              "original_max_position_embeddings": 64}),
    OracleModel("qwen3-gqa", "qwen3", "QK norm, head_dim is not hidden / heads; a large norm eps",
                _sizes(199, 32, 72, 3, 4, 2, 32), rope_theta=1000000.0,
                extra={"rms_norm_eps": 0.01}),
    OracleModel("qwen3-tied-bf16", "qwen3", "QK norm, one KV head, tied embeddings, bf16",
                _sizes(199, 40, 64, 2, 4, 1, 16), dtype="bfloat16", rope_theta=1000000.0,
                extra={"tie_word_embeddings": True}),
    OracleModel("qwen3-mixed-windows", "qwen3", "a sliding window in the last two layers only",
                _sizes(131, 40, 72, 3, 4, 2, 16),
                extra={"use_sliding_window": True, "sliding_window": 20,
                       "max_window_layers": 1}),
]
