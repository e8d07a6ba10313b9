"""llama.cpp, by its C API: one context, one llama_decode per step over all sequences."""
import time

import llama_cpp as llama
import numpy
import peer


class Engine:
    def __init__(self, chosen):
        parameters = llama.llama_model_default_params()
        parameters.n_gpu_layers = 0
        self.model = llama.llama_model_load_from_file(chosen.model.encode(), parameters)
        self.longest = max(chosen.prefill + [chosen.prompt_tokens + chosen.output_tokens]) + 1
        context = llama.llama_context_default_params()
        context.n_seq_max = max(chosen.decode + [1])
        context.n_ctx = self.longest * context.n_seq_max
        context.n_batch = max(chosen.prefill + [512])
        context.n_threads = context.n_threads_batch = chosen.threads
        self.context = llama.llama_init_from_model(self.model, context)
        self.vocab = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(self.model))
        self.batch = llama.llama_batch_init(context.n_batch, 0, 1)

    def step(self, parts):
        """`parts` are (sequence, position of the first token, tokens); the likeliest token behind each."""
        batch, rows = self.batch, []
        batch.n_tokens = 0
        for sequence, position, tokens in parts:
            for i, token in enumerate(tokens):
                at = batch.n_tokens
                batch.token[at], batch.pos[at] = token, position + i
                batch.n_seq_id[at], batch.seq_id[at][0] = 1, sequence
                batch.logits[at] = i + 1 == len(tokens)
                batch.n_tokens += 1
            rows.append(batch.n_tokens - 1)
        if llama.llama_decode(self.context, batch):
            raise RuntimeError(f"llama_decode refused a batch of {batch.n_tokens} tokens")
        logits = (llama.llama_get_logits_ith(self.context, row) for row in rows)
        return [int(numpy.ctypeslib.as_array(row, (self.vocab,)).argmax()) for row in logits]

    def forget(self):
        llama.llama_memory_clear(llama.llama_get_memory(self.context), False)


def main():
    chosen = peer.options(__doc__)
    engine = Engine(chosen)

    def prefill(prompt):
        engine.forget()
        engine.step([(0, 0, prompt)])

    def decode(prompts, output_tokens):
        engine.forget()
        tokens = [engine.step([(s, 0, prompt)])[0] for s, prompt in enumerate(prompts)]
        times = [time.perf_counter()]
        for position in range(chosen.prompt_tokens, chosen.prompt_tokens + output_tokens - 1):
            tokens = engine.step([(s, position, [token]) for s, token in enumerate(tokens)])
            times.append(time.perf_counter())
        return times

    peer.run(chosen, prefill, decode)


main()
