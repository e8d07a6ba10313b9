#include "common/config/planner_options.h"

namespace baton::config {
namespace {

absl::Status CheckMinimum(std::string_view pool, int32_t min, int32_t max) {
  if (min <= max) return absl::OkStatus();
  return InvalidArgument("planner.{}_min is {}, more than planner.{}_max, {}", pool, min, pool,
                         max);
}

}  // namespace

void PlannerOptions::AddTo(OptionSet& set) {
  set.Add("routers", &routers,
          {.flag = "--router",
           .help = "HTTP addresses of the routers; a name that resolves to several addresses means "
                   "all of them"});
  set.Add(
      "model", &model,
      {.zero = "all", .help = "whose workers are planned for, where routers serve several models"});
  set.Add("grpc", &grpc, {.help = "KEDA's external scaler is served here; port 0: any free one"});
  set.Add("http", &http, {.help = "listen here for /metrics and /plan"});
  tls.AddTo(set);
  set.Add("api_key_file", &api_key_file,
          {.zero = "none",
           .help = "file with one API key, for routers that have api_keys_file; read again for "
                   "every look"});
  set.Add("http_tls_ca", &http_tls_ca,
          {.zero = "off",
           .help = "PEM file with the CA of the routers' HTTP door, which speaks HTTPS"});
  set.Add("http_tls_name", &http_tls_name,
          {.zero = "as dialled", .help = "the name that the routers' HTTPS certificate is for"});
  set.Add("ttft_target", &ttft_target,
          {.min = 0.01,
           .max = 3600,
           .help = "time to the first token that nineteen in twenty requests are to have"});
  set.Add("itl_target", &itl_target,
          {.min = 0.001, .max = 60, .help = "time between tokens that requests are to have"});
  set.Add("catch_up", &catch_up,
          {.min = 0.1, .max = 3600, .help = "prompts that wait are to be computed after so long"});
  const Spec worker_count{.min = 0, .max = 4096};
  const auto count = [&](std::string key, int32_t* field, std::string help) {
    Spec spec = worker_count;
    spec.help = std::move(help);
    set.Add(std::move(key), field, std::move(spec));
  };
  count("prefill_min", &prefill_min, "prefill workers at least; 0: they may sleep");
  count("prefill_max", &prefill_max, "prefill workers at most; 0: decode workers compute prompts");
  set.Add("prefill_gpus", &prefill_gpus,
          {.min = 1, .max = 1024, .help = "GPUs of one prefill worker, for the budget"});
  count("decode_min", &decode_min, "decode workers at least; 0: they may sleep");
  set.Add("decode_max", &decode_max, {.min = 1, .max = 4096, .help = "decode workers at most"});
  set.Add("decode_gpus", &decode_gpus,
          {.min = 1, .max = 1024, .help = "GPUs of one decode worker, for the budget"});
  set.Add(
      "budget_gpus", &budget_gpus,
      {.min = 0, .max = 1 << 20, .zero = "none", .help = "GPUs of both pools together at most"});
  set.Add("interval", &interval,
          {.min = 0.05, .max = 3600, .help = "from one look at the routers to the next"});
  set.Add("recent", &recent,
          {.min = 0.1, .max = 3600, .help = "traffic of so long makes a pool larger"});
  set.Add("steady", &steady,
          {.min = 0.1,
           .max = 86400,
           .help = "a pool shrinks only when traffic of so long, too, needs less"});
  set.Add("margin_percent", &margin_percent,
          {.min = 0,
           .max = 400,
           .help = "a pool shrinks only to what would serve so much more traffic"});
  set.Add("cool_down_up", &cool_down_up,
          {.min = 0, .max = 86400, .help = "from one growth of a pool to the next"});
  set.Add("cool_down", &cool_down,
          {.min = 0,
           .max = 86400,
           .help = "a pool shrinks to the most it needed for so long, and so long after its last "
                   "change"});
  set.Add("stale_after", &stale_after,
          {.min = 0.1,
           .max = 86400,
           .help = "when no router has answered for so long, KEDA is told so instead of a number"});
  set.Add("dry_run", &dry_run,
          {.help = "on: publish plans, and answer KEDA with the workers there are", .bare = true});
  set.Add("ports_file", &ports_file,
          {.help = "write the bound addresses here as JSON once listening"});
  log.AddTo(set);
}

absl::Status PlannerOptions::Validate() const {
  if (routers.empty()) {
    return InvalidArgument("planner.routers is empty: name the routers' HTTP address");
  }
  RETURN_IF_ERROR(tls.Validate("planner"));
  if (http_tls_ca.empty() && !http_tls_name.empty()) {
    return InvalidArgument("planner.http_tls_name is of no use without planner.http_tls_ca");
  }
  RETURN_IF_ERROR(CheckMinimum("prefill", prefill_min, prefill_max));
  RETURN_IF_ERROR(CheckMinimum("decode", decode_min, decode_max));
  if (steady < recent) {
    return InvalidArgument("planner.steady must be at least planner.recent");
  }
  const int32_t least = prefill_min * prefill_gpus + decode_min * decode_gpus;
  if (budget_gpus == 0 || least <= budget_gpus) return absl::OkStatus();
  return InvalidArgument(
      "planner.budget_gpus is {}, less than the {} that prefill_min and decode_min take",
      budget_gpus, least);
}

}  // namespace baton::config
