#include <memory>
#include <utility>

#include "bench/guard/path.h"
#include "bench/micro/placement_cluster.h"
#include "common/base/check.h"
#include "services/router/openai/json_body.h"
#include "services/router/openai/request_parser.h"
#include "services/router/placement/kv_index/testing/chains.h"

namespace baton::bench {
namespace {

using router::KvIndex;
using router::bench::PlacementCluster;

constexpr size_t kPromptBlocks = 128;

// An index with 64 workers and 200 prompts of 128 blocks, the first half of which is shared by
// five.
class Index {
 public:
  Index() {
    for (int i = 0; i < 64; ++i) seats_.push_back({index_.Join(), 0});
    for (size_t i = 0; i < 200; ++i) {
      prompts_.push_back(
          router::testing::Chain("prefix " + std::to_string(i % 40), kPromptBlocks / 2));
      const auto tail = router::testing::Chain("tail " + std::to_string(i), kPromptBlocks / 2);
      prompts_.back().insert(prompts_.back().end(), tail.begin(), tail.end());
      Store(i % seats_.size(), prompts_.back());
    }
  }
  void Store(size_t worker, const std::vector<kv::BlockHash>& prompt) {
    auto& [seat, number] = seats_[worker];
    (void)index_.Apply(seat, router::testing::Store(++number, prompt, 0, prompt.size()));
  }
  void MatchNext() {
    index_.Match(prompts_[next_++ % prompts_.size()], absl::ZeroDuration(), matches_);
  }
  void StoreNew() {
    Store(next_ % seats_.size(),
          router::testing::Chain("new " + std::to_string(next_), kPromptBlocks));
    ++next_;
  }

 private:
  KvIndex index_{{.expected_slots = 1024}};
  std::vector<std::pair<router::KvSeat, uint64_t>> seats_;
  std::vector<std::vector<kv::BlockHash>> prompts_;
  router::KvMatches matches_;
  size_t next_ = 0;
};

// Roster, index and the cost of each candidate; and what was placed is told to the index.
std::function<void()> Placing() {
  const auto cluster = std::make_shared<PlacementCluster>(64);
  const std::shared_ptr<router::Policy> policy = *router::MakePolicy("cost", {});
  return [=] {
    const router::Decision decision =
        policy->Decide(PlacementCluster::Request(), cluster->Snapshot());
    cluster->roster().Expect(decision.prefill.empty() ? decision.decode : decision.prefill.front(),
                             cluster->prompt());
  };
}

std::function<void()> Parsing() {
  router::openai::Json body = {
      {"model", "baton-demo"}, {"stream", true}, {"max_tokens", 128}, {"temperature", 0.7}};
  body["messages"] = {{{"role", "system"}, {"content", std::string(1000, 's')}},
                      {{"role", "user"}, {"content", std::string(300, 'u')}}};
  return [text = body.dump()] {
    const auto json = router::openai::ParseBody(text, 64);
    CHECK_OK(json.status());
    CHECK_OK(router::openai::ParseChat(*json).status());
  };
}

}  // namespace

std::vector<GuardedPath> RouterPaths() {
  return {
      {"a request is placed among 64 workers", 20, Placing},
      {"the body of a chat is parsed", 20, Parsing},
      {"a prompt of 128 blocks is looked up in the index", 100,
       [] { return [index = std::make_shared<Index>()] { index->MatchNext(); }; }},
      {"a prompt of 128 blocks is stored in the index", 20,
       [] { return [index = std::make_shared<Index>()] { index->StoreNew(); }; }},
  };
}

}  // namespace baton::bench
