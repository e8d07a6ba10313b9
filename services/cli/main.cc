// baton: the command line. Each command lives in a file of its own.
#include <string>
#include <string_view>
#include <vector>

#include "common/config/command_line.h"
#include "common/config/suggestion.h"
#include "fmt/format.h"
#include "services/cli/bench/bench_command.h"
#include "services/cli/chat_command.h"
#include "services/cli/check_command.h"
#include "services/cli/doctor/doctor_command.h"
#include "services/cli/drain_command.h"
#include "services/cli/models_command.h"
#include "services/cli/up/up_command.h"
#include "services/cli/why_command.h"

namespace {

struct Command {
  std::string_view name;
  std::string_view about;
  int (*run)(int argc, const char* const* argv);
};

constexpr Command kCommands[] = {
    {"up", "start a whole cluster on this machine", baton::cli::UpCommand},
    {"chat", "talk to a model, or ask one question", baton::cli::ChatCommand},
    {"models", "list the models that are served", baton::cli::ModelsCommand},
    {"why", "tell where a request ran, and why there", baton::cli::WhyCommand},
    {"drain", "have a worker hand over its requests, and leave", baton::cli::DrainCommand},
    {"doctor", "measure how KV travels, and say what stands in its way", baton::cli::DoctorCommand},
    {"check", "show a configuration and what it implies", baton::cli::CheckCommand},
    {"bench", "measure latency and throughput under load", baton::cli::BenchCommand},
};

void PrintHelp(std::FILE* to) {
  fmt::print(to,
             "baton: serve language models on a disaggregated prefill/decode cluster\n\n"
             "Usage: baton COMMAND [flags]\n\nCommands:\n");
  for (const Command& command : kCommands)
    fmt::print(to, "  {:<8} {}\n", command.name, command.about);
  fmt::print(to, "\n'baton COMMAND --help' tells about one of them.\n");
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view word = argc > 1 ? argv[1] : "";
  if (word == "--help" || word == "-h" || word == "help") return PrintHelp(stdout), 0;
  if (word == "--version") return fmt::print("baton {}\n", BATON_VERSION), 0;
  if (word.empty()) return PrintHelp(stderr), baton::config::kExitUsage;
  std::vector<std::string> names;
  for (const Command& command : kCommands) {
    if (command.name == word) return command.run(argc - 1, argv + 1);
    names.emplace_back(command.name);
  }
  fmt::print(stderr, "baton: unknown command '{}'{}\nTry 'baton --help'.\n", word,
             baton::config::DidYouMean(word, names));
  return baton::config::kExitUsage;
}
