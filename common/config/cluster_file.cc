#include "common/config/cluster_file.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>

#include "common/config/suggestion.h"
#include "common/config/yaml_tree.h"

namespace baton::config {
namespace {

constexpr size_t kFileBytesMax = 1 << 20;
constexpr size_t kErrorsShown = 20;

using Kind = YamlNode::Kind;

// A map as flags would have it. Commas would make another map of it.
absl::StatusOr<std::string> MapTextOf(const YamlNode& map) {
  std::string text;
  for (size_t i = 0; i + 1 < map.children.size(); i += 2) {
    const YamlNode& name = map.children[i];
    const YamlNode& value = map.children[i + 1];
    for (const YamlNode* node : {&name, &value}) {
      if (node->kind == Kind::kScalar && node->text.find(',') == std::string::npos) continue;
      return InvalidArgument("must be a map of single words without commas");
    }
    text += fmt::format("{}{}={}", text.empty() ? "" : ",", name.text, value.text);
  }
  return text;
}

// The value as flags would have it: a scalar, or a list or a map joined by commas.
absl::StatusOr<std::string> TextOf(const Option& option, const YamlNode& value) {
  if (value.kind == Kind::kScalar) return value.text;
  if (value.kind == Kind::kNull) return InvalidArgument("has no value");
  if (option.map && value.kind == Kind::kMap) return MapTextOf(value);
  if (!option.list || value.kind != Kind::kSequence) {
    return InvalidArgument("must be a single value, got a {}",
                           value.kind == Kind::kMap ? "map" : "list");
  }
  std::string text;
  for (const YamlNode& item : value.children) {
    if (item.kind != Kind::kScalar) return InvalidArgument("must be a list of single values");
    text += (text.empty() ? "" : ",") + item.text;
  }
  return text;
}

// Walks the document once and gathers everything that is wrong with it.
class Reader {
 public:
  Reader(std::string name, const std::vector<OptionSet*>& schema)
      : name_(std::move(name)), schema_(schema) {}

  absl::Status Read(const YamlNode& document);

 private:
  void ReadSection(const YamlNode& key, const YamlNode& body);
  void ReadOption(OptionSet& set, const YamlNode& key, const YamlNode& value);
  // Whether the key is a plain word that was not there before; says so when not.
  bool CheckKey(const YamlNode& key, const std::string& where, std::set<std::string>& seen);
  void Error(const YamlNode& node, const std::string& what);
  OptionSet* FindSection(const std::string& name) const;
  std::vector<std::string> SectionNames() const;

  const std::string name_;
  const std::vector<OptionSet*>& schema_;
  std::vector<std::string> errors_;
};

absl::Status Reader::Read(const YamlNode& document) {
  if (document.kind != Kind::kMap && document.kind != Kind::kNull) {
    Error(document, "must be a map of sections");
  } else {
    std::set<std::string> seen;
    for (size_t i = 0; i + 1 < document.children.size(); i += 2) {
      const YamlNode& key = document.children[i];
      if (CheckKey(key, "", seen)) ReadSection(key, document.children[i + 1]);
    }
  }
  if (errors_.empty()) return absl::OkStatus();
  std::string all;
  for (size_t i = 0; i < errors_.size() && i < kErrorsShown; ++i) {
    all += (i == 0 ? "" : "\n") + errors_[i];
  }
  if (errors_.size() > kErrorsShown) {
    all += fmt::format("\nand {} more", errors_.size() - kErrorsShown);
  }
  return absl::InvalidArgumentError(all);
}

void Reader::ReadSection(const YamlNode& key, const YamlNode& body) {
  OptionSet* set = FindSection(key.text);
  if (set == nullptr) {
    return Error(
        key, fmt::format("unknown section '{}'{}", key.text, DidYouMean(key.text, SectionNames())));
  }
  if (body.kind == Kind::kNull) return;
  if (body.kind != Kind::kMap) return Error(key, key.text + " must be a map of options");
  std::set<std::string> seen;
  for (size_t i = 0; i + 1 < body.children.size(); i += 2) {
    const YamlNode& option = body.children[i];
    if (CheckKey(option, key.text + ".", seen)) ReadOption(*set, option, body.children[i + 1]);
  }
}

void Reader::ReadOption(OptionSet& set, const YamlNode& key, const YamlNode& value) {
  Option* option = set.Find(key.text);
  if (option == nullptr) {
    return Error(key, fmt::format("unknown key '{}.{}'{}", set.section(), key.text,
                                  DidYouMean(key.text, set.keys())));
  }
  absl::StatusOr<std::string> text = TextOf(*option, value);
  const absl::Status status =
      text.ok() ? SetOption(*option, *text, Source::kYaml, fmt::format("{}:{}", name_, key.line))
                : text.status();
  if (!status.ok()) Error(key, fmt::format("{} {}", option->name(), MessageOf(status)));
}

bool Reader::CheckKey(const YamlNode& key, const std::string& where, std::set<std::string>& seen) {
  if (key.kind != Kind::kScalar || key.text.empty()) {
    Error(key, "keys must be plain words");
    return false;
  }
  if (!seen.insert(key.text).second) {
    Error(key, fmt::format("'{}{}' is given twice", where, key.text));
    return false;
  }
  return true;
}

void Reader::Error(const YamlNode& node, const std::string& what) {
  errors_.push_back(fmt::format("{}:{}: {}", name_, node.line, what));
}

OptionSet* Reader::FindSection(const std::string& name) const {
  for (OptionSet* set : schema_) {
    if (set->section() == name) return set;
  }
  return nullptr;
}

std::vector<std::string> Reader::SectionNames() const {
  std::vector<std::string> names;
  for (const OptionSet* set : schema_) names.push_back(set->section());
  return names;
}

}  // namespace

absl::Status ReadClusterText(std::string_view text, const std::string& name,
                             const std::vector<OptionSet*>& schema) {
  ASSIGN_OR_RETURN(const YamlNode document, ParseYaml(text, name));
  return Reader(name, schema).Read(document);
}

absl::Status ReadClusterFile(const std::string& path, const std::vector<OptionSet*>& schema) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) {
    return InvalidArgument("{}: is a folder, not a file", path);
  }
  std::ifstream file(path, std::ios::binary);
  if (!file) return NotFound("{}: cannot be opened: {}", path, std::strerror(errno));
  std::string text(kFileBytesMax + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(file.gcount()));
  return ReadClusterText(text, path, schema);
}

}  // namespace baton::config
