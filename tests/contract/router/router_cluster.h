#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "common/config/router_options.h"
#include "services/router/wiring/router.h"
#include "tests/contract/router/fake_worker.h"
#include "tests/contract/router/raw_http.h"

namespace baton::router {

// A router in this process on free ports, with the byte-level test tokenizer under the name
// "test-model", its ticks running.
class RouterCluster {
 public:
  explicit RouterCluster(const config::RouterOptions& options = {});
  ~RouterCluster();

  Router& router() { return *router_; }
  std::string http() const { return router_->http_address(); }
  std::string grpc() const { return router_->grpc_address(); }

  // A decode worker that is attached, reachable and may take work.
  struct Decode {
    std::unique_ptr<FakeDecodeWorker> worker;
    std::unique_ptr<FakeAttachment> attachment;
  };
  Decode AddDecode(const std::string& id = "decode-0", int32_t context_tokens_max = 512);
  Decode AddDecode(const std::string& id, const std::function<void(v1::Registration&)>& adjust);
  v1::Registration RegistrationOf(const std::string& id, const std::string& address) const;
  // Polls /health/ready until it says `status`.
  bool WaitReady(int status = 200);
  // Polls /debug/cluster until requests in flight are `count`.
  bool WaitInflight(int count);
  nlohmann::ordered_json DebugCluster();
  // Polls DebugCluster() until it is as expected.
  bool WaitFor(const std::function<bool(const nlohmann::ordered_json&)>& condition);

  // Token ids of a text, one per character or so.
  std::vector<int32_t> Tokens(const std::string& text) const;
  RawResponse Get(const std::string& path) { return Call(http(), "GET", path); }
  RawResponse Post(const std::string& path, const std::string& body) {
    return Call(http(), "POST", path, body);
  }

 private:
  std::unique_ptr<text::Tokenizer> tokenizer_;
  std::unique_ptr<Router> router_;
  std::atomic<bool> stop_ = false;
  std::thread ticker_;
};

}  // namespace baton::router
