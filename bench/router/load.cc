#include "bench/router/load.h"

#include <boost/asio.hpp>
#include <memory>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/time/clock.h"
#include "common/base/check.h"
#include "fmt/format.h"
#include "fmt/ranges.h"

namespace baton::bench {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

class Client;

// What all clients of a run share.
struct Campaign {
  const LoadOptions& options;
  asio::io_context io;
  tcp::endpoint endpoint;
  int begun = 0;
  LoadResult result;
};

// Lines, as documents have them; behind what is shared, all different.
std::string PromptText(const LoadOptions& options, int number) {
  std::string prompt;
  const auto grow_to = [&](int bytes, std::string_view line) {
    while (prompt.size() < static_cast<size_t>(bytes)) prompt += line;
  };
  grow_to(options.shared_bytes, "A router picks a worker for each request.\\n");
  grow_to(options.prompt_bytes, fmt::format("Line of request {:08}, and nobody waits.\\n", number));
  return prompt;
}

std::string PromptTokens(const LoadOptions& options, int number) {
  std::vector<int> tokens(static_cast<size_t>(options.token_ids));
  for (size_t i = 0; i < tokens.size(); ++i)
    tokens[i] = 10 + (number * 31 + static_cast<int>(i) * 7) % 200;
  return fmt::format("{}", fmt::join(tokens, ","));
}

std::string RequestText(const LoadOptions& options, int number) {
  const bool chat = options.token_ids == 0;
  const std::string prompt = chat ? fmt::format(R"("messages":[{{"role":"user","content":"{}"}}])",
                                                PromptText(options, number))
                                  : fmt::format(R"("prompt":[{}])", PromptTokens(options, number));
  const std::string body =
      fmt::format(R"({{"model":"{}",{},"max_tokens":{},"stream":true,"temperature":0}})",
                  options.model, prompt, options.max_tokens);
  return fmt::format(
      "POST /v1/{} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: "
      "{}\r\n\r\n{}",
      chat ? "chat/completions" : "completions", options.address, body.size(), body);
}

// One connection and the request on it. Does not read HTTP as such: a stream's events are its own
// end marks, and the last chunk comes with the last of them or right behind it.
class Client : public std::enable_shared_from_this<Client> {
 public:
  explicit Client(Campaign& campaign) : campaign_(campaign), socket_(campaign.io) {}

  void Next() {
    if (campaign_.begun == campaign_.options.requests) return;
    request_ = RequestText(campaign_.options, campaign_.begun++);
    received_.clear();
    head_seen_ = text_seen_ = done_seen_ = false;
    began_ = absl::Now();
    if (socket_.is_open()) return Write();
    socket_.async_connect(
        campaign_.endpoint, [self = shared_from_this()](boost::system::error_code error) {
          if (error) return self->Fail("connect: " + error.message());
          self->socket_.set_option(tcp::no_delay(self->campaign_.options.no_delay));
          self->Write();
        });
  }

 private:
  void Write() {
    asio::async_write(socket_, asio::buffer(request_),
                      [self = shared_from_this()](boost::system::error_code error, size_t) {
                        if (error) return self->Fail("write: " + error.message());
                        self->Read();
                      });
  }

  void Read() {
    socket_.async_read_some(
        asio::buffer(buffer_),
        [self = shared_from_this()](boost::system::error_code error, size_t bytes) {
          if (error) return self->Fail("read: " + error.message());
          self->Take(std::string_view(self->buffer_.data(), bytes));
        });
  }

  void Take(std::string_view bytes) {
    received_.append(bytes);
    if (!head_seen_) {
      if (!absl::StrContains(received_, "\r\n\r\n")) return Read();
      head_seen_ = true;
      if (!absl::StartsWith(received_, "HTTP/1.1 200")) return Fail(received_.substr(0, 300));
    }
    // As some write it, and as others write it anew.
    if (!text_seen_ &&
        (absl::StrContains(received_, ":\"a\"") || absl::StrContains(received_, ": \"a\""))) {
      text_seen_ = true;
      campaign_.result.ttft.push_back(absl::Now() - began_);
    }
    // Marks may lie across two reads: that many bytes of what is behind us are kept.
    done_seen_ = done_seen_ || absl::StrContains(received_, "[DONE]");
    if (!done_seen_ || !absl::EndsWith(received_, "\r\n0\r\n\r\n")) {
      if (text_seen_ && received_.size() > 64) received_.erase(0, received_.size() - 64);
      return Read();
    }
    if (!text_seen_) return Fail("an answer without text: " + received_.substr(0, 300));
    campaign_.result.total.push_back(absl::Now() - began_);
    Next();
  }

  void Fail(std::string what) {
    LoadResult& result = campaign_.result;
    if (result.failed++ == 0) result.first_failure = std::move(what);
    boost::system::error_code ignored;
    socket_.close(ignored);
    Next();
  }

  Campaign& campaign_;
  tcp::socket socket_;
  std::string request_;
  std::string received_;
  std::array<char, 64 << 10> buffer_;
  bool head_seen_ = false;
  bool text_seen_ = false;
  bool done_seen_ = false;
  absl::Time began_;
};

tcp::endpoint EndpointOf(const std::string& address) {
  const size_t colon = address.rfind(':');
  int port = 0;
  CHECK(colon != std::string::npos && absl::SimpleAtoi(address.substr(colon + 1), &port), "{}",
        address);
  return {asio::ip::make_address(address.substr(0, colon)), static_cast<uint16_t>(port)};
}

}  // namespace

LoadResult Run(const LoadOptions& options) {
  Campaign campaign{.options = options,
                    .io = {},
                    .endpoint = EndpointOf(options.address),
                    .begun = 0,
                    .result = {}};
  const absl::Time began = absl::Now();
  for (int i = 0; i < options.concurrency; ++i) std::make_shared<Client>(campaign)->Next();
  campaign.io.run();
  campaign.result.seconds = absl::ToDoubleSeconds(absl::Now() - began);
  return std::move(campaign.result);
}

}  // namespace baton::bench
