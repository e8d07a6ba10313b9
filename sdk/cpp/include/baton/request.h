#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "baton/v1/inference.pb.h"
#include "baton/v1/sampling.pb.h"

namespace baton::sdk {

// How tokens are chosen: temperature, top_p, max_tokens, stop, seed, logprobs … The wire's own
// message; absent fields take the defaults that sampling.proto documents.
using Sampling = v1::SamplingParams;

struct ChatMessage {
  std::string role;     // "system", "user", "assistant" or "tool"
  std::string content;  // UTF-8
};
using Chat = std::vector<ChatMessage>;
using TokenIds = std::vector<int32_t>;

// Text is tokenized as it is; Chat goes through the model's chat template; TokenIds are used as
// they are.
using Prompt = std::variant<std::string, Chat, TokenIds>;

struct Request {
  std::string model;  // empty: the only one that is served
  Prompt prompt;
  Sampling sampling;
  int32_t n = 1;                         // sequences from one prompt, 1 … 16
  bool echo = false;                     // put the prompt in front of the output; not with Chat
  int32_t priority = 0;                  // -100 … 100, smaller is more urgent
  std::string user;                      // for your own logs
  bool return_token_ids = false;         // events carry `tokens`
  std::chrono::milliseconds timeout{0};  // for the whole request, retries included; 0: none
};

}  // namespace baton::sdk
