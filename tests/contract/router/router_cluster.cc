#include "tests/contract/router/router_cluster.h"

#include "common/base/check.h"
#include "common/text/test_support.h"

namespace baton::router {
namespace {

constexpr char kTemplate[] =
    "{% for m in messages %}<|im_start|>{{ m.role }}: {{ m.content }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant: {% endif %}";
constexpr auto kPause = std::chrono::milliseconds(5);
constexpr int kPolls = 4000;

std::unique_ptr<ServedModel> TestModel(std::string name) {
  auto chat_template = text::ChatTemplate::FromConfig(
      {.chat_template = kTemplate, .chat_template_source = "the test's template"});
  CHECK_OK(chat_template.status());
  return std::make_unique<ServedModel>(std::move(name), text::TestTokenizer("byte_level"),
                                       *std::move(chat_template), absl::OkStatus());
}

// "test-model", and those of router.models, whose folders are not looked at.
ServedModels TestModels(const config::RouterOptions& options) {
  std::vector<std::unique_ptr<ServedModel>> models;
  models.push_back(TestModel("test-model"));
  for (const auto& [name, folder] : options.models) models.push_back(TestModel(name));
  auto served = ServedModels::Make(std::move(models));
  CHECK_OK(served.status());
  return *std::move(served);
}

}  // namespace

RouterCluster::RouterCluster(const config::RouterOptions& options)
    : tokenizer_(text::TestTokenizer("byte_level")) {
  config::RouterOptions mine = options;
  mine.http.port = 0;
  mine.grpc.port = 0;
  auto router = Router::Start(mine, TestModels(mine), Clock::Real());
  CHECK_OK(router.status());
  router_ = *std::move(router);
  ticker_ = std::thread([this] {
    while (!stop_) {
      router_->Tick();
      std::this_thread::sleep_for(kPause);
    }
  });
}

RouterCluster::~RouterCluster() {
  stop_ = true;
  ticker_.join();
}

v1::Registration RouterCluster::RegistrationOf(const std::string& id,
                                               const std::string& address) const {
  v1::Registration registration;
  registration.set_worker_id(id);
  registration.set_role(v1::WORKER_ROLE_DECODE);
  registration.set_model("test-model");
  registration.set_fingerprint("fp");
  registration.set_grpc_address(address);
  registration.set_protocol(1);
  registration.set_block_tokens(16);
  registration.set_num_blocks(100);
  registration.set_context_tokens_max(512);
  registration.set_vocab_size(tokenizer_->vocab_size());
  registration.add_eos_token_ids(562);
  registration.set_heartbeat_ms(60'000);  // these tests report when they want to
  registration.set_batch_sequences_max(64);
  registration.set_step_tokens_max(512);
  registration.set_kv_bytes_per_token(1000);
  return registration;
}

RouterCluster::Decode RouterCluster::AddDecode(const std::string& id, int32_t context_tokens_max) {
  return AddDecode(id, [&](v1::Registration& registration) {
    registration.set_context_tokens_max(context_tokens_max);
  });
}

RouterCluster::Decode RouterCluster::AddDecode(
    const std::string& id, const std::function<void(v1::Registration&)>& adjust) {
  Decode decode;
  decode.worker = std::make_unique<FakeDecodeWorker>();
  v1::Registration registration = RegistrationOf(id, decode.worker->address());
  adjust(registration);
  decode.attachment = std::make_unique<FakeAttachment>(grpc(), std::move(registration));
  CHECK(decode.attachment->WaitForWelcome(), "no welcome for {}", id);
  CHECK(decode.worker->WaitFor([](const auto& seen) { return seen.streams == 1; }),
        "the router did not come to {}", id);
  for (int i = 0; i < kPolls; ++i) {
    const auto debug = DebugCluster();
    for (const auto& worker : debug["workers"]) {
      if (worker["id"] == id && worker["reachable"] == true) return decode;
    }
    std::this_thread::sleep_for(kPause);
  }
  CHECK(false, "{} is not reachable", id);
  return decode;
}

bool RouterCluster::WaitReady(int status) {
  for (int i = 0; i < kPolls; ++i) {
    if (Call(http(), "GET", "/health/ready").status == status) return true;
    std::this_thread::sleep_for(kPause);
  }
  return false;
}

bool RouterCluster::WaitInflight(int count) {
  for (int i = 0; i < kPolls; ++i) {
    if (router_->inflight() == count) return true;
    std::this_thread::sleep_for(kPause);
  }
  return false;
}

bool RouterCluster::WaitFor(const std::function<bool(const nlohmann::ordered_json&)>& condition) {
  for (int i = 0; i < kPolls; ++i) {
    if (condition(DebugCluster())) return true;
    std::this_thread::sleep_for(kPause);
  }
  return false;
}

nlohmann::ordered_json RouterCluster::DebugCluster() {
  return Call(http(), "GET", "/debug/cluster").json();
}

std::vector<int32_t> RouterCluster::Tokens(const std::string& text) const {
  return *tokenizer_->Encode(text, /*add_special_tokens=*/false);
}

}  // namespace baton::router
