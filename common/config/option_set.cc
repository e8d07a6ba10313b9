#include "common/config/option_set.h"

#include <cctype>
#include <charconv>
#include <cmath>

#include "common/base/check.h"
#include "common/config/suggestion.h"

namespace baton::config {
namespace {

// Numbers as people write them in help texts: 4096, 0.5, not 4096.000000.
std::string Plain(double value) { return fmt::format("{:.12g}", value); }

using Limit = std::function<std::string(double)>;

absl::Status CheckRange(const Spec& spec, double value, std::string_view text, const Limit& show) {
  if (value >= spec.min && value <= spec.max) return absl::OkStatus();
  if (spec.max == std::numeric_limits<double>::max()) {
    return InvalidArgument("must be at least {}, got {}", show(spec.min), text);
  }
  if (spec.min == std::numeric_limits<double>::lowest()) {
    return InvalidArgument("must be at most {}, got {}", show(spec.max), text);
  }
  return InvalidArgument("must be between {} and {}, got {}", show(spec.min), show(spec.max), text);
}

bool IsZeroWord(const Spec& spec, std::string_view text) {
  return !spec.zero.empty() && text == spec.zero;
}

template <typename Int>
absl::StatusOr<Int> ParseWhole(std::string_view text) {
  Int value = 0;
  const char* end = text.data() + text.size();
  auto [rest, error] = std::from_chars(text.data(), end, value);
  if (error == std::errc::result_out_of_range) {
    return InvalidArgument("must fit into {} bits, got {}", sizeof(Int) * 8, text);
  }
  if (error != std::errc() || rest != end) {
    return InvalidArgument("must be a whole number, got '{}'", text);
  }
  return value;
}

template <typename Int>
Option WholeOption(Int* field, const Spec& spec) {
  Option option;
  option.type = "N";
  option.parse = [field, spec](std::string_view text) -> absl::Status {
    Int value = 0;
    if (!IsZeroWord(spec, text)) {
      ASSIGN_OR_RETURN(value, ParseWhole<Int>(text));
      RETURN_IF_ERROR(CheckRange(spec, static_cast<double>(value), text, Plain));
    }
    *field = value;
    return absl::OkStatus();
  };
  option.format = [field, zero = spec.zero]() -> std::string {
    return *field == 0 && !zero.empty() ? zero : std::to_string(*field);
  };
  return option;
}

// What stands between commas, without blanks around it; nothing for nothing.
std::vector<std::string_view> SplitList(std::string_view text) {
  std::vector<std::string_view> items;
  while (!text.empty()) {
    const size_t comma = text.find(',');
    std::string_view one = text.substr(0, comma);
    text = comma == std::string_view::npos ? "" : text.substr(comma + 1);
    while (one.starts_with(' ')) one.remove_prefix(1);
    while (one.ends_with(' ')) one.remove_suffix(1);
    if (!one.empty()) items.push_back(one);
  }
  return items;
}

absl::StatusOr<std::vector<Address>> ParseAddresses(std::string_view text) {
  std::vector<Address> addresses;
  for (const std::string_view one : SplitList(text)) {
    ASSIGN_OR_RETURN(Address address, ParseAddress(one));
    addresses.push_back(std::move(address));
  }
  return addresses;
}

absl::StatusOr<double> ParseReal(std::string_view text) {
  double value = 0;
  const char* end = text.data() + text.size();
  auto [rest, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || rest != end || !std::isfinite(value)) {
    return InvalidArgument("must be a number, got '{}'", text);
  }
  return value;
}

absl::StatusOr<std::map<std::string, std::string>> ParseMap(std::string_view text) {
  std::map<std::string, std::string> map;
  for (const std::string_view one : SplitList(text)) {
    const size_t equals = one.rfind('=');
    if (equals == std::string_view::npos || equals == 0 || equals + 1 == one.size()) {
      return InvalidArgument("must be NAME=VALUE, got '{}'", one);
    }
    const std::string name(one.substr(0, equals));
    if (!map.emplace(name, one.substr(equals + 1)).second) {
      return InvalidArgument("gives '{}' twice", name);
    }
  }
  return map;
}

// Names with a value each; `read` and `show` are a value's way from and to text.
template <typename Value, typename Read, typename Show>
Option MapOption(std::map<std::string, Value>* field, const Spec& spec, std::string type, Read read,
                 Show show) {
  Option option;
  option.type = std::move(type);
  option.map = true;
  option.parse = [field, spec, read](std::string_view text) -> absl::Status {
    std::map<std::string, Value> map;
    if (!IsZeroWord(spec, text)) {
      ASSIGN_OR_RETURN(const auto words, ParseMap(text));
      for (const auto& [name, word] : words) {
        const absl::StatusOr<Value> value = read(word);
        if (!value.ok()) {
          return InvalidArgument("gives '{}' a value that {}", name, MessageOf(value.status()));
        }
        map[name] = *value;
      }
    }
    *field = std::move(map);
    return absl::OkStatus();
  };
  option.format = [field, zero = spec.zero, show]() -> std::string {
    std::string text;
    for (const auto& [name, value] : *field) {
      text += fmt::format("{}{}={}", text.empty() ? "" : ",", name, show(value));
    }
    return text.empty() ? zero : text;
  };
  return option;
}

}  // namespace

std::string Option::own_env() const {
  std::string env = section.empty() ? "BATON_" + key : "BATON_" + section + "_" + key;
  for (char& c : env) {
    c = c == '-' || c == '.' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return env;
}

void OptionSet::Insert(std::string key, Spec spec, Option option) {
  option.key = std::move(key);
  option.spec = std::move(spec);
  CHECK(Find(option.key) == nullptr, "option {} twice in section '{}'", option.key, section_);
  option.section = section_;
  if (option.spec.flag.empty()) {
    option.spec.flag = "--" + option.key;
    for (char& c : option.spec.flag) {
      if (c == '_') c = '-';
    }
  }
  option.default_text = option.format();
  options_.push_back(std::move(option));
}

void OptionSet::Add(std::string key, int32_t* field, Spec spec) {
  Option option = WholeOption(field, spec);
  Insert(std::move(key), std::move(spec), std::move(option));
}

void OptionSet::Add(std::string key, int64_t* field, Spec spec) {
  Option option = WholeOption(field, spec);
  Insert(std::move(key), std::move(spec), std::move(option));
}

void OptionSet::Add(std::string key, double* field, Spec spec) {
  Option option;
  option.type = "X";
  option.parse = [field, spec](std::string_view text) -> absl::Status {
    double value = 0;
    if (!IsZeroWord(spec, text)) {
      ASSIGN_OR_RETURN(value, ParseReal(text));
      RETURN_IF_ERROR(CheckRange(spec, value, text, Plain));
    }
    *field = value;
    return absl::OkStatus();
  };
  option.format = [field, zero = spec.zero]() -> std::string {
    return *field == 0 && !zero.empty() ? zero : Plain(*field);
  };
  Insert(std::move(key), std::move(spec), std::move(option));
}

void OptionSet::Add(std::string key, bool* field, Spec spec) {
  Option option;
  option.type = "on|off";
  option.parse = [field](std::string_view text) -> absl::Status {
    for (std::string_view yes : {"on", "true", "yes"}) {
      if (text == yes) return *field = true, absl::OkStatus();
    }
    for (std::string_view no : {"off", "false", "no"}) {
      if (text == no) return *field = false, absl::OkStatus();
    }
    return InvalidArgument("must be on or off, got '{}'", text);
  };
  option.format = [field] { return std::string(*field ? "on" : "off"); };
  Insert(std::move(key), std::move(spec), std::move(option));
}

void OptionSet::Add(std::string key, std::string* field, Spec spec) {
  Option option;
  option.type = "TEXT";
  option.parse = [field, spec](std::string_view text) -> absl::Status {
    if (text.find('\0') != std::string_view::npos) {
      return InvalidArgument("must not contain a zero byte");
    }
    *field = IsZeroWord(spec, text) ? "" : std::string(text);
    return absl::OkStatus();
  };
  option.format = [field, zero = spec.zero]() -> std::string {
    return field->empty() ? zero : *field;
  };
  Insert(std::move(key), std::move(spec), std::move(option));
}

void OptionSet::Add(std::string key, absl::Duration* field, Spec spec) {
  Option option;
  option.type = "DURATION";
  auto show = [](double seconds) { return DurationText(absl::Seconds(seconds)); };
  option.parse = [field, spec, show](std::string_view text) -> absl::Status {
    absl::Duration value;
    if (!IsZeroWord(spec, text)) {
      ASSIGN_OR_RETURN(value, ParseDuration(text));
      RETURN_IF_ERROR(CheckRange(spec, absl::ToDoubleSeconds(value), text, show));
    }
    *field = value;
    return absl::OkStatus();
  };
  option.format = [field, zero = spec.zero]() -> std::string {
    return *field == absl::ZeroDuration() && !zero.empty() ? zero : DurationText(*field);
  };
  Insert(std::move(key), std::move(spec), std::move(option));
}

void OptionSet::Add(std::string key, Bytes* field, Spec spec) {
  Option option;
  option.type = "BYTES";
  auto show = [](double count) { return BytesText({static_cast<int64_t>(count)}); };
  option.parse = [field, spec, show](std::string_view text) -> absl::Status {
    Bytes value;
    if (!IsZeroWord(spec, text)) {
      ASSIGN_OR_RETURN(value, ParseBytes(text));
      RETURN_IF_ERROR(CheckRange(spec, static_cast<double>(value.count), text, show));
    }
    *field = value;
    return absl::OkStatus();
  };
  option.format = [field, zero = spec.zero]() -> std::string {
    return field->count == 0 && !zero.empty() ? zero : BytesText(*field);
  };
  Insert(std::move(key), std::move(spec), std::move(option));
}

void OptionSet::Add(std::string key, Address* field, Spec spec) {
  Option option;
  option.type = "ADDRESS";
  option.parse = [field, spec](std::string_view text) -> absl::Status {
    Address value;
    if (!IsZeroWord(spec, text)) {
      ASSIGN_OR_RETURN(value, ParseAddress(text));
    }
    *field = std::move(value);
    return absl::OkStatus();
  };
  option.format = [field, zero = spec.zero]() -> std::string {
    return field->empty() ? zero : field->text();
  };
  Insert(std::move(key), std::move(spec), std::move(option));
}

void OptionSet::Add(std::string key, Device* field, Spec spec) {
  Option option;
  option.type = "DEVICE";
  option.parse = [field](std::string_view text) -> absl::Status {
    ASSIGN_OR_RETURN(*field, ParseDevice(text));
    return absl::OkStatus();
  };
  option.format = [field] { return field->text(); };
  Insert(std::move(key), std::move(spec), std::move(option));
}

void OptionSet::Add(std::string key, std::vector<Address>* field, Spec spec) {
  Option option;
  option.type = "ADDRESS[,ADDRESS…]";
  option.list = true;
  option.parse = [field, spec](std::string_view text) -> absl::Status {
    std::vector<Address> value;
    if (!IsZeroWord(spec, text)) {
      ASSIGN_OR_RETURN(value, ParseAddresses(text));
      if (value.empty() && spec.zero.empty()) {
        return InvalidArgument("must name at least one address");
      }
    }
    *field = std::move(value);
    return absl::OkStatus();
  };
  option.format = [field, zero = spec.zero]() -> std::string {
    std::string text;
    for (const Address& address : *field) text += (text.empty() ? "" : ",") + address.text();
    return text.empty() ? zero : text;
  };
  Insert(std::move(key), std::move(spec), std::move(option));
}

void OptionSet::Add(std::string key, std::map<std::string, std::string>* field, Spec spec) {
  const auto same = [](const std::string& value) { return value; };
  Option option = MapOption(field, spec, "NAME=VALUE[,…]", same, same);
  Insert(std::move(key), std::move(spec), std::move(option));
}

void OptionSet::Add(std::string key, std::map<std::string, double>* field, Spec spec) {
  Option option = MapOption(field, spec, "NAME=X[,…]", ParseReal, Plain);
  Insert(std::move(key), std::move(spec), std::move(option));
}

void OptionSet::Add(std::string key, std::map<std::string, int64_t>* field, Spec spec) {
  Option option = MapOption(field, spec, "NAME=N[,…]", ParseWhole<int64_t>,
                            [](int64_t value) { return std::to_string(value); });
  Insert(std::move(key), std::move(spec), std::move(option));
}

void OptionSet::AddChoice(std::string key, std::vector<std::string> words,
                          std::function<void(size_t)> set, std::function<size_t()> get, Spec spec) {
  Option option;
  for (const std::string& word : words) option.type += (option.type.empty() ? "" : "|") + word;
  option.parse = [words, set = std::move(set),
                  type = option.type](std::string_view text) -> absl::Status {
    for (size_t i = 0; i < words.size(); ++i) {
      if (words[i] == text) return set(i), absl::OkStatus();
    }
    return InvalidArgument("must be one of {}, got '{}'{}", type, text, DidYouMean(text, words));
  };
  option.format = [words = std::move(words), get = std::move(get)] { return words[get()]; };
  Insert(std::move(key), std::move(spec), std::move(option));
}

Option* OptionSet::Find(std::string_view key) {
  for (Option& option : options_) {
    if (option.key == key) return &option;
  }
  return nullptr;
}

std::vector<std::string> OptionSet::keys() const {
  std::vector<std::string> keys;
  for (const Option& option : options_) keys.push_back(option.key);
  return keys;
}

std::vector<std::string> OptionSet::AsFlags() const {
  std::vector<std::string> flags;
  for (const Option& option : options_) {
    const std::string text = option.format();
    const bool untouched = option.source == Source::kDefault && text == option.default_text;
    if (untouched || !option.spec.flag.starts_with("--")) continue;
    if (option.spec.bare && text == "off") continue;
    flags.push_back(option.spec.bare ? option.spec.flag : option.spec.flag + "=" + text);
  }
  return flags;
}

absl::Status SetOption(Option& option, std::string_view text, Source source, std::string origin) {
  if (source < option.source) {
    // Overridden already, but a mistake in a file is a mistake all the same: check it, keep the
    // value.
    const std::string kept = option.format();
    const absl::Status status = option.parse(text);
    CHECK(option.parse(kept).ok(), "{} does not take its own text '{}'", option.name(), kept);
    return status;
  }
  RETURN_IF_ERROR(option.parse(text));
  option.source = source;
  option.origin = std::move(origin);
  return absl::OkStatus();
}

}  // namespace baton::config
