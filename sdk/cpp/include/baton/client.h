#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "baton/error.h"
#include "baton/generation.h"
#include "baton/request.h"

namespace baton::sdk {

struct ClientOptions {
  // A request that had not begun (nothing of its answer has arrived) is sent again when the cluster
  // was overloaded or unavailable: so many attempts in all, at least one.
  int attempts = 3;
  // Pause before the second attempt, doubled for every further one; a longer wish of the server is
  // followed.
  std::chrono::milliseconds backoff{100};
  // Of Tokenize, Detokenize and ListModels, retries included.
  std::chrono::milliseconds call_timeout{10000};

  // Goes with every call, where the cluster asks for keys; empty: none.
  std::string api_key;
  // The connection is TLS, and the router proves itself by a certificate of one of these CAs (PEM
  // text; empty: of those this machine believes). Absent: plain.
  std::optional<std::string> tls_roots;
  // The name its certificate must have; empty: the host that is dialled. Every router of a cluster
  // with a CA of its own has "router.baton.internal".
  std::string tls_name;
};

struct Answer {
  std::vector<std::string> texts;  // one per choice
  std::vector<v1::FinishReason> finish;
  // With sampling.prompt_logprobs: the prompt's tokens, the same for all choices. With
  // sampling.max_tokens 0 they are the whole answer: a text is scored.
  std::vector<v1::GeneratedToken> prompt;
  v1::Started started;
  v1::Usage usage;
};

// A connection to a Baton cluster's gRPC door. Cheap to keep, thread-safe; any number of requests
// may run at once. Nothing throws.
//
//   baton::sdk::Client client("127.0.0.1:9000");
//   auto generation = client.Generate({.prompt = baton::sdk::Chat{{"user", "What is a KV
//   cache?"}}}); for (const auto& event : generation) std::cout << event.text << std::flush; if
//   (generation.error()) std::cerr << generation.error().message;
class Client {
 public:
  // "host:port". Does not connect yet: an unreachable address shows in the first call.
  explicit Client(const std::string& address, ClientOptions options = {});
  ~Client();
  Client(Client&&) noexcept;
  Client& operator=(Client&&) noexcept;

  // Starts a request and returns at once. The client must outlive the Generation.
  Generation Generate(const Request& request);

  // Runs a request to its end. `on_text` sees choice 0 as it comes. A choice that fails makes the
  // whole call an error.
  Result<Answer> Complete(const Request& request,
                          const std::function<void(std::string_view)>& on_text = nullptr);

  Result<TokenIds> Tokenize(const std::string& text, const std::string& model = "",
                            bool add_special_tokens = true);
  Result<TokenIds> Tokenize(const Chat& chat, const std::string& model = "");
  Result<std::string> Detokenize(const TokenIds& ids, const std::string& model = "",
                                 bool skip_special_tokens = false);
  Result<std::vector<v1::ModelCard>> ListModels();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace baton::sdk
