#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/base/status.h"

namespace baton::config {

// A parsed YAML document with the line of every node. Anchors and aliases are refused: a
// configuration file says what it means where it means it.
struct YamlNode {
  enum class Kind { kNull, kScalar, kSequence, kMap };
  Kind kind = Kind::kNull;
  int line = 0;                    // from 1
  std::string text;                // of a scalar
  std::vector<YamlNode> children;  // of a map: key, value, key, value, …
};

// One document of at most 1 MiB, 16 levels and 100,000 nodes. Errors begin with "NAME:LINE: ".
absl::StatusOr<YamlNode> ParseYaml(std::string_view text, const std::string& name);

}  // namespace baton::config
