#include "services/cli/bench/bench_options.h"

namespace baton::cli {

void BenchOptions::AddTo(config::OptionSet& client_set, config::OptionSet& load_set,
                         config::OptionSet& report_set) {
  client.AddTo(client_set);
  client_set.Add("http", &http,
                 {.zero = "off", .help = "HTTP door, asked for KV transfer figures"});
  client.door.AddHttpTo(client_set);
  load_set.Add("rate", &rate,
               {.min = 0,
                .max = 1e5,
                .zero = "closed-loop",
                .help = "requests per second with Poisson arrivals (open loop)"});
  load_set.Add("trace", &trace,
               {.help = "file to replay instead: a line of JSON per request with timestamp (ms), "
                        "input_length, output_length and hash_ids (each names 512 tokens)"});
  load_set.Add("trace_speed", &trace_speed,
               {.min = 1e-3, .max = 1e3, .help = "with --trace: so many times as fast"});
  load_set.Add("concurrency", &concurrency,
               {.min = 1, .max = 4096, .help = "closed loop: requests under way at any time"});
  load_set.Add("inflight_max", &inflight_max,
               {.flag = "--max-inflight",
                .min = 1,
                .max = 8192,
                .help = "open loop: beyond it a request is counted as dropped"});
  load_set.Add("requests", &requests,
               {.min = 0, .max = 1e8, .zero = "by-duration", .help = "how many to send"});
  load_set.Add("duration", &duration, {.min = 0.1, .max = 86400, .help = "how long to send"});
  load_set.Add("warmup", &warmup, {.min = 0, .max = 3600, .help = "sent before, not counted"});
  load_set.Add("prompt_tokens", &prompt_text,
               {.help = "N, uniform:MIN-MAX or lognormal:MEDIAN,SIGMA"});
  load_set.Add("output_tokens", &output_text, {.help = "likewise; the model's end is ignored"});
  load_set.Add("shared_prefix_share", &shared_share,
               {.min = 0, .max = 1, .help = "share of requests that begin alike"});
  load_set.Add(
      "shared_prefix_tokens", &shared_tokens,
      {.min = 0, .max = 1 << 24, .help = "length of that beginning, part of the prompt's"});
  load_set.Add("corpus", &corpus,
               {.help = "text file that prompts are cut from; without: random tokens"});
  load_set.Add("temperature", &temperature, {.min = 0, .max = 2, .help = "of the sampling"});
  load_set.Add("seed", &seed, {.min = 0, .help = "the same seed sends the same load"});
  load_set.Add("timeout", &timeout, {.min = 0.1, .max = 86400, .help = "per request"});
  report_set.Add(
      "slo_ttft", &slo_ttft,
      {.min = 0, .max = 3600, .zero = "none", .help = "goodput: first token within this"});
  report_set.Add("slo_itl", &slo_itl,
                 {.min = 0,
                  .max = 3600,
                  .zero = "none",
                  .help = "goodput: mean time between a request's tokens within this"});
  report_set.Add("json", &json,
                 {.help = "write every figure here; - is stdout, instead of the table"});
  report_set.Add("each", &each, {.help = "write a line of JSON per request here, as they began"});
  report_set.Add("note", &note, {.help = "free text, kept in the JSON"});
}

absl::Status BenchOptions::Validate() {
  const auto prompt = LengthDistribution::Parse(prompt_text);
  if (!prompt.ok()) return Annotate(prompt.status(), "--prompt-tokens");
  const auto output = LengthDistribution::Parse(output_text);
  if (!output.ok()) return Annotate(output.status(), "--output-tokens");
  prompt_tokens = *prompt;
  output_tokens = *output;
  if (!trace.empty() && rate > 0) {
    return InvalidArgument("--trace says when to send: --rate has nothing to say beside it");
  }
  if (shared_share > 0 && shared_tokens == 0) {
    return InvalidArgument("--shared-prefix-share needs --shared-prefix-tokens");
  }
  return absl::OkStatus();
}

}  // namespace baton::cli
