// Two engines on their own threads, a transfer thread between them, several clients: run under the
// thread sanitizer, this is where a lock that is missing shows.

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <thread>

#include "common/base/check.h"
#include "common/concurrency/mailbox.h"
#include "common/engine/engine.h"
#include "common/engine/testing/chain_runner.h"
#include "common/engine/testing/recording_observer.h"

namespace baton::engine {
namespace {

using testing::ChainRunner;
using testing::GenerateByChain;
using testing::RecordingObserver;

constexpr int32_t kBlocks = 64;
constexpr int32_t kBlockTokens = 16;

// Copies what one engine says is ready into the blocks that the other wants it in, on a thread of
// its own.
class CopyThread {
 public:
  CopyThread(const kernels::KvView& from, const kernels::KvView& to)
      : from_(from), to_(to), thread_([this] { Run(); }) {}
  ~CopyThread() { Stop(); }
  void Stop() {
    mailbox_.Close();
    if (thread_.joinable()) thread_.join();
  }
  void Connect(Engine* prefill, Engine* decode) {
    prefill_ = prefill;
    decode_ = decode;
  }
  void Post(std::variant<PrefillNeeded, KvReady, PrefillDone> news) {
    mailbox_.Push(std::move(news));
  }

 private:
  void Run() {
    while (!mailbox_.closed()) {
      for (auto& news : mailbox_.WaitAndDrain(absl::Seconds(10))) {
        std::visit([this](auto& one) { Handle(one); }, news);
      }
    }
  }
  void Handle(PrefillNeeded& needed) {
    const SequenceId id = needed.spec.id;
    const uint64_t epoch = needed.epoch;
    const SubmitPrefill submit{needed.spec, epoch, needed.first_block};
    needed_[epoch] = std::move(needed);
    const absl::Status status = prefill_->Post(submit);
    if (!status.ok()) CHECK_OK(decode_->Post(KvFailed{id, epoch, status, /*fenced=*/true}));
  }
  void Handle(KvReady& ready) {
    const PrefillNeeded& needed = needed_.at(ready.epoch);
    for (size_t i = 0; i < ready.blocks.size(); ++i) {
      const BlockId to = needed.blocks.at(ready.first_block + i - needed.first_block);
      std::memcpy(to_.piece(ready.layer, to.value()),
                  from_.piece(ready.layer, ready.blocks[i].value()), to_.block_layer_bytes());
    }
  }
  void Handle(PrefillDone& done) {
    CHECK_OK(prefill_->Post(KvSent{done.id, done.epoch}));
    if (done.status.ok()) {
      CHECK_OK(decode_->Post(KvArrived{done.id, done.epoch, done.first}));
    } else {
      CHECK_OK(decode_->Post(KvFailed{done.id, done.epoch, done.status, /*fenced=*/true}));
    }
  }

  const kernels::KvView from_;
  const kernels::KvView to_;
  Engine* prefill_ = nullptr;
  Engine* decode_ = nullptr;
  std::map<uint64_t, PrefillNeeded> needed_;
  Mailbox<std::variant<PrefillNeeded, KvReady, PrefillDone>> mailbox_{0};
  std::thread thread_;
};

class ForwardingObserver : public RecordingObserver {
 public:
  explicit ForwardingObserver(CopyThread& copier) : copier_(copier) {}
  void OnPrefillNeeded(PrefillNeeded needed) override { copier_.Post(std::move(needed)); }
  void OnKvReady(KvReady ready) override { copier_.Post(std::move(ready)); }
  void OnPrefillDone(PrefillDone done) override { copier_.Post(std::move(done)); }

 private:
  CopyThread& copier_;
};

SequenceSpec Spec(int client, int number) {
  SequenceSpec spec;
  spec.id = {RequestId(fmt::format("c{}-{}", client, number)), 0};
  const int32_t tokens = 20 + (client * 37 + number * 53) % 120;
  for (int32_t i = 0; i < tokens; ++i) {
    spec.prompt.push_back(i < 40 ? i % 61 : (i * number + client) % 61);
  }
  spec.sampling.max_tokens = 5 + number % 20;
  spec.sampling.seed = client * 100 + number;
  spec.sampling.ignore_eos = true;
  return spec;
}

void WaitUntilIdle(const Engine& engine) {
  const absl::Time patience = absl::Now() + absl::Seconds(60);
  while (!engine.idle() && absl::Now() < patience) absl::SleepFor(absl::Milliseconds(1));
  ASSERT_TRUE(engine.idle());
  const LoadReport load = engine.load();
  EXPECT_EQ(load.blocks_free + load.blocks_cached, load.blocks_total);
}

TEST(EngineThreadsTest, ManyClientsLocalAndRemoteGetTheirOwnTokens) {
  ChainRunner prefill_model;
  ChainRunner decode_model;
  CopyThread copier(prefill_model.AllocateKv(kBlocks, kBlockTokens),
                    decode_model.AllocateKv(kBlocks, kBlockTokens));
  ForwardingObserver prefill_observer(copier);
  ForwardingObserver decode_observer(copier);
  EngineOptions options;
  options.num_blocks = kBlocks;
  options.step_tokens_max = 64;
  options.batch_sequences_max = 8;
  auto prefill = *Engine::Start(options, prefill_model, prefill_observer, Clock::Real());
  auto decode = *Engine::Start(options, decode_model, decode_observer, Clock::Real());
  copier.Connect(prefill.get(), decode.get());

  constexpr int kClients = 4;
  constexpr int kEach = 25;
  std::vector<std::thread> clients;
  for (int client = 0; client < kClients; ++client) {
    clients.emplace_back([&, client] {
      for (int number = 0; number < kEach; ++number) {
        const SequenceSpec spec = Spec(client, number);
        CHECK_OK(decode->Post(Submit{spec, /*remote_prefill=*/number % 3 != 0}));
        if (number % 7 == 3) CHECK_OK(decode->Post(Cancel{spec.id}));
        decode->load();
        decode->timeline();
      }
    });
  }
  for (std::thread& client : clients) client.join();
  for (int client = 0; client < kClients; ++client) {
    for (int number = 0; number < kEach; ++number) {
      const SequenceSpec spec = Spec(client, number);
      ASSERT_TRUE(decode_observer.WaitForFinish(spec.id));
      const RecordingObserver::Told told = decode_observer.told(spec.id);
      const auto expected = GenerateByChain(spec, decode_model.info(), 512).tokens;
      if (told.finish == FinishReason::kCancelled) continue;
      ASSERT_EQ(told.tokens.size(), expected.size());
      for (size_t i = 0; i < expected.size(); ++i) {
        ASSERT_EQ(told.tokens[i].token, expected[i].token) << client << "-" << number;
      }
    }
  }
  WaitUntilIdle(*decode);
  WaitUntilIdle(*prefill);
  EXPECT_FALSE(decode->timeline().empty());
  EXPECT_FALSE(decode_observer.loads().empty());
  copier.Stop();
  decode.reset();
  prefill.reset();
  EXPECT_EQ(decode_model.broken_links() + prefill_model.broken_links(), 0);
}

}  // namespace
}  // namespace baton::engine
