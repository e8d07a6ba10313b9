#include "services/cli/why_report.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/config/units.h"
#include "nlohmann/json.hpp"

namespace baton::cli {
namespace {

using Json = nlohmann::json;

std::string Ms(const Json& value) {
  return value.is_number() ? fmt::format("{:.1f}", value.get<double>()) : "-";
}

std::string Or(const Json& value, const char* otherwise) {
  const auto text = value.get<std::string>();
  return text.empty() ? otherwise : text;
}

bool IsChosen(const Json& decision, const Json& candidate) {
  const Json& prefill = decision.at("prefill");
  return candidate.at("decode") == decision.at("decode") &&
         candidate.at("prefill") == (prefill.empty() ? Json("") : prefill.at(0));
}

std::string CandidatesText(const Json& decision) {
  constexpr const char* kRow =
      "  {} {:<22} {:<22} {:>7} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}\n";
  if (decision.at("candidates").empty()) return "  the policy compares no estimates\n";
  std::string text = fmt::format(kRow, ' ', "DECODE", "PREFILL", "CACHED", "QUEUE", "PREFILL",
                                 "DECODE", "HARM", "CROWD", "TTFT", "TOTAL");
  for (const Json& candidate : decision.at("candidates")) {
    text += fmt::format(
        fmt::runtime(kRow), IsChosen(decision, candidate) ? '*' : ' ',
        candidate.at("decode").get<std::string>(), Or(candidate.at("prefill"), "(the same)"),
        std::max(candidate.at("cached_tokens_decode").get<int>(),
                 candidate.at("cached_tokens_prefill").get<int>()),
        Ms(candidate.at("queue_ms")), Ms(candidate.at("prefill_ms")), Ms(candidate.at("decode_ms")),
        Ms(candidate.at("harm_ms")), Ms(candidate.at("crowding_ms")), Ms(candidate.at("ttft_ms")),
        Ms(candidate.at("total_ms")));
  }
  return text + "  estimates in ms; CACHED in tokens; * was chosen\n";
}

const Json* ChosenOf(const Json& decision) {
  for (const Json& candidate : decision.at("candidates")) {
    if (IsChosen(decision, candidate)) return &candidate;
  }
  return nullptr;
}

// Why here, if a prefill worker was meant to.
std::string ComputedHereText(const Json& decision, const Json& measured) {
  if (decision.at("prefill").empty()) return "computed on the decode worker";
  return measured.at("failures").empty()
             ? "computed on the decode worker: its cache left a block at most when its turn came"
             : "computed on the decode worker: nobody delivered";
}

// The other way round: it was meant to be computed here.
std::string TurnedText(const Json& decision) {
  if (!decision.at("prefill").empty()) return "";
  return fmt::format("; the prompts ahead here would have taken more than {} ms",
                     Ms(decision.at("local_wait_max_ms")));
}

std::string FailuresText(const Json& failures) {
  std::string text;
  for (const Json& failure : failures) {
    text +=
        fmt::format("  {} did not deliver: {}\n", failure.at("prefill_worker").get<std::string>(),
                    failure.at("message").get<std::string>());
  }
  return text;
}

std::string ComparedText(const Json& placement) {
  const Json& measured = placement.at("measured");
  if (measured.is_null()) return "  the worker has not spoken of a token\n";
  const Json* chosen = ChosenOf(placement.at("decision"));
  const auto expected = [&](const char* key) { return chosen ? Ms(chosen->at(key)) : "-"; };
  constexpr const char* kRow = "  {:<12} {:>12} {:>12}   {}\n";
  const auto prefill_worker = measured.at("prefill_worker").get<std::string>();
  const std::string how =
      prefill_worker.empty()
          ? ComputedHereText(placement.at("decision"), measured)
          : fmt::format("computed on {}; {} of KV, {} ms of its way not hidden{}", prefill_worker,
                        config::RoundedBytesText(measured.at("kv_bytes").get<int64_t>()),
                        Ms(measured.at("kv_exposed_ms")), TurnedText(placement.at("decision")));
  const auto cached = measured.at("cached_tokens").get<int>();
  const auto preemptions = measured.at("preemptions").get<int>();
  return fmt::format("  {:<12} {:>12} {:>12}\n", "", "EXPECTED ms", "MEASURED ms") +
         fmt::format(kRow, "queue", expected("queue_ms"), Ms(measured.at("queued_ms")),
                     fmt::format("preempted {} times", preemptions)) +
         fmt::format(kRow, "prefill", expected("prefill_ms"), Ms(measured.at("prefill_ms")),
                     cached > 0 ? fmt::format("{}; {} tokens were cached", how, cached) : how) +
         FailuresText(measured.at("failures"));
}

std::string PlacementText(const Json& placement) {
  const Json& decision = placement.at("decision");
  const Json& prefill = decision.at("prefill");
  std::string text = fmt::format(
      "\nPlaced {} ms after it came, by policy {}: {}\n  decode {}, prefill {}\n\n",
      Ms(placement.at("after_ms")), decision.at("policy").get<std::string>(),
      decision.at("reason").get<std::string>(), decision.at("decode").get<std::string>(),
      prefill.empty() ? "there too" : prefill.at(0).get<std::string>());
  text += CandidatesText(decision) + "\n" + ComparedText(placement);
  const auto left = placement.at("left_because").get<std::string>();
  if (!left.empty()) text += fmt::format("  went on elsewhere: {}\n", left);
  return text;
}

std::string RequestText(const Json& json) {
  std::string text = fmt::format(
      "Request {}: {}\n  model {}, {} prompt tokens, {} tokens generated\n"
      "  first token after {} ms, {} ms in all\n",
      json.at("request").get<std::string>(), json.at("state").get<std::string>(),
      json.at("model").get<std::string>(), json.at("prompt_tokens").get<int>(),
      json.at("completion_tokens").get<int>(), Ms(json.at("ttft_ms")), Ms(json.at("total_ms")));
  if (json.contains("router_queue_ms") && json["router_queue_ms"].is_number()) {
    text += fmt::format("  waited {} ms in the router's queue, as tenant {}\n",
                        Ms(json["router_queue_ms"]), json.at("tenant").get<std::string>());
  }
  if (json.contains("error"))
    text += fmt::format("  error: {}\n", json["error"].get<std::string>());
  const Json& placements = json.at("placements");
  if (placements.empty()) text += "\nIt was never placed.\n";
  const int left_out = json.at("placements_total").get<int>() - static_cast<int>(placements.size());
  for (const Json& placement : placements) {
    text += PlacementText(placement);
    if (left_out > 0 && &placement == &placements.front()) {
      text += fmt::format("\n… {} placements that are not kept …\n", left_out);
    }
  }
  return text;
}

}  // namespace

absl::StatusOr<std::string> WhyText(const std::string& json) {
  try {
    return RequestText(Json::parse(json));
  } catch (const Json::exception& error) {
    return InvalidArgument("the router's answer cannot be understood: {}", error.what());
  }
}

}  // namespace baton::cli
