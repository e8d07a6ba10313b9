#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace baton::model {

// A small Hugging Face folder made by a test, in a directory of its own that goes with it. Change a
// field or a tensor, then Write().
class TestFolder {
 public:
  struct Tensor {
    std::string dtype = "F32";
    std::vector<int64_t> shape;
    std::string bytes = "";  // what it holds; empty: every element is near 0.01
  };

  TestFolder();  // a two-layer Llama, hidden 8, two heads of four, untied
  ~TestFolder();
  TestFolder(const TestFolder&) = delete;

  // config.json and one model.safetensors, every element 0.01.
  void Write() const;
  // config.json and two shards with an index.
  void WriteSharded() const;
  void WriteConfig() const;
  void WriteText(const std::string& file, const std::string& text) const;

  const std::filesystem::path& path() const { return path_; }

  nlohmann::json config;
  std::map<std::string, Tensor> tensors;

 private:
  std::filesystem::path path_;
};

// The bytes of a safetensors file with these tensors.
std::string SafetensorsBytes(const std::map<std::string, TestFolder::Tensor>& tensors);

}  // namespace baton::model
