#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "common/config/cluster_options.h"
#include "common/config/option_set.h"

namespace baton::config {

// Exit codes that a supervisor may rely on: starting again will not help.
inline constexpr int kExitUsage = 2;    // a wrong flag
inline constexpr int kExitConfig = 78;  // a wrong file, variable or model (EX_CONFIG)

struct Program {
  std::string name;      // "baton-decode-worker"
  std::string about;     // one sentence
  std::string examples;  // lines, shown under the options
  // Sections whose options are flags of this program.
  std::vector<std::string> sections;
  // Single options of other sections that are flags too: "router.http".
  std::vector<std::string> extras;
};

// Value of an environment variable, or null.
using Environment = std::function<const char*(const std::string&)>;
Environment ProcessEnvironment();

// What main() prints before it leaves with `code`; help goes to stdout, errors to stderr.
struct Exit {
  int code = 0;
  std::string text;
};

// Fills `options`: flag beats environment beats --config FILE beats default. --set
// SECTION.KEY=VALUE reaches every option. Nothing: go on. Otherwise help was asked for (code 0), a
// flag is wrong (kExitUsage) or the file or the environment is (kExitConfig).
std::optional<Exit> ParseCommandLine(const Program& program, int argc, const char* const* argv,
                                     const Environment& environment, ClusterOptions& options);

// The same for a command without a cluster file: flags and environment into the sets' fields.
std::optional<Exit> ParseCommandLine(const Program& program, int argc, const char* const* argv,
                                     const Environment& environment,
                                     const std::vector<OptionSet*>& sets);

// Prints and returns the exit code, for main(): if (exit) return Leave(*exit);
int Leave(const Exit& exit);

// "decode.batch_sequences_max = 8   (MAX_BATCH_SIZE)", one line per option of the sections.
std::string EffectiveText(const std::vector<const OptionSet*>& sections, bool only_changed = false);

}  // namespace baton::config
