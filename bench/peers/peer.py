"""What all peers' programs share: their options, and how figures are told."""
import argparse
import json
import random
import statistics
import time


def options(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--model", required=True, help="folder of the model, as this engine reads it")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--vocab", type=int, required=True, help="random prompts are of tokens below this")
    parser.add_argument("--prefill", default="512,2048", help="prompt lengths")
    parser.add_argument("--decode", default="1,4,8,16", help="batch sizes")
    parser.add_argument("--prompt-tokens", type=int, default=32, help="of the sequences that are decoded")
    parser.add_argument("--output-tokens", type=int, default=64, help="of each of them")
    parser.add_argument("--repeats", type=int, default=3, help="of each figure; the best counts")
    chosen = parser.parse_args()
    chosen.prefill = [int(n) for n in chosen.prefill.split(",") if n]
    chosen.decode = [int(n) for n in chosen.decode.split(",") if n]
    return chosen


def prompt(chosen, tokens, dice=random.Random(1)):
    return [dice.randrange(chosen.vocab) for _ in range(tokens)]


def run(chosen, prefill, decode):
    """`prefill(prompt)` computes a prompt and one token; `decode(prompts, output_tokens)` gives the times, in seconds,
    at which each step's tokens were there. Prints a line of JSON per figure, as engine_bench does."""
    prefill(prompt(chosen, 64))
    for tokens in chosen.prefill:
        tell("prefill", tokens, max(tokens / seconds(prefill, prompt(chosen, tokens)) for _ in range(chosen.repeats)))
    for batch in chosen.decode:
        rates = []
        for _ in range(chosen.repeats):
            times = decode([prompt(chosen, chosen.prompt_tokens) for _ in range(batch)], chosen.output_tokens)
            rates.append(batch / statistics.median(b - a for a, b in zip(times, times[1:])))
        tell("decode", batch, max(rates))


def seconds(call, *arguments):
    start = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - start


def tell(what, size, tokens_per_second):
    print(json.dumps({"what": what, "size": size, "tokens_per_second": tokens_per_second}), flush=True)
