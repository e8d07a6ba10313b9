#include "services/cli/models_command.h"

#include "baton/client.h"
#include "common/config/command_line.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"
#include "services/cli/client_options.h"

namespace baton::cli {
namespace {

void PrintTable(const std::vector<v1::ModelCard>& models) {
  fmt::print("{:<32} {:>10} {:>10}\n", "MODEL", "CONTEXT", "VOCABULARY");
  for (const v1::ModelCard& model : models) {
    fmt::print("{:<32} {:>10} {:>10}\n", model.id(), model.context_tokens_max(),
               model.vocab_size());
  }
}

void PrintJson(const std::vector<v1::ModelCard>& models) {
  nlohmann::json list = nlohmann::json::array();
  for (const v1::ModelCard& model : models) {
    list.push_back({{"id", model.id()},
                    {"context_tokens_max", model.context_tokens_max()},
                    {"vocab_size", model.vocab_size()},
                    {"created", model.created()}});
  }
  fmt::print("{}\n", list.dump(2));
}

}  // namespace

int ModelsCommand(int argc, const char* const* argv) {
  ClientOptions options;
  bool json = false;
  config::OptionSet client("client", "Cluster"), models("models", "Models");
  client.Add("grpc", &options.grpc, {.help = "gRPC door of the cluster"});
  options.door.AddKeyTo(client);
  options.door.AddGrpcTo(client);
  models.Add("json", &json, {.help = "JSON instead of a table", .bare = true});
  const config::Program program{.name = "baton models",
                                .about = "Lists the models that are served."};
  if (auto exit = config::ParseCommandLine(program, argc, argv, config::ProcessEnvironment(),
                                           {&client, &models})) {
    return config::Leave(*exit);
  }
  const auto door = options.door.Grpc();
  if (!door.ok()) {
    fmt::print(stderr, "baton models: {}\n", MessageOf(door.status()));
    return 1;
  }
  const auto served = sdk::Client(options.grpc.text(), *door).ListModels();
  if (!served.ok()) {
    fmt::print(stderr, "baton models: {}: {}\n", NameOf(served.error().code),
               served.error().message);
    return 1;
  }
  json ? PrintJson(*served) : PrintTable(*served);
  return 0;
}

}  // namespace baton::cli
