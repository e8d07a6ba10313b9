#include "baton/client.h"

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "baton/v1/inference.grpc.pb.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace baton::sdk {
namespace {

using Writer = grpc::ServerWriter<v1::GenerateEvent>;

// A router door with an answer that the test writes.
class Door : public v1::Inference::Service {
 public:
  using Script =
      std::function<grpc::Status(grpc::ServerContext*, const v1::GenerateRequest&, Writer*)>;

  Door() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  ~Door() override { server_->Shutdown(std::chrono::system_clock::now()); }

  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

  grpc::Status Generate(grpc::ServerContext* context, const v1::GenerateRequest* request,
                        Writer* writer) override {
    ++calls;
    SeeKey(*context);
    return script(context, *request, writer);
  }
  grpc::Status Tokenize(grpc::ServerContext*, const v1::TokenizeRequest* request,
                        v1::TokenizeResponse* reply) override {
    if (++calls < 2) return {grpc::StatusCode::UNAVAILABLE, "no worker"};
    for (const char c : request->text()) reply->add_ids(c);
    return grpc::Status::OK;
  }
  grpc::Status ListModels(grpc::ServerContext* context, const v1::ListModelsRequest*,
                          v1::ListModelsResponse* reply) override {
    SeeKey(*context);
    reply->add_models()->set_id("m");
    return grpc::Status::OK;
  }

  Script script;
  std::atomic<int> calls{0};
  std::vector<std::string> keys;  // what calls came with, in their order

 private:
  void SeeKey(const grpc::ServerContext& context) {
    const auto found = context.client_metadata().find("authorization");
    keys.push_back(found == context.client_metadata().end()
                       ? ""
                       : std::string(found->second.data(), found->second.size()));
  }

  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

void Say(Writer* writer, const std::string& text, int index = 0) {
  v1::GenerateEvent event;
  event.mutable_delta()->set_text(text);
  event.mutable_delta()->set_index(index);
  writer->Write(event);
}

void Finish(Writer* writer, int index, v1::FinishReason reason = v1::FINISH_REASON_STOP) {
  v1::GenerateEvent event;
  event.mutable_finished()->set_index(index);
  event.mutable_finished()->set_reason(reason);
  writer->Write(event);
}

TEST(ClientTest, EventsArriveInOrderAndTextsAreJoinedByChoice) {
  Door door;
  door.script = [](auto*, const v1::GenerateRequest& request, Writer* writer) {
    EXPECT_EQ(request.chat().messages(0).content(), "hi");
    EXPECT_EQ(request.sampling().max_tokens(), 7);
    v1::GenerateEvent started;
    started.mutable_started()->set_request_id("r1");
    writer->Write(started);
    Say(writer, "a");
    Say(writer, "x", 1);
    Say(writer, "b");
    Finish(writer, 1);
    Finish(writer, 0);
    v1::GenerateEvent usage;
    usage.mutable_usage()->set_completion_tokens(3);
    writer->Write(usage);
    return grpc::Status::OK;
  };
  Client client(door.address());
  Request request{.prompt = Chat{{"user", "hi"}}, .n = 2};
  request.sampling.set_max_tokens(7);
  std::string seen;
  auto answer = client.Complete(request, [&](std::string_view text) { seen += text; });
  ASSERT_TRUE(answer.ok()) << answer.error().message;
  EXPECT_THAT(answer->texts, testing::ElementsAre("ab", "x"));
  EXPECT_EQ(seen, "ab");
  EXPECT_EQ(answer->started.request_id(), "r1");
  EXPECT_EQ(answer->usage.completion_tokens(), 3);
}

TEST(ClientTest, APromptsLogprobsAreJoinedOnce) {
  Door door;
  door.script = [](auto*, const v1::GenerateRequest& request, Writer* writer) {
    EXPECT_EQ(request.sampling().prompt_logprobs(), 2);
    EXPECT_TRUE(request.sampling().has_max_tokens());
    for (const int token : {5, 6}) {
      for (const int index : {0, 1}) {
        v1::GenerateEvent event;
        event.mutable_delta()->set_index(index);
        event.mutable_delta()->add_prompt()->set_token(token);
        if (token == 6) event.mutable_delta()->mutable_prompt(0)->set_logprob(-1.5f);
        writer->Write(event);
      }
    }
    Finish(writer, 0, v1::FINISH_REASON_LENGTH);
    Finish(writer, 1, v1::FINISH_REASON_LENGTH);
    return grpc::Status::OK;
  };
  Client client(door.address());
  Request request{.prompt = TokenIds{5, 6}, .n = 2};
  request.sampling.set_prompt_logprobs(2);
  request.sampling.set_max_tokens(0);
  auto answer = client.Complete(request);
  ASSERT_TRUE(answer.ok()) << answer.error().message;
  ASSERT_EQ(answer->prompt.size(), 2u);
  EXPECT_FALSE(answer->prompt[0].has_logprob());
  EXPECT_EQ(answer->prompt[1].logprob(), -1.5f);
}

TEST(ClientTest, TheKeyGoesWithEveryCall) {
  Door door;
  door.script = [](auto*, const v1::GenerateRequest&, Writer* writer) {
    Finish(writer, 0);
    return grpc::Status::OK;
  };
  ClientOptions options;
  options.api_key = "sk-0123456789abcdef";
  Client with_key(door.address(), options);
  EXPECT_TRUE(with_key.ListModels().ok());
  EXPECT_TRUE(with_key.Complete({.prompt = "x"}).ok());
  EXPECT_TRUE(Client(door.address()).ListModels().ok());
  EXPECT_THAT(door.keys,
              testing::ElementsAre("Bearer sk-0123456789abcdef", "Bearer sk-0123456789abcdef", ""));
}

TEST(ClientTest, WhoseRootsAreAskedForSpeaksTlsOnly) {
  Door plain;
  ClientOptions options;
  options.attempts = 1;
  options.call_timeout = std::chrono::seconds(20);
  options.tls_roots = "";  // this machine's
  const auto models = Client(plain.address(), options).ListModels();
  ASSERT_FALSE(models.ok());
  EXPECT_EQ(models.error().code, ErrorCode::kUnavailable);
}

TEST(ClientTest, WhatHadNotBegunIsSentAgain) {
  Door door;
  door.script = [&](grpc::ServerContext* context, auto&, Writer* writer) {
    if (door.calls < 3) {
      context->AddTrailingMetadata("retry-after-ms", "20");
      return grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "queue full");
    }
    Say(writer, "ok");
    return grpc::Status::OK;
  };
  Client client(door.address(), {.attempts = 3, .backoff = std::chrono::milliseconds(1)});
  auto answer = client.Complete({.prompt = "x"});
  ASSERT_TRUE(answer.ok()) << answer.error().message;
  EXPECT_EQ(answer->texts[0], "ok");
  EXPECT_EQ(door.calls, 3);
}

TEST(ClientTest, WhatHadBegunIsNotSentAgain) {
  Door door;
  door.script = [](auto*, auto&, Writer* writer) {
    Say(writer, "half an ans");
    return grpc::Status(grpc::StatusCode::UNAVAILABLE, "decode worker lost");
  };
  Client client(door.address());
  auto answer = client.Complete({.prompt = "x"});
  ASSERT_FALSE(answer.ok());
  EXPECT_EQ(answer.error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(answer.error().message, "decode worker lost");
  EXPECT_EQ(door.calls, 1);
}

TEST(ClientTest, AttemptsEndAndTheServersWishIsReported) {
  Door door;
  door.script = [](grpc::ServerContext* context, auto&, Writer*) {
    context->AddTrailingMetadata("retry-after-ms", "15");
    return grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "queue full");
  };
  Client client(door.address(), {.attempts = 2, .backoff = std::chrono::milliseconds(1)});
  auto answer = client.Complete({.prompt = "x"});
  ASSERT_FALSE(answer.ok());
  EXPECT_EQ(answer.error().code, ErrorCode::kOverloaded);
  EXPECT_EQ(answer.error().retry_after, std::chrono::milliseconds(15));
  EXPECT_EQ(door.calls, 2);
}

TEST(ClientTest, ErrorsOfTheRequestAreNotRetried) {
  Door door;
  door.script = [](auto*, auto&, Writer*) {
    return grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "top_p must be in (0, 1], got 2");
  };
  Client client(door.address());
  auto answer = client.Complete({.prompt = "x"});
  ASSERT_FALSE(answer.ok());
  EXPECT_EQ(answer.error().code, ErrorCode::kInvalidRequest);
  EXPECT_EQ(door.calls, 1);
}

// Runs until the client has gone away.
grpc::Status TalkUntilCancelled(grpc::ServerContext* context, Writer* writer) {
  while (!context->IsCancelled()) {
    Say(writer, "x");
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return grpc::Status::CANCELLED;
}

TEST(ClientTest, CancelEndsTheStreamOnBothSides) {
  Door door;
  std::atomic<bool> stopped{false};
  door.script = [&](grpc::ServerContext* context, auto&, Writer* writer) {
    const grpc::Status status = TalkUntilCancelled(context, writer);
    stopped = true;
    return status;
  };
  {
    Client client(door.address());
    Generation generation = client.Generate({.prompt = "x"});
    Event event;
    ASSERT_TRUE(generation.Next(event));
    std::thread other([&] { generation.Cancel(); });
    while (generation.Next(event)) {
    }
    other.join();
    EXPECT_EQ(generation.error().code, ErrorCode::kCancelled);
  }
  while (!stopped) std::this_thread::yield();  // the test's time-out is the limit
}

TEST(ClientTest, ADroppedGenerationStopsTheServersWork) {
  Door door;
  std::atomic<bool> stopped{false};
  door.script = [&](grpc::ServerContext* context, auto&, Writer* writer) {
    const grpc::Status status = TalkUntilCancelled(context, writer);
    stopped = true;
    return status;
  };
  Client client(door.address());
  {
    Generation generation = client.Generate({.prompt = "x"});
    Event event;
    ASSERT_TRUE(generation.Next(event));
  }
  while (!stopped) std::this_thread::yield();
}

TEST(ClientTest, TheTimeoutEndsARequest) {
  Door door;
  door.script = [](grpc::ServerContext* context, auto&, Writer* writer) {
    return TalkUntilCancelled(context, writer);
  };
  Client client(door.address());
  auto answer = client.Complete({.prompt = "x", .timeout = std::chrono::milliseconds(80)});
  ASSERT_FALSE(answer.ok());
  EXPECT_EQ(answer.error().code, ErrorCode::kDeadlineExceeded);
}

TEST(ClientTest, AnUnreachableAddressIsUnavailable) {
  std::string address;
  {
    Door door;
    address = door.address();
  }
  Client client(address, {.attempts = 2, .backoff = std::chrono::milliseconds(1)});
  auto models = client.ListModels();
  ASSERT_FALSE(models.ok());
  EXPECT_EQ(models.error().code, ErrorCode::kUnavailable);
}

TEST(ClientTest, UnaryCallsAreRetriedToo) {
  Door door;
  Client client(door.address(), {.backoff = std::chrono::milliseconds(1)});
  auto ids = client.Tokenize("ab");
  ASSERT_TRUE(ids.ok()) << ids.error().message;
  EXPECT_THAT(*ids, testing::ElementsAre('a', 'b'));
  auto models = client.ListModels();
  ASSERT_TRUE(models.ok());
  EXPECT_EQ(models->at(0).id(), "m");
}

}  // namespace
}  // namespace baton::sdk
