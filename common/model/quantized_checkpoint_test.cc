#include "common/model/quantized_checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cstring>

#include "common/model/load_model.h"
#include "common/model/test_folder.h"
#include "kernels/quantized_weight.h"

// One matrix of known numbers, written as each format has it, and folders of them.
namespace baton::model {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

constexpr int64_t kN = 16, kK = 64, kGroup = 32, kGroups = kK / kGroup;

// Whole numbers 0 to 15, their zeros, and scales that f16 has exactly.
int ElementAt(int64_t n, int64_t k) { return int((n * 7 + k * 5 + n * k) % 16); }
int ZeroAt(int64_t n, int64_t g) { return int((n * 3 + g * 5) % 15) + 1; }
float ScaleAt(int64_t n, int64_t g) { return float(n + 1 + 20 * g) / 256; }

template <typename T>
std::string BytesOf(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

// f16 of a number that it has exactly and that is not tiny.
uint16_t HalfOf(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  return uint16_t(((bits >> 23) - 112) << 10 | (bits >> 13 & 0x3ff));
}

// Eight values of 4 bits, the first lowest.
template <typename Fn>
int32_t Word(const Fn& value) {
  uint32_t word = 0;
  for (int i = 0; i < 8; ++i) word |= uint32_t(value(i)) << (4 * i);
  return int32_t(word);
}

template <typename Fn>
TestFolder::Tensor Words(int64_t rows, int64_t cols, const Fn& word) {
  std::vector<int32_t> words;
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < cols; ++j) words.push_back(word(i, j));
  }
  return {"I32", {rows, cols}, BytesOf(words)};
}

TestFolder::Tensor Scales(int64_t rows, int64_t cols, bool by_group) {
  std::vector<uint16_t> scales;
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < cols; ++j) {
      scales.push_back(HalfOf(by_group ? ScaleAt(j, i) : ScaleAt(i, j)));
    }
  }
  return {"F16", {rows, cols}, BytesOf(scales)};
}

using Tensors = std::map<std::string, TestFolder::Tensor>;

void AddPacked(const std::string& base, Tensors& out) {
  out[base + ".weight_packed"] = Words(kN, kK / 8, [](int64_t n, int64_t word) {
    return Word([&](int i) { return ElementAt(n, word * 8 + i); });
  });
  out[base + ".weight_zero_point"] = Words(kN / 8, kGroups, [](int64_t word, int64_t g) {
    return Word([&](int i) { return ZeroAt(word * 8 + i, g) % 16; });
  });
  out[base + ".weight_scale"] = Scales(kN, kGroups, false);
  out[base + ".weight_shape"] = {"I64", {2}, BytesOf(std::vector<int64_t>{kN, kK})};
}

void AddGptq(const std::string& base, int less, Tensors& out) {
  out[base + ".qweight"] = Words(kK / 8, kN, [](int64_t word, int64_t n) {
    return Word([&](int i) { return ElementAt(n, word * 8 + i); });
  });
  out[base + ".qzeros"] = Words(kGroups, kN / 8, [less](int64_t g, int64_t word) {
    return Word([&](int i) { return ZeroAt(word * 8 + i, g) - less; });
  });
  out[base + ".scales"] = Scales(kGroups, kN, true);
  out[base + ".g_idx"] = Words(kK, 1, [](int64_t k, int64_t) { return int32_t(k / kGroup); });
  out[base + ".g_idx"].shape = {kK};
}

void AddAwq(const std::string& base, Tensors& out) {
  constexpr int kOrder[8] = {0, 2, 4, 6, 1, 3, 5, 7};
  out[base + ".qweight"] = Words(kK, kN / 8, [&](int64_t k, int64_t word) {
    return Word([&](int i) { return ElementAt(word * 8 + kOrder[i], k); });
  });
  out[base + ".qzeros"] = Words(kGroups, kN / 8, [&](int64_t g, int64_t word) {
    return Word([&](int i) { return ZeroAt(word * 8 + kOrder[i], g); });
  });
  out[base + ".scales"] = Scales(kGroups, kN, true);
}

json PackedConfig() {
  return {{"quant_method", "compressed-tensors"},
          {"format", "pack-quantized"},
          {"ignore", {"lm_head"}},
          {"config_groups",
           {{"group_0",
             {{"targets", {"Linear"}},
              {"input_activations", nullptr},
              {"weights",
               {{"num_bits", 4},
                {"type", "int"},
                {"symmetric", false},
                {"strategy", "group"},
                {"group_size", kGroup}}}}}}}};
}

json Int8Config() {
  return {{"quant_method", "compressed-tensors"},
          {"format", "int-quantized"},
          {"config_groups",
           {{"group_0",
             {{"targets", {"Linear"}},
              {"input_activations", {{"num_bits", 8}, {"dynamic", true}, {"strategy", "token"}}},
              {"weights", {{"num_bits", 8}, {"symmetric", true}, {"strategy", "channel"}}}}}}}};
}

json GptqConfig() {
  return {{"quant_method", "gptq"}, {"bits", 4}, {"group_size", kGroup}, {"desc_act", false}};
}

json AwqConfig() {
  return {{"quant_method", "awq"},
          {"bits", 4},
          {"group_size", kGroup},
          {"zero_point", true},
          {"version", "GEMM"}};
}

constexpr char kBase[] = "model.layers.0.mlp.up_proj";

class QuantizedCheckpointTest : public testing::Test {
 protected:
  QuantizedCheckpointTest() { folder_.tensors.clear(); }

  QuantizedCheckpoint Open(const json& config) {
    folder_.Write();
    auto checkpoint = Checkpoint::Open(folder_.path());
    EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
    const auto quantization = ParseHfQuantization(config);
    EXPECT_TRUE(quantization.ok()) << quantization.status();
    return {*std::move(checkpoint), *quantization};
  }

  void ExpectTheNumbers(const json& config) {
    QuantizedCheckpoint source = Open(config);
    const auto matrix = source.Get(std::string(kBase) + ".weight", kN, kK, false);
    ASSERT_TRUE(matrix.ok()) << matrix.status();
    for (int64_t n = 0; n < kN; ++n) {
      for (int64_t k = 0; k < kK; ++k) {
        const float want = float(ElementAt(n, k) - ZeroAt(n, k / kGroup)) * ScaleAt(n, k / kGroup);
        ASSERT_EQ(kernels::ElementOf(*matrix, n, k), want) << n << " " << k;
      }
    }
    EXPECT_TRUE(source.Unread().empty()) << source.Unread().front();
    source.Release(std::string(kBase) + ".weight");
  }

  std::string ErrorOf(const json& config) {
    QuantizedCheckpoint source = Open(config);
    const auto matrix = source.Get(std::string(kBase) + ".weight", kN, kK, false);
    return matrix.ok() ? "no error" : MessageOf(matrix.status());
  }

  TestFolder folder_;
};

TEST_F(QuantizedCheckpointTest, PackQuantizedIsUnpacked) {
  AddPacked(kBase, folder_.tensors);
  ExpectTheNumbers(PackedConfig());
}

TEST_F(QuantizedCheckpointTest, GptqIsUnpackedInBothItsFormats) {
  AddGptq(kBase, 1, folder_.tensors);
  ExpectTheNumbers(GptqConfig());
  AddGptq(kBase, 0, folder_.tensors);
  json second = GptqConfig();
  second["checkpoint_format"] = "gptq_v2";
  ExpectTheNumbers(second);
}

TEST_F(QuantizedCheckpointTest, AwqIsUnpacked) {
  AddAwq(kBase, folder_.tensors);
  ExpectTheNumbers(AwqConfig());
}

TEST_F(QuantizedCheckpointTest, IntQuantizedIsReadWithItsScales) {
  std::vector<int8_t> elements;
  std::vector<float> scales;
  for (int64_t n = 0; n < kN; ++n) {
    scales.push_back(ScaleAt(n, 0));
    for (int64_t k = 0; k < kK; ++k) elements.push_back(int8_t(n * 11 + k * 3 - 100));
  }
  const std::string base = kBase;
  folder_.tensors[base + ".weight"] = {"I8", {kN, kK}, BytesOf(elements)};
  for (const std::vector<int64_t>& shape : {std::vector<int64_t>{kN, 1}, {kN}}) {
    folder_.tensors[base + ".weight_scale"] = {"F32", shape, BytesOf(scales)};
    QuantizedCheckpoint source = Open(Int8Config());
    const auto matrix = source.Get(base + ".weight", kN, kK, false);
    ASSERT_TRUE(matrix.ok()) << matrix.status();
    EXPECT_EQ(kernels::ElementOf(*matrix, 3, 5), float(elements[3 * kK + 5]) * ScaleAt(3, 0));
    // Kept as it is: nothing is rounded again.
    std::vector<float> scratch(kK);
    std::vector<std::byte> row(kK);
    EXPECT_EQ(kernels::Int8Weight(*matrix, 7, scratch.data(), row.data()), ScaleAt(7, 0));
    EXPECT_EQ(std::memcmp(row.data(), elements.data() + 7 * kK, kK), 0);
  }
}

TEST_F(QuantizedCheckpointTest, GroupsOfInt4AreKeptAsTheyAre) {
  AddAwq(kBase, folder_.tensors);
  QuantizedCheckpoint source = Open(AwqConfig());
  const auto matrix = source.Get(std::string(kBase) + ".weight", kN, kK, false);
  ASSERT_TRUE(matrix.ok()) << matrix.status();
  float scratch[kGroup];
  uint8_t values[kGroup];
  const auto scale = kernels::Int4Weight(*matrix, 9, kGroup, kGroup, scratch, values);
  EXPECT_EQ(scale.scale, ScaleAt(9, 1));
  EXPECT_EQ(scale.zero, ZeroAt(9, 1));
  for (int64_t i = 0; i < kGroup; ++i) EXPECT_EQ(values[i], ElementAt(9, kGroup + i)) << i;
}

TEST_F(QuantizedCheckpointTest, AMissingOrWrongTensorIsNamed) {
  AddGptq(kBase, 1, folder_.tensors);
  const auto qzeros = folder_.tensors.extract(std::string(kBase) + ".qzeros");
  EXPECT_THAT(ErrorOf(GptqConfig()), HasSubstr("up_proj.qzeros is missing"));
  AddAwq(kBase, folder_.tensors);
  EXPECT_THAT(ErrorOf(GptqConfig()),
              AllOf(HasSubstr("up_proj.qweight is I32 [64,2]"), HasSubstr("expected I32 [8,16]")));
}

TEST_F(QuantizedCheckpointTest, InputsInAnotherOrderAreRefused) {
  AddGptq(kBase, 1, folder_.tensors);
  std::string& order = folder_.tensors[std::string(kBase) + ".g_idx"].bytes;
  order[4 * 5] = 1;
  EXPECT_THAT(ErrorOf(GptqConfig()),
              AllOf(HasSubstr("g_idx"), HasSubstr("input 5 is in group 1"), HasSubstr("desc_act")));
}

TEST_F(QuantizedCheckpointTest, BiasesOfZerosAreNoPartOfAModelAndOthersAre) {
  AddGptq(kBase, 1, folder_.tensors);
  const std::string bias = std::string(kBase) + ".bias";
  folder_.tensors[bias] = {"F16", {kN}, std::string(2 * kN, '\0')};
  ExpectTheNumbers(GptqConfig());
  folder_.tensors[bias].bytes[6] = 1;
  EXPECT_THAT(Open(GptqConfig()).Unread(), testing::Contains(bias));
}

// A whole model of matrices that the formats above can have.
class QuantizedModelTest : public testing::Test {
 protected:
  QuantizedModelTest() {
    folder_.config["hidden_size"] = kK;
    folder_.config["intermediate_size"] = kK;
    folder_.config["num_hidden_layers"] = 1;
    folder_.config["num_attention_heads"] = 4;
    folder_.config["num_key_value_heads"] = 4;
    folder_.tensors.clear();
    folder_.tensors["model.embed_tokens.weight"] = {"F16", {11, kK}, Varied(11 * kK)};
    folder_.tensors["lm_head.weight"] = {"F16", {11, kK}, Varied(11 * kK)};
    folder_.tensors["model.norm.weight"] = {"F16", {kK}, Varied(kK)};
    for (const char* norm : {"input_layernorm", "post_attention_layernorm"}) {
      folder_.tensors[std::string("model.layers.0.") + norm + ".weight"] = {
          "F16", {kK}, Varied(kK)};
    }
  }

  static std::string Varied(int64_t count) {
    std::vector<uint16_t> halves;
    for (int64_t i = 0; i < count; ++i) halves.push_back(HalfOf(float(i % 29 + 1) / 64));
    return BytesOf(halves);
  }

  absl::StatusOr<std::vector<float>> Logits() {
    folder_.Write();
    LoadOptions options;
    options.model_dir = folder_.path();
    ASSIGN_OR_RETURN(const auto runner, LoadModel(options, *backend_));
    kernels::KvView kv = runner->KvGeometry(2, 16);
    const auto pool = backend_->Allocate(kv.pool_bytes());
    kv.base = pool->data();
    runner->BindKv(kv);
    const std::vector<int32_t> table{1};
    StepBatch batch;
    batch.tokens = {1, 5, 2, 7};
    batch.sequences.push_back({4, 4, table});
    batch.logits_rows = {3};
    runner->Execute(batch);
    return std::vector<float>(runner->last_logits().begin(), runner->last_logits().end());
  }

  TestFolder folder_;
  std::unique_ptr<kernels::Backend> backend_ = kernels::MakeReferenceBackend();
};

TEST_F(QuantizedModelTest, AFolderOfInt8RunsAndAnotherQuantizationOnTopIsRefused) {
  folder_.config["quantization_config"] = Int8Config();
  for (const char* name : {"self_attn.q", "self_attn.k", "self_attn.v", "self_attn.o", "mlp.gate",
                           "mlp.up", "mlp.down"}) {
    const std::string base = std::string("model.layers.0.") + name + "_proj";
    std::string elements;
    for (int64_t i = 0; i < kK * kK; ++i) elements += char(i * 37 % 255 - 127);
    folder_.tensors[base + ".weight"] = {"I8", {kK, kK}, elements};
    folder_.tensors[base + ".weight_scale"] = {
        "F32", {kK, 1}, BytesOf(std::vector<float>(kK, 0.001f))};
  }
  const auto logits = Logits();
  ASSERT_TRUE(logits.ok()) << logits.status();
  for (const float logit : *logits) EXPECT_TRUE(std::isfinite(logit));
  LoadOptions options;
  options.model_dir = folder_.path();
  options.quantize = kernels::DType::kInt8;
  EXPECT_THAT(MessageOf(LoadModel(options, *backend_).status()),
              HasSubstr("the weights are quantized already, to int8"));
}

std::string ConfigError(json config, const char* key, const json& value) {
  config[key] = value;
  const auto parsed = ParseHfQuantization(config);
  return parsed.ok() ? "no error" : MessageOf(parsed.status());
}

std::string WeightsError(const char* key, const json& value) {
  json config = PackedConfig();
  config["config_groups"]["group_0"]["weights"][key] = value;
  const auto parsed = ParseHfQuantization(config);
  return parsed.ok() ? "no error" : MessageOf(parsed.status());
}

TEST(HfQuantizationTest, WhatCannotBeLoadedIsNamedWithWhatWouldDo) {
  EXPECT_THAT(ConfigError(GptqConfig(), "quant_method", "bitsandbytes"),
              AllOf(HasSubstr("quantization_config.quant_method"), HasSubstr("bitsandbytes"),
                    HasSubstr("awq")));
  EXPECT_THAT(ConfigError(GptqConfig(), "bits", 3), HasSubstr("quantization_config.bits"));
  EXPECT_THAT(ConfigError(GptqConfig(), "desc_act", true), HasSubstr("desc_act"));
  EXPECT_THAT(ConfigError(GptqConfig(), "group_size", 256), HasSubstr("32, 64, 128 or -1"));
  EXPECT_THAT(ConfigError(GptqConfig(), "lm_head", true), HasSubstr("lm_head"));
  EXPECT_THAT(ConfigError(GptqConfig(), "checkpoint_format", "marlin"), HasSubstr("gptq_v2"));
  EXPECT_THAT(ConfigError(AwqConfig(), "version", "gemv"), HasSubstr("gemm"));
  EXPECT_THAT(ConfigError(AwqConfig(), "zero_point", false), HasSubstr("zero_point"));
  EXPECT_THAT(ConfigError(PackedConfig(), "format", "float-quantized"),
              HasSubstr("int-quantized or pack-quantized"));
  EXPECT_THAT(ConfigError(PackedConfig(), "kv_cache_scheme", json::object()),
              HasSubstr("kv_cache_scheme"));
  EXPECT_THAT(ConfigError(PackedConfig(), "config_groups", json::object()), HasSubstr("one group"));
  EXPECT_THAT(WeightsError("num_bits", 2),
              HasSubstr("quantization_config.config_groups.group_0.weights.num_bits"));
  EXPECT_THAT(WeightsError("type", "float"), HasSubstr("int"));
  EXPECT_THAT(WeightsError("strategy", "tensor"), HasSubstr("channel or group"));
  EXPECT_THAT(WeightsError("actorder", "group"), HasSubstr("actorder"));
  json fixed = Int8Config();
  fixed["config_groups"]["group_0"]["input_activations"]["dynamic"] = false;
  EXPECT_THAT(MessageOf(ParseHfQuantization(fixed).status()), HasSubstr("dynamic"));
}

TEST(HfQuantizationTest, SaysWhatTheWeightsAreKeptIn) {
  EXPECT_EQ(ParseHfQuantization(Int8Config())->kept_in(), kernels::DType::kInt8);
  EXPECT_EQ(ParseHfQuantization(PackedConfig())->kept_in(), kernels::DType::kInt4G32);
  json whole = GptqConfig();
  whole["group_size"] = -1;
  EXPECT_EQ(ParseHfQuantization(whole)->kept_in(), kernels::DType::kInt4G128);
  EXPECT_EQ(ParseHfQuantization(whole)->group, 0);
}

}  // namespace
}  // namespace baton::model
