"""OpenVINO GenAI: its continuous batching pipeline over an exported model (optimum-cli export openvino)."""
import time

import numpy
import openvino
import openvino_genai
import peer


def main():
    chosen = peer.options(__doc__)
    scheduler = openvino_genai.SchedulerConfig()
    scheduler.cache_size = 2  # GiB
    scheduler.max_num_batched_tokens = 2048
    scheduler.enable_prefix_caching = False
    pipeline = openvino_genai.ContinuousBatchingPipeline(
        chosen.model, scheduler, "CPU", {"INFERENCE_NUM_THREADS": chosen.threads, "INFERENCE_PRECISION_HINT": "bf16"})
    number = 0

    def add(prompt, output_tokens):
        nonlocal number
        greedy = openvino_genai.GenerationConfig(max_new_tokens=output_tokens, ignore_eos=True, do_sample=False)
        number += 1
        return pipeline.add_request(number, openvino.Tensor(numpy.array([prompt], dtype=numpy.int64)), greedy)

    def prefill(prompt):
        handle = add(prompt, 1)
        while pipeline.has_non_finished_requests():
            pipeline.step()
        return handle.read_all()

    def decode(prompts, output_tokens):
        handles, times = [add(prompt, output_tokens) for prompt in prompts], []
        while pipeline.has_non_finished_requests():
            pipeline.step()
            times.append(time.perf_counter())
        for handle in handles:
            handle.read_all()
        return times

    peer.run(chosen, prefill, decode)


main()
