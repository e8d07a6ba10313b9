#include "common/model/load_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <set>

#include "common/model/test_folder.h"

// Folders as they come, good and bad, through the one entry that workers use.
namespace baton::model {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

class LoadModelTest : public testing::Test {
 protected:
  absl::StatusOr<std::unique_ptr<ModelRunner>> Load() {
    options_.model_dir = folder_.path();
    return LoadModel(options_, *backend_);
  }

  std::string Error() {
    const auto runner = Load();
    return runner.ok() ? "no error" : MessageOf(runner.status());
  }

  std::string Fingerprint() {
    const auto runner = Load();
    return runner.ok() ? (*runner)->info().fingerprint : std::string(runner.status().message());
  }

  // Logits of the last of four tokens.
  std::vector<float> Logits(ModelRunner& runner) {
    kernels::KvView kv = runner.KvGeometry(2, 16);
    const auto pool = backend_->Allocate(kv.pool_bytes());
    kv.base = pool->data();
    runner.BindKv(kv);
    const std::vector<int32_t> table{1};
    StepBatch batch;
    batch.tokens = {1, 5, 2, 7};
    batch.sequences.push_back({4, 4, table});
    batch.logits_rows = {3};
    runner.Execute(batch);
    return {runner.last_logits().begin(), runner.last_logits().end()};
  }

  TestFolder folder_;
  std::unique_ptr<kernels::Backend> backend_ = kernels::MakeReferenceBackend();
  LoadOptions options_;
};

TEST_F(LoadModelTest, AWholeFolderLoadsAndDescribesItself) {
  folder_.Write();
  const auto runner = Load();
  ASSERT_TRUE(runner.ok()) << runner.status();
  const ModelInfo& info = (*runner)->info();
  EXPECT_EQ(info.name, folder_.path().filename().string());
  EXPECT_EQ(info.vocab, 11);
  EXPECT_EQ(info.context_tokens_max, 64);
  EXPECT_EQ(info.num_kv_heads, 1);
  EXPECT_EQ(info.head_dim, 4);
  EXPECT_EQ(info.kv_dtype, kernels::DType::kF32);
  EXPECT_THAT(info.eos_token_ids, ElementsAre(2));
  EXPECT_EQ(info.fingerprint.size(), 32u);
}

TEST_F(LoadModelTest, ReadingTheInfoNeedsNoWeights) {
  folder_.WriteConfig();
  const auto info = ReadModelInfo(folder_.path());
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->context_tokens_max, 64);
  EXPECT_EQ(info->name, folder_.path().filename().string());
  EXPECT_EQ(ReadModelInfo(folder_.path(), "mine")->name, "mine");
}

TEST_F(LoadModelTest, TheServedNameIsTheFoldersHoweverItIsWritten) {
  EXPECT_EQ(ServedName("models/Qwen3-8B"), "Qwen3-8B");
  EXPECT_EQ(ServedName("models/Qwen3-8B/"), "Qwen3-8B");
  EXPECT_EQ(ServedName("models/x/../Qwen3-8B/."), "Qwen3-8B");
  EXPECT_EQ(ServedName("."), fs::current_path().filename().string());
}

TEST_F(LoadModelTest, NumberOfParametersIsTheNumberInTheFile) {
  int64_t count = 0;
  for (const auto& [name, tensor] : folder_.tensors) {
    int64_t elements = 1;
    for (const int64_t size : tensor.shape) elements *= size;
    count += elements;
  }
  folder_.Write();
  EXPECT_EQ((*Load())->info().num_parameters, count);
}

TEST_F(LoadModelTest, ProgressRisesToTheTotal) {
  folder_.Write();
  int64_t last = 0, total = 0;
  options_.progress = [&](int64_t done_bytes, int64_t total_bytes) {
    EXPECT_GT(done_bytes, last);
    last = done_bytes;
    total = total_bytes;
  };
  ASSERT_TRUE(Load().ok());
  EXPECT_EQ(last, total);
  EXPECT_GT(total, 0);
}

TEST_F(LoadModelTest, AFolderThatIsNotThereIsNamed) {
  options_.model_dir = folder_.path() / "nowhere";
  EXPECT_THAT(MessageOf(LoadModel(options_, *backend_).status()),
              AllOf(HasSubstr("nowhere"), HasSubstr("no such folder")));
  EXPECT_THAT(Error(), HasSubstr("config.json"));
  folder_.WriteConfig();
  EXPECT_THAT(Error(), AllOf(HasSubstr("model.safetensors.index.json"), HasSubstr("neither")));
}

TEST_F(LoadModelTest, AMissingTensorIsNamedWithItsFile) {
  folder_.tensors.erase("model.layers.1.self_attn.k_proj.weight");
  folder_.Write();
  EXPECT_THAT(Error(), AllOf(HasSubstr("tensor model.layers.1.self_attn.k_proj.weight is missing"),
                             HasSubstr("model.safetensors")));
}

TEST_F(LoadModelTest, AWrongShapeIsNamedWithBothShapes) {
  folder_.tensors["model.layers.0.mlp.down_proj.weight"].shape = {12, 8};
  folder_.Write();
  EXPECT_THAT(Error(), AllOf(HasSubstr("tensor model.layers.0.mlp.down_proj.weight"),
                             HasSubstr("model.safetensors has shape [12,8], expected [8,12]")));
}

TEST_F(LoadModelTest, AWrongNormLengthIsNamed) {
  folder_.tensors["model.norm.weight"].shape = {1, 8};
  folder_.Write();
  EXPECT_THAT(Error(), HasSubstr("has shape [1,8], expected [8]"));
}

TEST_F(LoadModelTest, ABiasThatTheConfigDoesNotMentionIsNotLeftOutInSilence) {
  folder_.tensors["model.layers.1.self_attn.q_proj.bias"] = {"F32", {8}};
  folder_.Write();
  EXPECT_THAT(Error(), AllOf(HasSubstr("tensor model.layers.1.self_attn.q_proj.bias"),
                             HasSubstr("no such tensor")));
}

TEST_F(LoadModelTest, StoredRotaryTablesAndFurtherLayersAreNoMatter) {
  folder_.tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = {"F32", {2}};
  folder_.tensors["model.layers.2.input_layernorm.weight"] = {"F32", {8}};
  folder_.tensors["vision_tower.conv.bias"] = {"I64", {3}};
  folder_.Write();
  EXPECT_EQ(Error(), "no error");
}

TEST_F(LoadModelTest, ATypeThatIsNoWeightIsNamed) {
  folder_.tensors["lm_head.weight"].dtype = "I64";
  folder_.Write();
  EXPECT_THAT(Error(), AllOf(HasSubstr("tensor lm_head.weight"), HasSubstr("has dtype I64"),
                             HasSubstr("F32, F16, BF16")));
}

TEST_F(LoadModelTest, ATruncatedFileIsNamedWithTheTensor) {
  folder_.Write();
  const fs::path file = folder_.path() / "model.safetensors";
  fs::resize_file(file, fs::file_size(file) - 1);
  EXPECT_THAT(Error(), AllOf(HasSubstr("model.safetensors"), HasSubstr("tensor model."),
                             HasSubstr("truncated")));
}

TEST_F(LoadModelTest, AnAbsurdHeaderLengthIsNamed) {
  folder_.Write();
  folder_.WriteText("model.safetensors", std::string(64, '\x7f'));
  EXPECT_THAT(Error(), AllOf(HasSubstr("model.safetensors"), HasSubstr("absurd")));
  folder_.WriteText("model.safetensors", "");
  EXPECT_THAT(Error(), AllOf(HasSubstr("model.safetensors"), HasSubstr("too short")));
}

TEST_F(LoadModelTest, ShardsAreReadLikeOneFile) {
  folder_.Write();
  const std::vector<float> whole = Logits(**Load());
  fs::remove(folder_.path() / "model.safetensors");
  folder_.WriteSharded();
  const auto sharded = Load();
  ASSERT_TRUE(sharded.ok()) << sharded.status();
  EXPECT_EQ(Logits(**sharded), whole);
}

TEST_F(LoadModelTest, EveryMissingShardIsNamed) {
  folder_.WriteSharded();
  fs::remove(folder_.path() / "second.safetensors");
  EXPECT_THAT(Error(), AllOf(HasSubstr("1 of 2 shards"), HasSubstr("second.safetensors")));
  fs::remove(folder_.path() / "first.safetensors");
  EXPECT_THAT(Error(), HasSubstr("first.safetensors, second.safetensors"));
}

TEST_F(LoadModelTest, ATruncatedShardIsNamed) {
  folder_.WriteSharded();
  fs::resize_file(folder_.path() / "second.safetensors", 700);
  EXPECT_THAT(Error(), HasSubstr("second.safetensors"));
}

TEST_F(LoadModelTest, AnIndexThatPromisesWhatAShardLacksIsRefused) {
  folder_.WriteSharded();
  folder_.WriteText("model.safetensors.index.json",
                    R"({"weight_map": {"lm_head.weight": "second.safetensors"}})");
  EXPECT_THAT(Error(), AllOf(HasSubstr("tensor lm_head.weight"), HasSubstr("second.safetensors")));
}

TEST_F(LoadModelTest, AnIndexMayNotPointOutsideTheFolder) {
  folder_.WriteSharded();
  for (const char* file : {"../first.safetensors", "/etc/passwd", "..", ""}) {
    const nlohmann::json index = {{"weight_map", {{"lm_head.weight", file}}}};
    folder_.WriteText("model.safetensors.index.json", index.dump());
    EXPECT_THAT(Error(), HasSubstr("weight_map.lm_head.weight")) << file;
  }
}

TEST_F(LoadModelTest, TiedEmbeddingsServeAsTheHead) {
  folder_.Write();
  const std::vector<float> untied = Logits(**Load());  // every weight is equal in these folders
  folder_.config["tie_word_embeddings"] = true;
  folder_.tensors.erase("lm_head.weight");
  folder_.Write();
  const auto tied = Load();
  ASSERT_TRUE(tied.ok()) << tied.status();
  EXPECT_EQ(Logits(**tied), untied);
}

TEST_F(LoadModelTest, AutoKeepsHalfPrecisionCheckpointsInBf16) {
  for (const auto& [stored, kept] :
       {std::pair{"F32", kernels::DType::kF32}, std::pair{"F16", kernels::DType::kBF16},
        std::pair{"BF16", kernels::DType::kBF16}}) {
    for (auto& [name, tensor] : folder_.tensors) tensor.dtype = stored;
    folder_.Write();
    const auto runner = Load();
    ASSERT_TRUE(runner.ok()) << runner.status();
    EXPECT_EQ((*runner)->info().kv_dtype, kept) << stored;
  }
  options_.dtype = WeightDType::kF32;
  EXPECT_EQ((*Load())->info().kv_dtype, kernels::DType::kF32);
}

TEST_F(LoadModelTest, KvHasATypeOfItsOwnWhichTheFingerprintKnows) {
  folder_.Write();
  std::set<std::string> fingerprints;
  for (const auto dtype :
       {kernels::DType::kF32, kernels::DType::kBF16, kernels::DType::kFp8, kernels::DType::kInt8}) {
    options_.kv_dtype = dtype;
    const auto runner = Load();
    ASSERT_TRUE(runner.ok()) << runner.status();
    EXPECT_EQ((*runner)->KvGeometry(1, 16).dtype, dtype);
    EXPECT_EQ((*runner)->info().kv_dtype, dtype);
    fingerprints.insert((*runner)->info().fingerprint);
  }
  EXPECT_EQ(fingerprints.size(), 4u);
  options_.kv_dtype.reset();
  EXPECT_TRUE(fingerprints.contains((*Load())->info().fingerprint));
  options_.kv_dtype = kernels::DType::kF16;
  EXPECT_THAT(Error(), HasSubstr("kv_dtype is f16; expected f32, bf16, fp8 or int8"));
}

TEST_F(LoadModelTest, QuantizedWeightsAreAnotherModelWhichIsNearTheFirst) {
  folder_.WriteConfig();
  options_.format = LoadFormat::kRandom;
  options_.dtype = WeightDType::kBF16;
  const auto exact = Load();
  ASSERT_TRUE(exact.ok()) << exact.status();
  const std::vector<float> want = Logits(**exact);
  std::set<std::string> fingerprints = {(*exact)->info().fingerprint};
  for (const auto& [dtype, error_max] :
       {std::pair{kernels::DType::kInt8, 0.05}, std::pair{kernels::DType::kInt4G32, 0.3},
        std::pair{kernels::DType::kInt4G128, 0.3}}) {
    options_.quantize = dtype;
    const auto rounded = Load();
    ASSERT_TRUE(rounded.ok()) << rounded.status();
    EXPECT_EQ((*rounded)->info().kv_dtype, kernels::DType::kBF16);  // as it would be without
    fingerprints.insert((*rounded)->info().fingerprint);
    const std::vector<float> got = Logits(**rounded);
    double difference = 0, norm = 0;
    for (size_t i = 0; i < want.size(); ++i) {
      difference += (got[i] - want[i]) * (got[i] - want[i]);
      norm += want[i] * want[i];
    }
    EXPECT_GT(difference, 0) << NameOf(dtype);
    EXPECT_LT(std::sqrt(difference / norm), error_max) << NameOf(dtype);
  }
  EXPECT_EQ(fingerprints.size(), 4u);
}

TEST_F(LoadModelTest, ATiedEmbeddingIsQuantizedWhereItServesAsTheHeadOnly) {
  folder_.config["tie_word_embeddings"] = true;
  folder_.tensors.erase("lm_head.weight");
  folder_.Write();
  options_.quantize = kernels::DType::kInt8;
  const auto tied = Load();
  ASSERT_TRUE(tied.ok()) << tied.status();
  const std::vector<float> want = Logits(**tied);
  folder_.config["tie_word_embeddings"] = false;
  folder_.tensors["lm_head.weight"] = folder_.tensors.at("model.embed_tokens.weight");
  folder_.Write();
  const auto untied = Load();
  ASSERT_TRUE(untied.ok()) << untied.status();
  EXPECT_EQ(Logits(**untied), want);
}

TEST_F(LoadModelTest, QuantizeHasOneTypeOfItsOwn) {
  folder_.Write();
  options_.quantize = kernels::DType::kFp8;
  EXPECT_THAT(Error(), HasSubstr("quantize is fp8; expected int8 or int4"));
}

TEST_F(LoadModelTest, TheContextCanBeLimitedAndNotStretched) {
  folder_.Write();
  options_.context_tokens_max = 16;
  EXPECT_EQ((*Load())->info().context_tokens_max, 16);
  options_.context_tokens_max = 100;
  EXPECT_EQ((*Load())->info().context_tokens_max, 64);
}

TEST_F(LoadModelTest, LimitsOutOfRangeAreNamed) {
  folder_.Write();
  options_.step_tokens_max = 0;
  EXPECT_THAT(Error(), HasSubstr("step_tokens_max is 0"));
}

TEST_F(LoadModelTest, EqualFingerprintsMeanEqualArithmetic) {
  folder_.Write();
  const std::string base = Fingerprint();
  EXPECT_EQ(Fingerprint(), base) << "loading twice";
  options_.name = "another name";
  options_.context_tokens_max = 16;
  EXPECT_EQ(Fingerprint(), base) << "what a model is called or may hold changes no K and V";

  std::set<std::string> all{base};
  options_.dtype = WeightDType::kBF16;
  all.insert(Fingerprint());
  options_.dtype = WeightDType::kAuto;
  folder_.config["rope_theta"] = 5000;
  folder_.Write();
  all.insert(Fingerprint());
  folder_.config["rope_theta"] = 10000;
  folder_.Write();
  EXPECT_EQ(Fingerprint(), base);
  std::string bytes = SafetensorsBytes(folder_.tensors);
  bytes[bytes.size() - 5] ^= 1;
  folder_.WriteText("model.safetensors", bytes);
  all.insert(Fingerprint());
  backend_ = kernels::MakeCpuBackend({});
  all.insert(Fingerprint());
  EXPECT_EQ(all.size(), 5u);
}

TEST_F(LoadModelTest, RandomWeightsNeedNoFilesAndAreTheSameEverywhere) {
  folder_.WriteConfig();
  options_.format = LoadFormat::kRandom;
  const auto a = Load(), b = Load();
  ASSERT_TRUE(a.ok() && b.ok()) << a.status();
  EXPECT_EQ(Logits(**a), Logits(**b));
  EXPECT_EQ((*a)->info().fingerprint, (*b)->info().fingerprint);
  options_.random_seed = 1;
  const auto other = Load();
  EXPECT_NE(Logits(**other), Logits(**a));
  EXPECT_NE((*other)->info().fingerprint, (*a)->info().fingerprint);
}

TEST_F(LoadModelTest, RandomWeightsKeepActivationsSane) {
  folder_.config["hidden_size"] = 64;
  folder_.config["intermediate_size"] = 160;
  folder_.config["num_hidden_layers"] = 24;
  folder_.config["vocab_size"] = 500;
  folder_.WriteConfig();
  options_.format = LoadFormat::kRandom;
  const auto runner = Load();
  ASSERT_TRUE(runner.ok()) << runner.status();
  double squares = 0;
  for (const float logit : Logits(**runner)) squares += double(logit) * logit;
  const double deviation = std::sqrt(squares / 500);
  EXPECT_GT(deviation, 0.5);
  EXPECT_LT(deviation, 8);
}

TEST_F(LoadModelTest, AModelThatCannotFitTheMachineIsRefusedBeforeItIsMade) {
  folder_.config["num_hidden_layers"] = 1000;
  folder_.config["hidden_size"] = 65536;
  folder_.config["intermediate_size"] = 1000000;
  folder_.config["head_dim"] = 128;
  folder_.WriteConfig();
  options_.format = LoadFormat::kRandom;
  EXPECT_THAT(Error(), AllOf(HasSubstr("GB in f32"), HasSubstr("this machine has")));
}

TEST(LoadOptionsTest, FlagsAreReadByName) {
  EXPECT_EQ(*ParseWeightDType("bf16"), WeightDType::kBF16);
  EXPECT_EQ(*ParseLoadFormat("random"), LoadFormat::kRandom);
  EXPECT_THAT(MessageOf(ParseWeightDType("int4").status()), HasSubstr("auto, f32 or bf16"));
  EXPECT_THAT(MessageOf(ParseLoadFormat("gguf").status()), HasSubstr("safetensors or random"));
}

}  // namespace
}  // namespace baton::model
