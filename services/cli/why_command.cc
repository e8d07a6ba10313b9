#include "services/cli/why_command.h"

#include <string_view>
#include <vector>

#include "common/config/command_line.h"
#include "common/http/http_call.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"
#include "services/cli/door_options.h"
#include "services/cli/why_report.h"

namespace baton::cli {
namespace {

constexpr absl::Duration kAnswersWithin = absl::Seconds(10);

struct WhyOptions {
  config::Address http{"127.0.0.1", 8000};
  DoorOptions door;
  bool json = false;
};

absl::StatusOr<std::string> Get(const WhyOptions& options, const std::string& path) {
  ASSIGN_OR_RETURN(http::Reply reply,
                   http::Get(options.door.Http(options.http), path, kAnswersWithin));
  if (reply.status == 200) return std::move(reply.body);
  const std::string message = http::ErrorMessageOf(reply);
  if (!message.empty()) return NotFound("{}", message);
  return Unavailable("{} answers {}", options.http.text(), reply.status);
}

// Of the request that came last.
absl::StatusOr<std::string> LatestRequest(const WhyOptions& options) {
  ASSIGN_OR_RETURN(const std::string body, Get(options, "/debug/requests"));
  const auto json = nlohmann::json::parse(body, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("requests") || json["requests"].empty()) {
    return NotFound("the router has had no request yet");
  }
  return json["requests"][0].value("request", "");
}

absl::StatusOr<std::string> Why(const WhyOptions& options, std::string request) {
  if (request.empty()) {
    ASSIGN_OR_RETURN(request, LatestRequest(options));
  }
  ASSIGN_OR_RETURN(std::string body, Get(options, "/debug/requests/" + request));
  if (options.json) return body + "\n";
  return WhyText(body);
}

}  // namespace

int WhyCommand(int argc, const char* const* argv) {
  std::vector<const char*> flags(argv, argv + argc);
  std::string request;
  if (argc > 1 && !std::string_view(argv[1]).starts_with("-")) {
    request = argv[1];
    flags.erase(flags.begin() + 1);
  }
  WhyOptions options;
  config::OptionSet set("why", "Options");
  set.Add("http", &options.http, {.help = "HTTP door of the router"});
  options.door.AddKeyTo(set);
  options.door.AddHttpTo(set);
  set.Add("json", &options.json, {.help = "as /debug/requests/ID has it", .bare = true});
  const config::Program program{
      .name = "baton why [REQUEST]",
      .about = "Tells where a request ran, why there, and what happened beside what was expected.",
      .examples =
          "  baton why                          the latest request\n"
          "  baton why chatcmpl-65f1a2b3000001  by the id of its answer\n"
          "  baton why mine                     by the X-Request-Id it came with\n"};
  if (auto exit = config::ParseCommandLine(program, static_cast<int>(flags.size()), flags.data(),
                                           config::ProcessEnvironment(), {&set})) {
    return config::Leave(*exit);
  }
  const auto text = Why(options, request);
  if (!text.ok()) {
    fmt::print(stderr, "baton why: {}\n", MessageOf(text.status()));
    return 1;
  }
  fmt::print("{}", *text);
  return 0;
}

}  // namespace baton::cli
