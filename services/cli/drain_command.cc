#include "services/cli/drain_command.h"

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/clock.h"
#include "common/config/command_line.h"
#include "common/config/units.h"
#include "common/http/http_call.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"
#include "services/cli/door_options.h"

namespace baton::cli {
namespace {

using nlohmann::json;

constexpr absl::Duration kPatience = absl::Seconds(10);  // for one answer
constexpr absl::Duration kLookEvery = absl::Milliseconds(100);
constexpr absl::Duration kSayEvery = absl::Seconds(1);

struct DrainOptions {
  config::Address http{"127.0.0.1", 8000};
  DoorOptions door;
  absl::Duration timeout = absl::Minutes(2);
  bool no_wait = false;
};

// Its id.
absl::StatusOr<std::string> Ask(const DrainOptions& options, const std::string& worker) {
  ASSIGN_OR_RETURN(const http::Reply reply,
                   http::Call(options.door.Http(options.http), "POST", "/admin/drain",
                              json{{"worker", worker}}.dump(), kPatience));
  const json answer = json::parse(reply.body, nullptr, /*allow_exceptions=*/false);
  if (reply.status == 202 && answer.is_object()) return answer.value("worker", worker);
  const std::string message = http::ErrorMessageOf(reply);
  if (!message.empty()) return NotFound("{}", message);
  return Unavailable("{} answers {}", options.http.text(), reply.status);
}

// Sequences that run or wait on it, as last reported; nothing when it has left.
absl::StatusOr<std::optional<int>> SequencesOn(const DrainOptions& options, const std::string& id) {
  ASSIGN_OR_RETURN(const http::Reply reply,
                   http::Get(options.door.Http(options.http), "/debug/cluster", kPatience));
  const json page = json::parse(reply.body, nullptr, /*allow_exceptions=*/false);
  if (!page.is_object() || !page.contains("workers")) {
    return Unavailable("{} has no /debug/cluster", options.http.text());
  }
  for (const json& worker : page["workers"]) {
    if (worker.value("id", "") != id) continue;
    const json load = worker.value("load", json::object());
    return load.value("running", 0) + load.value("waiting", 0);
  }
  return std::nullopt;
}

absl::Status WaitUntilGone(const DrainOptions& options, const std::string& id) {
  const absl::Time began = absl::Now();
  absl::Time say_at = began;
  while (true) {
    ASSIGN_OR_RETURN(const std::optional<int> left, SequencesOn(options, id));
    const absl::Time now = absl::Now();
    if (!left) {
      fmt::print("{} has left after {}\n", id,
                 config::DurationText(absl::Trunc(now - began, absl::Milliseconds(1))));
      return absl::OkStatus();
    }
    if (now - began > options.timeout) {
      return absl::DeadlineExceededError(
          fmt::format("{} has not left within {}; {} sequences are still there", id,
                      config::DurationText(options.timeout), *left));
    }
    if (now >= say_at) {
      fmt::print("{} drains: {} sequences\n", id, *left);
      std::fflush(stdout);
      say_at = now + kSayEvery;
    }
    absl::SleepFor(kLookEvery);
  }
}

absl::Status Drain(const DrainOptions& options, const std::string& worker) {
  ASSIGN_OR_RETURN(const std::string id, Ask(options, worker));
  if (!options.no_wait) return WaitUntilGone(options, id);
  fmt::print("{} drains\n", id);
  return absl::OkStatus();
}

}  // namespace

int DrainCommand(int argc, const char* const* argv) {
  std::vector<const char*> flags(argv, argv + argc);
  std::string worker;
  if (argc > 1 && !std::string_view(argv[1]).starts_with("-")) {
    worker = argv[1];
    flags.erase(flags.begin() + 1);
  }
  DrainOptions options;
  config::OptionSet set("drain", "Options");
  set.Add("http", &options.http, {.help = "HTTP door of a router that the worker is attached to"});
  options.door.AddKeyTo(set);
  options.door.AddHttpTo(set);
  set.Add("timeout", &options.timeout, {.help = "wait so long for it to leave"});
  set.Add("no_wait", &options.no_wait, {.help = "only ask", .bare = true});
  const config::Program program{
      .name = "baton drain WORKER",
      .about =
          "Has a worker take nothing new, hand its running requests over to others together "
          "with their\nKV cache, and leave, as SIGTERM does. What nobody else has room for "
          "runs to its end there,\nwithin the worker's --drain-timeout. A supervisor ('baton "
          "up', Kubernetes) may start it again.",
      .examples =
          "  baton drain decode-0            by name\n"
          "  baton drain decode-0@4f1c2a07   by id, when two have the name\n"};
  if (auto exit = config::ParseCommandLine(program, static_cast<int>(flags.size()), flags.data(),
                                           config::ProcessEnvironment(), {&set})) {
    return config::Leave(*exit);
  }
  if (worker.empty()) {
    fmt::print(stderr, "baton drain: name a worker, as in 'baton drain decode-0'\n");
    return config::kExitUsage;
  }
  const absl::Status status = Drain(options, worker);
  if (status.ok()) return 0;
  fmt::print(stderr, "baton drain: {}\n", MessageOf(status));
  return 1;
}

}  // namespace baton::cli
