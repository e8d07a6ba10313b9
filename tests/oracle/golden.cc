#include "tests/oracle/golden.h"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "common/base/check.h"

namespace baton::oracle {
namespace {

namespace fs = std::filesystem;

fs::path GoldenRoot() { return fs::path(BATON_ORACLE_DIR) / "goldens"; }

std::vector<float> ReadFloats(const fs::path& path) {
  std::vector<float> values(fs::file_size(path) / sizeof(float));
  std::ifstream in(path, std::ios::binary);
  in.read(reinterpret_cast<char*>(values.data()), std::streamsize(values.size() * sizeof(float)));
  CHECK(in.good(), "{}", path.string());
  return values;
}

GoldenPrompt ReadPrompt(const nlohmann::json& json, int32_t vocab, const fs::path& folder) {
  GoldenPrompt prompt;
  prompt.ids = json.at("ids").get<std::vector<int32_t>>();
  prompt.greedy = json.at("greedy").get<std::vector<int32_t>>();
  const size_t rows = json.at("rows").get<size_t>();
  const size_t first = json.at("logits_offset_bytes").get<size_t>() / sizeof(float);
  const std::vector<float> all = ReadFloats(folder / json.at("logits_file").get<std::string>());
  CHECK(rows == prompt.ids.size() && first + rows * vocab <= all.size());
  for (size_t row = 0; row < rows; ++row) {
    const auto begin = all.begin() + std::ptrdiff_t(first + row * vocab);
    prompt.logits.emplace_back(begin, begin + vocab);
  }
  return prompt;
}

}  // namespace

std::vector<std::string> GoldenNames() {
  std::vector<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(GoldenRoot())) {
    if (entry.is_directory()) names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  CHECK(!names.empty(), "no goldens in {}", GoldenRoot().string());
  return names;
}

Golden ReadGolden(const std::string& name) {
  Golden golden;
  golden.name = name;
  golden.folder = GoldenRoot() / name;
  std::ifstream in(golden.folder / "golden.json");
  const nlohmann::json json = nlohmann::json::parse(in);
  golden.dtype = json.at("dtype").get<std::string>();
  const int32_t vocab = json.at("vocab_size").get<int32_t>();
  for (const nlohmann::json& prompt : json.at("prompts")) {
    golden.prompts.push_back(ReadPrompt(prompt, vocab, golden.folder));
  }
  if (golden.dtype == "bfloat16") {
    golden.bf16_rel_l2 = json.at("bf16_rel_l2").get<double>();
    golden.bf16_rel_l2_max = json.at("bf16_rel_l2_max").get<double>();
  }
  return golden;
}

}  // namespace baton::oracle
