#include "common/model/hf_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace baton::model {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

json Llama() {
  return json::parse(R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama",
    "vocab_size": 1000, "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 4,
    "num_attention_heads": 8, "num_key_value_heads": 2, "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-5, "rope_theta": 500000.0, "torch_dtype": "bfloat16",
    "hidden_act": "silu", "eos_token_id": 7})");
}

json Of(const char* architecture, const char* type) {
  json config = Llama();
  config["architectures"] = json::array({architecture});
  config["model_type"] = type;
  return config;
}

absl::StatusOr<HfConfig> Parse(const json& config, std::string_view generation = "") {
  return ParseHfConfig(config.dump(), generation);
}

// The error for Llama's config with one field changed.
std::string ErrorFor(const char* field, const json& value) {
  json config = Llama();
  config[field] = value;
  const auto parsed = Parse(config);
  return parsed.ok() ? "no error" : MessageOf(parsed.status());
}

TEST(HfConfigTest, ReadsSizesAndDerivesHeadDim) {
  const auto c = Parse(Llama());
  ASSERT_TRUE(c.ok()) << c.status();
  EXPECT_EQ(c->vocab, 1000);
  EXPECT_EQ(c->head_dim, 32);
  EXPECT_EQ(c->num_kv_heads, 2);
  EXPECT_FALSE(c->tied_embeddings);
  EXPECT_FALSE(c->qkv_bias || c->o_bias || c->mlp_bias || c->qk_norm);
  EXPECT_EQ(c->dtype, kernels::DType::kBF16);
  EXPECT_EQ(c->rope.theta, 500000.0);
  EXPECT_THAT(c->eos_token_ids, ElementsAre(7));
  EXPECT_THAT(c->layer_windows, ElementsAre(0, 0, 0, 0));
  // embeddings 2VH + layers(qkv + o + mlp + norms) + norm
  EXPECT_EQ(c->num_parameters(),
            2 * 1000 * 256 + 4 * ((256 + 128) * 256 + 256 * 256 + 3 * 512 * 256 + 2 * 256) + 256);
}

TEST(HfConfigTest, NullReadsLikeAbsent) {
  json config = Llama();
  for (const char* key : {"head_dim", "rope_scaling", "quantization_config", "sliding_window"}) {
    config[key] = nullptr;
  }
  config["num_key_value_heads"] = nullptr;
  const auto c = Parse(config);
  ASSERT_TRUE(c.ok()) << c.status();
  EXPECT_EQ(c->num_kv_heads, 8);
}

TEST(HfConfigTest, FamiliesDifferInBiasesAndNorms) {
  const auto qwen2 = Parse(Of("Qwen2ForCausalLM", "qwen2"));
  ASSERT_TRUE(qwen2.ok()) << qwen2.status();
  EXPECT_TRUE(qwen2->qkv_bias);
  EXPECT_FALSE(qwen2->o_bias);
  const auto qwen3 = Parse(Of("Qwen3ForCausalLM", "qwen3"));
  ASSERT_TRUE(qwen3.ok()) << qwen3.status();
  EXPECT_TRUE(qwen3->qk_norm);
  EXPECT_FALSE(qwen3->qkv_bias);
  EXPECT_EQ(qwen3->head_dim, 128);
  json biased = Llama();
  biased["attention_bias"] = biased["mlp_bias"] = true;
  const auto llama = Parse(biased);
  ASSERT_TRUE(llama.ok()) << llama.status();
  EXPECT_TRUE(llama->qkv_bias && llama->o_bias && llama->mlp_bias);
}

TEST(HfConfigTest, ModelTypeStandsInForMissingArchitectures) {
  json config = Llama();
  config.erase("architectures");
  EXPECT_TRUE(Parse(config).ok());
  config["model_type"] = "gpt2";
  EXPECT_THAT(MessageOf(Parse(config).status()),
              AllOf(HasSubstr("`model_type` is \"gpt2\""), HasSubstr("qwen3")));
}

TEST(HfConfigTest, MistralSlidesInEveryLayer) {
  json config = Of("MistralForCausalLM", "mistral");
  config["sliding_window"] = 128;
  const auto c = Parse(config);
  ASSERT_TRUE(c.ok()) << c.status();
  EXPECT_THAT(c->layer_windows, ElementsAre(128, 128, 128, 128));
}

TEST(HfConfigTest, QwenSlidesFromMaxWindowLayersOnAndOnlyWhenAsked) {
  json config = Of("Qwen2ForCausalLM", "qwen2");
  config["sliding_window"] = 64;
  config["max_window_layers"] = 3;
  EXPECT_THAT(Parse(config)->layer_windows, ElementsAre(0, 0, 0, 0));
  config["use_sliding_window"] = true;
  EXPECT_THAT(Parse(config)->layer_windows, ElementsAre(0, 0, 0, 64));
  config["layer_types"] = {"sliding_attention", "full_attention", "sliding_attention",
                           "full_attention"};
  EXPECT_THAT(Parse(config)->layer_windows, ElementsAre(64, 0, 64, 0));
}

TEST(HfConfigTest, LayerTypesThatTheFamilyDoesNotFollowAreRefused) {
  json config = Of("MistralForCausalLM", "mistral");
  config["sliding_window"] = 64;
  config["layer_types"] = {"sliding_attention", "full_attention", "sliding_attention",
                           "sliding_attention"};
  EXPECT_THAT(MessageOf(Parse(config).status()), HasSubstr("`layer_types`"));
  config["layer_types"] = {"linear_attention"};
  EXPECT_THAT(MessageOf(Parse(config).status()), HasSubstr("a list of 4 names"));
}

TEST(HfConfigTest, RopeInClassicAndNewKeysIsTheSame) {
  const json scaling = {{"rope_type", "llama3"},
                        {"factor", 8},
                        {"low_freq_factor", 1},
                        {"high_freq_factor", 4},
                        {"original_max_position_embeddings", 512}};
  json classic = Llama();
  classic["rope_scaling"] = scaling;
  json fresh = Llama();
  fresh.erase("rope_theta");
  fresh["rope_parameters"] = scaling;
  fresh["rope_parameters"]["rope_theta"] = 500000.0;
  const auto a = Parse(classic), b = Parse(fresh);
  ASSERT_TRUE(a.ok() && b.ok()) << a.status() << b.status();
  EXPECT_EQ(a->rope.kind, RopeKind::kLlama3);
  EXPECT_EQ(a->rope.original_max_positions, 512);
  EXPECT_EQ(a->Canonical(), b->Canonical());
}

TEST(HfConfigTest, YarnStretchesTheContext) {
  json config = Llama();
  config["rope_scaling"] = {
      {"type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 4096}};
  const auto c = Parse(config);
  ASSERT_TRUE(c.ok()) << c.status();
  EXPECT_EQ(c->max_positions, 16384);
  config["max_position_embeddings"] = 16384;  // already written stretched
  EXPECT_EQ(Parse(config)->max_positions, 16384);
}

TEST(HfConfigTest, EndOfTextComesFromTheGenerationConfigFirst) {
  EXPECT_THAT(Parse(Llama(), R"({"eos_token_id": [3, 9]})")->eos_token_ids, ElementsAre(3, 9));
  EXPECT_THAT(Parse(Llama(), R"({"eos_token_id": 5})")->eos_token_ids, ElementsAre(5));
  EXPECT_THAT(Parse(Llama(), R"({"temperature": 0.6})")->eos_token_ids, ElementsAre(7));
  const auto bad = Parse(Llama(), R"({"eos_token_id": 1000})");
  EXPECT_THAT(MessageOf(bad.status()),
              AllOf(HasSubstr("generation_config.json"), HasSubstr("from 0 to 999")));
}

TEST(HfConfigTest, WhatIsNotSupportedIsNamedWithItsValueAndWhatWouldDo) {
  EXPECT_THAT(ErrorFor("architectures", {"MambaForCausalLM"}),
              AllOf(HasSubstr("architectures"), HasSubstr("Mamba"), HasSubstr("Qwen3ForCausalLM")));
  EXPECT_THAT(ErrorFor("hidden_act", "gelu"),
              AllOf(HasSubstr("`hidden_act` is \"gelu\""), HasSubstr("silu")));
  EXPECT_THAT(ErrorFor("quantization_config", {{"quant_method", "fp8"}}),
              AllOf(HasSubstr("quantization_config.quant_method"), HasSubstr("fp8")));
  EXPECT_THAT(ErrorFor("torch_dtype", "float8_e4m3fn"),
              AllOf(HasSubstr("torch_dtype"), HasSubstr("bfloat16")));
  EXPECT_THAT(ErrorFor("rope_scaling", {{"rope_type", "longrope"}, {"factor", 2}}),
              AllOf(HasSubstr("`rope_scaling.rope_type` is \"longrope\""), HasSubstr("yarn")));
  EXPECT_THAT(ErrorFor("partial_rotary_factor", 0.5), HasSubstr("partial_rotary_factor"));
  EXPECT_THAT(ErrorFor("num_local_experts", 8), HasSubstr("num_local_experts"));
}

TEST(HfConfigTest, NumbersOutOfRangeAreNamedWithTheRange) {
  EXPECT_THAT(ErrorFor("vocab_size", 0),
              AllOf(HasSubstr("`vocab_size` is 0"), HasSubstr("from 1")));
  EXPECT_THAT(ErrorFor("hidden_size", -4), HasSubstr("`hidden_size` is -4"));
  EXPECT_THAT(ErrorFor("num_hidden_layers", 1e6), HasSubstr("`num_hidden_layers`"));
  EXPECT_THAT(ErrorFor("num_hidden_layers", 18446744073709551615u), HasSubstr("num_hidden_layers"));
  EXPECT_THAT(ErrorFor("intermediate_size", "512"), HasSubstr("`intermediate_size` is \"512\""));
  EXPECT_THAT(ErrorFor("num_key_value_heads", 3), HasSubstr("a divisor of num_attention_heads, 8"));
  EXPECT_THAT(ErrorFor("num_key_value_heads", 16), HasSubstr("from 1 to 8"));
  EXPECT_THAT(ErrorFor("num_attention_heads", 6),
              HasSubstr("a multiple of num_attention_heads, 6"));
  EXPECT_THAT(ErrorFor("head_dim", 33), HasSubstr("an even number"));
  EXPECT_THAT(ErrorFor("rope_theta", 0), HasSubstr("rope_theta"));
  EXPECT_THAT(ErrorFor("rope_scaling", {{"rope_type", "linear"}}),
              HasSubstr("field `rope_scaling.factor` is missing"));
  EXPECT_THAT(ErrorFor("rope_scaling", "linear"), HasSubstr("an object or null"));
  EXPECT_THAT(ErrorFor("rms_norm_eps", -1), HasSubstr("rms_norm_eps"));
  EXPECT_THAT(ErrorFor("tie_word_embeddings", "yes"), HasSubstr("true or false"));
  EXPECT_THAT(ErrorFor("eos_token_id", {1, "2"}), HasSubstr("eos_token_id"));
}

TEST(HfConfigTest, TextThatIsNoConfigIsRefused) {
  EXPECT_THAT(MessageOf(ParseHfConfig("{", "").status()), HasSubstr("not valid JSON"));
  EXPECT_THAT(MessageOf(ParseHfConfig("[]", "").status()), HasSubstr("not a JSON object"));
  EXPECT_THAT(MessageOf(ParseHfConfig("{}", "").status()), HasSubstr("`model_type` is missing"));
  EXPECT_FALSE(ParseHfConfig(std::string(100000, '['), "").ok());
}

}  // namespace
}  // namespace baton::model
