#pragma once

#include "baton/v1/inference.grpc.pb.h"
#include "services/router/access/api_keys.h"
#include "services/router/dispatch/dispatcher.h"
#include "services/router/grpc/generate_call.h"
#include "services/router/intake/intake.h"

namespace baton::router {

// `baton.v1.Inference`: the same intake and the same flights as HTTP's. Callbacks translate.
class InferenceService : public v1::Inference::CallbackService {
 public:
  struct Options {
    GenerateCall::Options generate;
    std::string tenant_metadata = "x-baton-tenant";  // lower case
  };
  // Everything borrowed outlives the service's server.
  InferenceService(const Options& options, const ApiKeys& keys, const Intake& intake,
                   Dispatcher& dispatcher, const Roster& roster)
      : options_(options), keys_(keys), intake_(intake), dispatcher_(dispatcher), roster_(roster) {}

  // False when streams were still open after `patience`. Ends no stream.
  bool AwaitStreamsEnd(absl::Duration patience) { return open_.AwaitNone(patience); }

  grpc::ServerWriteReactor<v1::GenerateEvent>* Generate(
      grpc::CallbackServerContext* context, const v1::GenerateRequest* request) override;
  grpc::ServerUnaryReactor* Tokenize(grpc::CallbackServerContext* context,
                                     const v1::TokenizeRequest* request,
                                     v1::TokenizeResponse* response) override;
  grpc::ServerUnaryReactor* Detokenize(grpc::CallbackServerContext* context,
                                       const v1::DetokenizeRequest* request,
                                       v1::DetokenizeResponse* response) override;
  grpc::ServerUnaryReactor* ListModels(grpc::CallbackServerContext* context,
                                       const v1::ListModelsRequest* request,
                                       v1::ListModelsResponse* response) override;

 private:
  // Of the caller, by its key.
  absl::StatusOr<std::string> TenantOf(const grpc::CallbackServerContext& context) const;

  const Options options_;
  const ApiKeys& keys_;
  const Intake& intake_;
  Dispatcher& dispatcher_;
  const Roster& roster_;
  OpenCalls open_;
};

}  // namespace baton::router
