#include "bench/router/burst_worker.h"

#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "baton/v1/cluster.grpc.pb.h"
#include "baton/v1/worker.grpc.pb.h"
#include "common/base/check.h"
#include "common/model/load_model.h"
#include "common/rpc/channel.h"
#include "common/rpc/server.h"
#include "common/text/tokenizer.h"

namespace baton::bench {
namespace {

constexpr int32_t kBlocks = 1 << 20;

class BurstWorker : public v1::DecodeWorker::Service {
 public:
  explicit BurstWorker(int32_t token) : token_(token) {}

  grpc::Status Serve(
      grpc::ServerContext*,
      grpc::ServerReaderWriter<v1::DecodeEvent, v1::DecodeCommand>* stream) override {
    v1::DecodeCommand command;
    while (stream->Read(&command)) {
      for (const v1::Sequence& sequence : command.submit().sequences()) Answer(sequence, *stream);
    }
    return grpc::Status::OK;
  }

 private:
  void Answer(const v1::Sequence& sequence,
              grpc::ServerReaderWriter<v1::DecodeEvent, v1::DecodeCommand>& stream) const {
    const int32_t count = sequence.sampling().max_tokens();
    for (int32_t i = 0; i < count; ++i) {
      v1::DecodeEvent event;
      v1::SequenceDelta& delta = *event.add_deltas();
      delta.set_request_id(sequence.request_id());
      delta.set_choice(sequence.choice());
      delta.add_tokens()->set_token(token_);
      if (i == 0) delta.mutable_times();
      if (i + 1 == count) delta.set_finish(v1::FINISH_REASON_LENGTH);
      if (!stream.Write(event)) return;
    }
  }

  const int32_t token_;
};

v1::Registration RegistrationOf(const std::string& address, const std::string& model_dir) {
  const auto info = model::ReadModelInfo(model_dir);
  CHECK_OK(info.status());
  v1::Registration registration;
  registration.set_worker_id("decode-burst");
  registration.set_role(v1::WORKER_ROLE_DECODE);
  registration.set_model(info->name);
  registration.set_fingerprint("burst");
  registration.set_grpc_address(address);
  registration.set_protocol(1);
  registration.set_hash_salt("burst");
  registration.set_block_tokens(16);
  registration.set_num_blocks(kBlocks);
  registration.set_context_tokens_max(1 << 20);
  registration.set_vocab_size(info->vocab);
  for (const int32_t id : info->eos_token_ids) registration.add_eos_token_ids(id);
  registration.set_heartbeat_ms(1000);
  registration.set_batch_sequences_max(4096);
  registration.set_step_tokens_max(2048);
  registration.set_kv_bytes_per_token(1000);
  return registration;
}

}  // namespace

void ServeBursts(const std::string& router, const std::string& model_dir) {
  const auto tokenizer = text::Tokenizer::Load(model_dir);
  CHECK_OK(tokenizer.status());
  const auto tokens = (*tokenizer)->Encode("a", false);
  CHECK_OK(tokens.status());
  BurstWorker worker(tokens->front());
  const auto server = rpc::StartServer({.listen = "127.0.0.1:0"}, {&worker});
  CHECK_OK(server.status());

  const auto cluster = v1::Cluster::NewStub(rpc::PeerChannel(router));
  grpc::ClientContext context;
  const auto stream = cluster->Attach(&context);
  v1::WorkerReport report;
  *report.mutable_registration() = RegistrationOf(server->address, model_dir);
  while (stream->Write(report)) {
    report.Clear();
    v1::Load& load = *report.mutable_load();
    load.set_blocks_total(kBlocks);
    load.set_blocks_free(kBlocks);
    absl::SleepFor(absl::Milliseconds(500));  // a heartbeat
  }
}

}  // namespace baton::bench
