"""Hugging Face transformers on PyTorch, eager, its own KV cache."""
import time

import peer
import torch
from transformers import AutoModelForCausalLM


def main():
    chosen = peer.options(__doc__)
    torch.set_num_threads(chosen.threads)
    model = AutoModelForCausalLM.from_pretrained(chosen.model, dtype="auto").eval()

    @torch.inference_mode()
    def prefill(prompt):
        logits = model(torch.tensor([prompt]), logits_to_keep=1).logits
        return logits[0, -1].argmax().item()

    @torch.inference_mode()
    def decode(prompts, output_tokens):
        ids, past, times = torch.tensor(prompts), None, []
        for _ in range(output_tokens):
            out = model(ids, past_key_values=past, use_cache=True, logits_to_keep=1)
            past = out.past_key_values
            ids = out.logits[:, -1].argmax(-1, keepdim=True)
            ids.tolist()
            times.append(time.perf_counter())
        return times

    peer.run(chosen, prefill, decode)


main()
