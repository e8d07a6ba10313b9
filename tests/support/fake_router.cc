#include "tests/support/fake_router.h"

#include <gtest/gtest.h>

#include "common/base/check.h"
#include "tests/support/process.h"

namespace baton::testing {

FakeRouter::FakeRouter() {
  absl::StatusOr<rpc::Server> server = rpc::StartServer({.listen = "127.0.0.1:0"}, {this});
  CHECK_OK(server.status());
  server_ = std::move(*server);
}

FakeRouter::~FakeRouter() { server_.server->Shutdown(std::chrono::system_clock::now()); }

grpc::Status FakeRouter::Attach(
    grpc::ServerContext*, grpc::ServerReaderWriter<v1::RouterNotice, v1::WorkerReport>* stream) {
  v1::WorkerReport report;
  if (!stream->Read(&report) || !report.has_registration()) return grpc::Status::CANCELLED;
  const std::string id = report.registration().worker_id();
  {
    absl::MutexLock lock(&mutex_);
    workers_[id].registration = report.registration();
  }
  v1::RouterNotice welcome;
  welcome.mutable_welcome()->set_router_id("fake");
  stream->Write(welcome);
  while (stream->Read(&report)) {
    absl::MutexLock lock(&mutex_);
    if (report.has_load()) workers_[id].load = report.load();
  }
  absl::MutexLock lock(&mutex_);
  workers_.erase(id);
  return grpc::Status::OK;
}

v1::Registration FakeRouter::WaitForWorker(v1::WorkerRole role, const std::string& known) {
  v1::Registration found;
  const bool came = Eventually([&] {
    absl::MutexLock lock(&mutex_);
    for (const auto& [id, worker] : workers_) {
      if (worker.registration.role() == role && id != known) found = worker.registration;
    }
    return !found.worker_id().empty();
  });
  EXPECT_TRUE(came) << "no worker of role " << role << " registered";
  return found;
}

v1::Load FakeRouter::LoadOf(const std::string& worker_id) const {
  absl::MutexLock lock(&mutex_);
  auto found = workers_.find(worker_id);
  return found == workers_.end() ? v1::Load() : found->second.load;
}

bool FakeRouter::IsAttached(const std::string& worker_id) const {
  absl::MutexLock lock(&mutex_);
  return workers_.contains(worker_id);
}

int32_t FakeRouter::BusyBlocks(const std::string& worker_id) const {
  const v1::Load load = LoadOf(worker_id);
  return load.blocks_total() - load.blocks_free() - load.blocks_cached();
}

}  // namespace baton::testing
