#include "common/model/test_folder.h"

#include <stdlib.h>

#include <bit>
#include <cstdint>
#include <fstream>

#include "common/base/check.h"

namespace baton::model {
namespace {

namespace fs = std::filesystem;

// One element near 0.01 in `dtype`, little-endian.
std::string Element(const std::string& dtype) {
  const uint32_t bits = std::bit_cast<uint32_t>(0.01f);
  const uint16_t half = dtype == "F16" ? 0x211f : uint16_t(bits >> 16);
  std::string bytes;
  if (dtype == "F32") {
    for (int i = 0; i < 4; ++i) bytes += char(bits >> (8 * i));
  } else {
    for (int i = 0; i < 2; ++i) bytes += char(half >> (8 * i));
  }
  return dtype == "I64" ? std::string(8, '\1') : bytes;
}

}  // namespace

TestFolder::TestFolder() {
  std::string name = (fs::temp_directory_path() / "baton-model-XXXXXX").string();
  CHECK(::mkdtemp(name.data()) != nullptr, "{}", name);
  path_ = name;
  config = {{"architectures", {"LlamaForCausalLM"}},
            {"model_type", "llama"},
            {"vocab_size", 11},
            {"hidden_size", 8},
            {"intermediate_size", 12},
            {"num_hidden_layers", 2},
            {"num_attention_heads", 2},
            {"num_key_value_heads", 1},
            {"max_position_embeddings", 64},
            {"eos_token_id", 2}};
  tensors["model.embed_tokens.weight"] = {"F32", {11, 8}};
  tensors["lm_head.weight"] = {"F32", {11, 8}};
  tensors["model.norm.weight"] = {"F32", {8}};
  for (const std::string at : {"model.layers.0.", "model.layers.1."}) {
    tensors[at + "input_layernorm.weight"] = {"F32", {8}};
    tensors[at + "post_attention_layernorm.weight"] = {"F32", {8}};
    tensors[at + "self_attn.q_proj.weight"] = {"F32", {8, 8}};
    tensors[at + "self_attn.k_proj.weight"] = {"F32", {4, 8}};
    tensors[at + "self_attn.v_proj.weight"] = {"F32", {4, 8}};
    tensors[at + "self_attn.o_proj.weight"] = {"F32", {8, 8}};
    tensors[at + "mlp.gate_proj.weight"] = {"F32", {12, 8}};
    tensors[at + "mlp.up_proj.weight"] = {"F32", {12, 8}};
    tensors[at + "mlp.down_proj.weight"] = {"F32", {8, 12}};
  }
}

TestFolder::~TestFolder() {
  std::error_code error;
  fs::remove_all(path_, error);
}

void TestFolder::WriteText(const std::string& file, const std::string& text) const {
  std::ofstream(path_ / file, std::ios::binary) << text;
}

void TestFolder::WriteConfig() const { WriteText("config.json", config.dump()); }

void TestFolder::Write() const {
  WriteConfig();
  WriteText("model.safetensors", SafetensorsBytes(tensors));
}

void TestFolder::WriteSharded() const {
  WriteConfig();
  std::map<std::string, Tensor> parts[2];
  nlohmann::json index;
  for (const auto& [name, tensor] : tensors) {
    const int part = name.find("layers.1") != name.npos;
    parts[part][name] = tensor;
    index["weight_map"][name] = part == 0 ? "first.safetensors" : "second.safetensors";
  }
  WriteText("first.safetensors", SafetensorsBytes(parts[0]));
  WriteText("second.safetensors", SafetensorsBytes(parts[1]));
  WriteText("model.safetensors.index.json", index.dump());
}

std::string SafetensorsBytes(const std::map<std::string, TestFolder::Tensor>& tensors) {
  nlohmann::json header;
  std::string data;
  for (const auto& [name, tensor] : tensors) {
    const size_t begin = data.size();
    int64_t count = 1;
    for (const int64_t size : tensor.shape) count *= size;
    data += tensor.bytes;
    for (int64_t i = 0; i < count && tensor.bytes.empty(); ++i) data += Element(tensor.dtype);
    header[name] = {
        {"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {begin, data.size()}}};
  }
  const std::string text = header.dump();
  std::string length;
  for (int i = 0; i < 8; ++i) length += char(text.size() >> (8 * i));
  return length + text + data;
}

}  // namespace baton::model
