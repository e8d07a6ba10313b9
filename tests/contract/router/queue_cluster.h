#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/contract/router/router_cluster.h"

namespace baton::router {

// A router whose decode workers take so many sequences at a time and nothing ahead of that, and
// clients that wait beside each other. For tests of who goes next.
class QueueCluster {
 public:
  // Room for `batch` sequences on decode-0; everything else as in `options`.
  explicit QueueCluster(config::RouterOptions options = {}, int32_t batch = 1);

  RouterCluster& cluster() { return cluster_; }
  RouterCluster::Decode AddDecode(const std::string& id, int32_t batch);
  FakeDecodeWorker& worker() { return *decode_.worker; }
  FakeAttachment& attachment() { return *decode_.attachment; }

  // Sends a request and leaves it there. `id` must be new; `fields` go into the body, such as
  // R"("priority":5)".
  struct Client {
    std::string id;
    std::string tenant = "";
    std::string fields = "";
    std::string prompt = "";  // empty: the id
  };
  RawHttp& Send(const Client& client);
  // The same, and waits until so many wait.
  void SendToWait(const Client& client);
  RawHttp& ClientNamed(const std::string& id) { return *clients_.at(id); }

  // Polls until so many requests wait in the router.
  [[nodiscard]] bool WaitWaiting(int count);
  // The request ids as their clients chose them, in the order in which the worker got them.
  std::vector<std::string> Begun();
  // Until the worker has got so many: the last of them.
  std::string WaitBegun(size_t count);
  // Ends what the worker got as its `index`-th submission, all choices, with so many tokens.
  void End(size_t index, int tokens = 1);
  // The router's page on this request, once it can be found.
  nlohmann::ordered_json Page(const std::string& id);

 private:
  RouterCluster cluster_;
  RouterCluster::Decode decode_;
  std::map<std::string, std::unique_ptr<RawHttp>> clients_;
  int waiting_ = 0;
};

// The client's part of a request id on the wire: "id-unique~2".
std::string ChosenId(const std::string& request_id);
// A router that keeps nothing ahead, with these tenants.
config::RouterOptions QueueOptions(std::map<std::string, double> tenants = {});

}  // namespace baton::router
