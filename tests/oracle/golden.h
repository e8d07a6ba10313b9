#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace baton::oracle {

// What the reference implementation said about one prompt.
struct GoldenPrompt {
  std::vector<int32_t> ids;
  std::vector<int32_t> greedy;             // continuation of the prompt, eos ignored
  std::vector<std::vector<float>> logits;  // [ids.size()][vocab], float32 arithmetic
};

// One folder of goldens/: a model and the reference's answers (tools/models/make_oracle.py wrote
// it).
struct Golden {
  std::string name;
  std::filesystem::path folder;
  std::string dtype;  // what the weights are stored in: "float32", …
  std::vector<GoldenPrompt> prompts;
  // How far the reference's own bf16 arithmetic is from its float32, over the same bf16 weights.
  std::optional<double> bf16_rel_l2;      // over all positions together
  std::optional<double> bf16_rel_l2_max;  // of the worst position
};

// Names of all goldens, sorted. The process stops when there are none.
std::vector<std::string> GoldenNames();
// The process stops when the folder is not as the tool writes it: a broken golden is a broken
// build.
Golden ReadGolden(const std::string& name);

}  // namespace baton::oracle
