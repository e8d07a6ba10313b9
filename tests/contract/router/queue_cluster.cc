#include "tests/contract/router/queue_cluster.h"

#include "common/base/check.h"

namespace baton::router {
namespace {

config::RouterOptions WithNothingAhead(config::RouterOptions options) {
  options.queue.batch_ahead_percent = 0;
  return options;
}

}  // namespace

std::string ChosenId(const std::string& request_id) {
  return request_id.substr(0, request_id.rfind('-'));
}

config::RouterOptions QueueOptions(std::map<std::string, double> tenants) {
  config::RouterOptions options;
  options.queue.tenants = std::move(tenants);
  return options;
}

QueueCluster::QueueCluster(config::RouterOptions options, int32_t batch)
    : cluster_(WithNothingAhead(std::move(options))), decode_(AddDecode("decode-0", batch)) {}

RouterCluster::Decode QueueCluster::AddDecode(const std::string& id, int32_t batch) {
  return cluster_.AddDecode(
      id, [&](v1::Registration& registration) { registration.set_batch_sequences_max(batch); });
}

RawHttp& QueueCluster::Send(const Client& client) {
  auto [entry, fresh] = clients_.emplace(client.id, std::make_unique<RawHttp>(cluster_.http()));
  CHECK(fresh, "{} is sent twice", client.id);
  const std::string body = R"({"prompt":")" + (client.prompt.empty() ? client.id : client.prompt) +
                           R"(","max_tokens":50)" +
                           (client.fields.empty() ? "" : "," + client.fields) + "}";
  std::vector<std::pair<std::string, std::string>> headers = {{"X-Request-Id", client.id}};
  if (!client.tenant.empty()) headers.emplace_back("X-Baton-Tenant", client.tenant);
  CHECK(entry->second->Write(RawRequest("POST", "/v1/completions", body, headers)), "{} not sent",
        client.id);
  return *entry->second;
}

void QueueCluster::SendToWait(const Client& client) {
  Send(client);
  const int waiting = ++waiting_;
  CHECK(WaitWaiting(waiting), "{} does not wait as number {}", client.id, waiting);
}

bool QueueCluster::WaitWaiting(int count) {
  waiting_ = count;
  return cluster_.WaitFor([&](const auto& debug) { return debug["queue"]["waiting"] == count; });
}

std::vector<std::string> QueueCluster::Begun() {
  std::vector<std::string> ids;
  for (const v1::SubmitSequences& submit : worker().seen().submits) {
    ids.push_back(ChosenId(submit.sequences(0).request_id()));
  }
  return ids;
}

std::string QueueCluster::WaitBegun(size_t count) {
  return ChosenId(worker().WaitForSubmit(count - 1).sequences(0).request_id());
}

void QueueCluster::End(size_t index, int tokens) {
  const std::vector<int32_t> output(tokens, cluster_.Tokens("a").front());
  const v1::SubmitSequences submit = worker().WaitForSubmit(index);
  for (const v1::Sequence& sequence : submit.sequences()) {
    worker().Tokens(sequence.request_id(), sequence.choice(), output, v1::FINISH_REASON_LENGTH);
  }
}

nlohmann::ordered_json QueueCluster::Page(const std::string& id) {
  return cluster_.Get("/debug/requests/" + id).json();
}

}  // namespace baton::router
