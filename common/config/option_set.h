#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "common/base/status.h"
#include "common/config/address.h"
#include "common/config/device.h"
#include "common/config/units.h"

namespace baton::config {

// Later beats earlier.
enum class Source : uint8_t { kDefault, kYaml, kEnvironment, kFlag };

// What an option is called and what it may hold. Everything has a sensible value when left out.
struct Spec {
  std::string flag;  // "--max-batch-size"; empty: "--" + key with dashes; no dashes: positional
  std::string env;   // besides the one every option has, BATON_<SECTION>_<KEY>
  double min = std::numeric_limits<double>::lowest();  // in the field's unit; durations in seconds
  double max = std::numeric_limits<double>::max();
  std::string zero;  // a word for 0 or "", such as "auto" or "off"
  std::string help;  // what it is; unit; the flag's group is the section
  bool required = false;
  bool bare = false;  // bool flags without a value: "--verbose"
};

// One value with its name, range and present setting.
struct Option {
  std::string key;      // "batch_sequences_max"
  std::string section;  // "decode"; empty outside of a cluster file
  Spec spec;
  std::string type;  // "BYTES", "DURATION", "N", "on|off", "cost|random", …
  bool list = false;
  bool map = false;  // names with a value each: a map in a cluster file
  Source source = Source::kDefault;
  std::string origin;  // "--max-batch-size", "MAX_BATCH_SIZE", "cluster.yaml:12"
  std::string default_text;

  // Sets the field from text. Errors read as the end of a sentence: "must be between 1 and 4096,
  // got 0".
  std::function<absl::Status(std::string_view text)> parse;
  std::function<std::string()> format;

  std::string name() const { return section.empty() ? key : section + "." + key; }
  // "BATON_DECODE_BATCH_SEQUENCES_MAX"
  std::string own_env() const;
};

// The options of one section, declared once: flag, environment variable, YAML key, range, help text
// and printed value all come from here. Points into the caller's struct, which must outlive the
// set. Not thread-safe; used at start-up.
class OptionSet {
 public:
  explicit OptionSet(std::string section, std::string about = "")
      : section_(std::move(section)), about_(std::move(about)) {}
  OptionSet(const OptionSet&) = delete;
  OptionSet& operator=(const OptionSet&) = delete;

  // The field's value at this moment is the default.
  void Add(std::string key, int32_t* field, Spec spec);
  void Add(std::string key, int64_t* field, Spec spec);
  void Add(std::string key, double* field, Spec spec);
  void Add(std::string key, bool* field, Spec spec);  // on|off, true|false, yes|no
  void Add(std::string key, std::string* field, Spec spec);
  void Add(std::string key, absl::Duration* field, Spec spec);
  void Add(std::string key, Bytes* field, Spec spec);
  void Add(std::string key, Address* field, Spec spec);  // "" = none when spec.zero is set
  void Add(std::string key, Device* field, Spec spec);
  void Add(std::string key, std::vector<Address>* field, Spec spec);  // comma-separated
  // "name=value,name=value", each name once; names may hold '='.
  void Add(std::string key, std::map<std::string, std::string>* field, Spec spec);
  // The same with numbers.
  void Add(std::string key, std::map<std::string, double>* field, Spec spec);
  void Add(std::string key, std::map<std::string, int64_t>* field, Spec spec);
  // By name: {{"auto", Mode::kAuto}, {"swap", Mode::kSwap}}.
  template <typename E>
  void Add(std::string key, E* field, const std::vector<std::pair<std::string, E>>& names,
           Spec spec);

  const std::string& section() const { return section_; }
  const std::string& about() const { return about_; }
  std::vector<Option>& options() { return options_; }
  const std::vector<Option>& options() const { return options_; }
  // Null when there is none.
  Option* Find(std::string_view key);
  std::vector<std::string> keys() const;

  // "--flag=value" of everything that was set by anybody: what a child process needs to be told.
  std::vector<std::string> AsFlags() const;

 private:
  // One of `words`, by position.
  void AddChoice(std::string key, std::vector<std::string> words, std::function<void(size_t)> set,
                 std::function<size_t()> get, Spec spec);
  // `option` comes with type, parse and format.
  void Insert(std::string key, Spec spec, Option option);

  std::string section_;
  std::string about_;
  std::vector<Option> options_;
};

// Sets one option and remembers where the value came from, unless a stronger source did already.
// Errors name neither option nor origin: the caller knows how its user called it.
absl::Status SetOption(Option& option, std::string_view text, Source source, std::string origin);

template <typename E>
void OptionSet::Add(std::string key, E* field, const std::vector<std::pair<std::string, E>>& names,
                    Spec spec) {
  std::vector<std::string> words;
  std::vector<E> values;
  for (const auto& [word, value] : names) {
    words.push_back(word);
    values.push_back(value);
  }
  auto get = [field, values] {
    for (size_t i = 0; i < values.size(); ++i) {
      if (values[i] == *field) return i;
    }
    return size_t{0};
  };
  AddChoice(
      std::move(key), std::move(words), [field, values](size_t i) { *field = values[i]; }, get,
      std::move(spec));
}

}  // namespace baton::config
