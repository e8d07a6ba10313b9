#include "common/rpc/server.h"

#include <thread>

#include "baton/v1/inference.grpc.pb.h"
#include "common/rpc/channel.h"
#include "gtest/gtest.h"

namespace baton::rpc {
namespace {

// A service whose callbacks dial others, as the router does when workers register.
class Dials : public v1::Inference::CallbackService {
  grpc::ServerUnaryReactor* ListModels(grpc::CallbackServerContext* context,
                                       const v1::ListModelsRequest*,
                                       v1::ListModelsResponse*) override {
    EXPECT_NE(PeerChannel("127.0.0.1:1"), nullptr);
    grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
};

// In a process of its own: nobody has made a channel before.
TEST(StartServerTest, CallbacksThatAreTheFirstToDialAllAtOnceDoNotWaitForEachOther) {
  Dials service;
  const auto server = StartServer({.listen = "127.0.0.1:0"}, {&service});
  ASSERT_TRUE(server.ok());
  std::vector<std::thread> clients;
  for (int i = 0; i < 16; ++i) {
    clients.emplace_back([address = server->address] {
      const auto stub =
          v1::Inference::NewStub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
      grpc::ClientContext context;
      context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
      v1::ListModelsResponse response;
      EXPECT_TRUE(stub->ListModels(&context, {}, &response).ok());
    });
  }
  for (std::thread& client : clients) client.join();
  server->server->Shutdown(std::chrono::system_clock::now());
}

}  // namespace
}  // namespace baton::rpc
