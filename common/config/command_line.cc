#include "common/config/command_line.h"

#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>

#include "CLI/CLI.hpp"
#include "common/base/check.h"
#include "common/config/suggestion.h"

namespace baton::config {
namespace {

struct Flag {
  Option* option;
  std::string group;
};

// Help in our own shape: usage, groups, examples. Wide enough for our longest flag.
std::string HelpText(const Flag& flag) {
  const Option& option = *flag.option;
  std::string text = option.spec.help;
  if (!option.default_text.empty() && !option.spec.bare && !option.spec.required) {
    text += fmt::format(" [{}]", option.default_text);
  }
  if (!option.spec.env.empty()) text += fmt::format(" (env {})", option.spec.env);
  return text;
}

// One parse of one argv. Values are kept as text until their turn comes: the file first, then the
// environment, then the flags.
class Parse {
 public:
  Parse(const Program& program, std::vector<Flag> flags, bool takes_file);
  std::optional<Exit> Run(int argc, const char* const* argv);

  const std::string& file() const { return file_; }
  const std::vector<std::string>& assignments() const { return assignments_; }
  // Text given for an option by flag, if any.
  std::optional<Exit> Apply();
  Exit UsageError(const std::string& message) const;

 private:
  void Register(const Flag& flag);
  std::string ExtrasMessage() const;

  const Program& program_;
  std::vector<Flag> flags_;
  CLI::App app_;
  std::string file_;
  std::vector<std::string> assignments_;
  std::map<Option*, std::string> given_;
};

Parse::Parse(const Program& program, std::vector<Flag> flags, bool takes_file)
    : program_(program), flags_(std::move(flags)), app_(program.about, program.name) {
  app_.get_formatter()->column_width(40);
  app_.allow_extras();
  app_.set_help_flag("-h,--help", "show this text")->group("Help");
  if (!program.examples.empty()) app_.footer("Examples:\n" + program.examples);
  for (const Flag& flag : flags_) Register(flag);
  if (!takes_file) return;
  app_.add_option("--config", file_, "cluster file (YAML)")
      ->type_name("FILE")
      ->group("Cluster file");
  app_.add_option("--set", assignments_,
                  "any option of the cluster file, such as decode.kv_memory=1GiB")
      ->type_name("SECTION.KEY=VALUE")
      ->expected(1)
      ->take_all()
      ->group("Cluster file");
}

void Parse::Register(const Flag& flag) {
  Option* option = flag.option;
  const Spec& spec = option->spec;
  CLI::Option* added = nullptr;
  if (spec.bare) {
    added = app_.add_flag_callback(
        spec.flag, [this, option] { given_[option] = "on"; }, HelpText(flag));
  } else {
    added = app_.add_option_function<std::string>(
        spec.flag, [this, option](const std::string& text) { given_[option] = text; },
        HelpText(flag));
    added->type_name(option->type)->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  }
  if (spec.flag.starts_with("-")) added->group(flag.group);
}

std::optional<Exit> Parse::Run(int argc, const char* const* argv) {
  try {
    app_.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    return Exit{0, app_.help()};
  } catch (const CLI::Error& e) {
    return UsageError(e.what());
  }
  if (app_.remaining_size() > 0) return UsageError(ExtrasMessage());
  for (const Flag& flag : flags_) {
    if (flag.option->spec.required && !given_.contains(flag.option)) {
      return UsageError(fmt::format("{} is required", flag.option->spec.flag));
    }
  }
  return std::nullopt;
}

std::string Parse::ExtrasMessage() const {
  const std::string first = app_.remaining().front();
  if (!first.starts_with("-")) return fmt::format("unexpected argument '{}'", first);
  const std::string word = first.substr(0, first.find('='));
  std::vector<std::string> known = {"--help"};
  for (const CLI::Option* option : app_.get_options()) {
    for (const std::string& name : option->get_lnames()) known.push_back("--" + name);
  }
  return fmt::format("unknown flag '{}'{}", word, DidYouMean(word, known));
}

std::optional<Exit> Parse::Apply() {
  for (const Flag& flag : flags_) {
    auto it = given_.find(flag.option);
    if (it == given_.end()) continue;
    const std::string& name = flag.option->spec.flag;
    const absl::Status status = SetOption(*flag.option, it->second, Source::kFlag, name);
    if (!status.ok()) return UsageError(fmt::format("{} {}", name, MessageOf(status)));
  }
  return std::nullopt;
}

Exit Parse::UsageError(const std::string& message) const {
  return {kExitUsage,
          fmt::format("{}: {}\nTry '{} --help'.\n", program_.name, message, program_.name)};
}

// The general name stands for every section that has the option; the own name is more exact.
std::optional<Exit> ApplyEnvironment(const Program& program, const Environment& environment,
                                     const std::vector<OptionSet*>& sets) {
  for (OptionSet* set : sets) {
    for (Option& option : set->options()) {
      for (const std::string& name : {option.spec.env, option.own_env()}) {
        const char* text = name.empty() ? nullptr : environment(name);
        if (text == nullptr || *text == '\0') continue;
        const absl::Status status = SetOption(option, text, Source::kEnvironment, name);
        if (!status.ok()) {
          return Exit{kExitConfig, fmt::format("{}: environment variable {} {}\n", program.name,
                                               name, MessageOf(status))};
        }
      }
    }
  }
  return std::nullopt;
}

// "decode.kv_memory=1GiB"
std::optional<Exit> ApplyAssignment(const Parse& parse, const std::string& assignment,
                                    const ClusterOptions& options) {
  const size_t dot = assignment.find('.'), equals = assignment.find('=');
  if (dot == std::string::npos || equals == std::string::npos || dot > equals) {
    return parse.UsageError(fmt::format("--set must be SECTION.KEY=VALUE, got '{}'", assignment));
  }
  const std::string section = assignment.substr(0, dot), name = assignment.substr(0, equals);
  std::vector<std::string> names;
  for (OptionSet* set : options.schema()) {
    for (Option& option : set->options()) {
      names.push_back(option.name());
      if (option.name() != name) continue;
      const absl::Status status =
          SetOption(option, assignment.substr(equals + 1), Source::kFlag, "--set");
      if (status.ok()) return std::nullopt;
      return parse.UsageError(fmt::format("--set {} {}", name, MessageOf(status)));
    }
  }
  return parse.UsageError(
      fmt::format("--set: there is no option '{}'{}", name, DidYouMean(name, names)));
}

std::vector<Flag> FlagsOf(const Program& program, const ClusterOptions& options) {
  std::vector<Flag> flags;
  for (const std::string& section : program.sections) {
    OptionSet& set = options.section(section);
    for (Option& option : set.options()) flags.push_back({&option, set.about()});
  }
  for (const std::string& extra : program.extras) {
    const size_t dot = extra.find('.');
    OptionSet& set = options.section(extra.substr(0, dot));
    Option* option = set.Find(extra.substr(dot + 1));
    CHECK(option != nullptr, "no option {}", extra);
    flags.push_back({option, set.about()});
  }
  return flags;
}

}  // namespace

Environment ProcessEnvironment() {
  return [](const std::string& name) { return std::getenv(name.c_str()); };
}

std::optional<Exit> ParseCommandLine(const Program& program, int argc, const char* const* argv,
                                     const Environment& environment, ClusterOptions& options) {
  Parse parse(program, FlagsOf(program, options), /*takes_file=*/true);
  if (auto exit = parse.Run(argc, argv)) return exit;
  if (!parse.file().empty()) {
    const absl::Status status = ReadClusterFile(parse.file(), options.schema());
    if (!status.ok()) return Exit{kExitConfig, MessageOf(status) + "\n"};
  }
  if (auto exit = ApplyEnvironment(program, environment, options.schema())) return exit;
  for (const std::string& assignment : parse.assignments()) {
    if (auto exit = ApplyAssignment(parse, assignment, options)) return exit;
  }
  return parse.Apply();
}

std::optional<Exit> ParseCommandLine(const Program& program, int argc, const char* const* argv,
                                     const Environment& environment,
                                     const std::vector<OptionSet*>& sets) {
  std::vector<Flag> flags;
  for (OptionSet* set : sets) {
    for (Option& option : set->options()) flags.push_back({&option, set->about()});
  }
  Parse parse(program, std::move(flags), /*takes_file=*/false);
  if (auto exit = parse.Run(argc, argv)) return exit;
  if (auto exit = ApplyEnvironment(program, environment, sets)) return exit;
  return parse.Apply();
}

int Leave(const Exit& exit) {
  std::fputs(exit.text.c_str(), exit.code == 0 ? stdout : stderr);
  return exit.code;
}

std::string EffectiveText(const std::vector<const OptionSet*>& sections, bool only_changed) {
  std::string text;
  for (const OptionSet* set : sections) {
    for (const Option& option : set->options()) {
      if (only_changed && option.source == Source::kDefault) continue;
      const std::string origin = option.source == Source::kDefault ? "default" : option.origin;
      text += fmt::format("{:<34} {:<24} {}\n", option.name(), option.format(), origin);
    }
  }
  return text;
}

}  // namespace baton::config
