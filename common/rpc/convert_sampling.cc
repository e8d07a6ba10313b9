#include "common/rpc/convert.h"

namespace baton::rpc {

SamplingParams FromProto(const v1::SamplingParams& proto) {
  SamplingParams params;
  if (proto.has_temperature()) params.temperature = proto.temperature();
  params.top_k = proto.top_k();
  if (proto.has_top_p()) params.top_p = proto.top_p();
  params.min_p = proto.min_p();
  if (proto.has_repetition_penalty()) params.repetition_penalty = proto.repetition_penalty();
  params.presence_penalty = proto.presence_penalty();
  params.frequency_penalty = proto.frequency_penalty();
  for (const auto& [token, bias] : proto.logit_bias()) params.logit_bias.emplace_back(token, bias);
  if (proto.has_seed()) params.seed = proto.seed();
  if (proto.has_logprobs()) params.logprobs = proto.logprobs();
  if (proto.has_prompt_logprobs()) params.prompt_logprobs = proto.prompt_logprobs();
  if (proto.has_max_tokens()) params.max_tokens = proto.max_tokens();
  params.min_tokens = proto.min_tokens();
  params.ignore_eos = proto.ignore_eos();
  params.stop_token_ids.assign(proto.stop_token_ids().begin(), proto.stop_token_ids().end());
  params.stop_strings.assign(proto.stop().begin(), proto.stop().end());
  params.include_stop_in_output = proto.include_stop_in_output();
  return params;
}

v1::SamplingParams ToProto(const SamplingParams& params) {
  v1::SamplingParams proto;
  proto.set_temperature(params.temperature);
  proto.set_top_k(params.top_k);
  proto.set_top_p(params.top_p);
  proto.set_min_p(params.min_p);
  proto.set_repetition_penalty(params.repetition_penalty);
  proto.set_presence_penalty(params.presence_penalty);
  proto.set_frequency_penalty(params.frequency_penalty);
  for (const auto& [token, bias] : params.logit_bias) (*proto.mutable_logit_bias())[token] = bias;
  if (params.seed) proto.set_seed(*params.seed);
  if (params.logprobs) proto.set_logprobs(*params.logprobs);
  if (params.prompt_logprobs) proto.set_prompt_logprobs(*params.prompt_logprobs);
  if (params.max_tokens) proto.set_max_tokens(*params.max_tokens);
  proto.set_min_tokens(params.min_tokens);
  proto.set_ignore_eos(params.ignore_eos);
  for (int32_t token : params.stop_token_ids) proto.add_stop_token_ids(token);
  for (const std::string& stop : params.stop_strings) proto.add_stop(stop);
  proto.set_include_stop_in_output(params.include_stop_in_output);
  return proto;
}

GeneratedToken FromProto(const v1::GeneratedToken& proto) {
  GeneratedToken token{.token = proto.token(), .logprob = {}, .top = {}};
  if (proto.has_logprob()) token.logprob = proto.logprob();
  token.top.reserve(proto.top_size());
  for (const auto& chance : proto.top()) token.top.push_back({chance.token(), chance.logprob()});
  return token;
}

v1::GeneratedToken ToProto(const GeneratedToken& token) {
  v1::GeneratedToken proto;
  proto.set_token(token.token);
  if (token.logprob) proto.set_logprob(*token.logprob);
  for (const TokenChance& chance : token.top) {
    auto* top = proto.add_top();
    top->set_token(chance.token);
    top->set_logprob(chance.logprob);
  }
  return proto;
}

SequenceSpec FromProto(const v1::Sequence& proto) {
  SequenceSpec spec;
  spec.id = {RequestId(proto.request_id()), proto.choice()};
  spec.prompt.assign(proto.prompt().begin(), proto.prompt().end());
  spec.sampling = FromProto(proto.sampling());
  spec.resumed_tokens = proto.resumed_tokens();
  spec.priority = proto.priority();
  if (proto.time_left_us() != 0) spec.time_left = absl::Microseconds(proto.time_left_us());
  spec.traceparent = proto.traceparent();
  return spec;
}

v1::Sequence ToProto(const SequenceSpec& spec) {
  v1::Sequence proto;
  proto.set_request_id(spec.id.request.value());
  proto.set_choice(spec.id.choice);
  proto.mutable_prompt()->Add(spec.prompt.begin(), spec.prompt.end());
  *proto.mutable_sampling() = ToProto(spec.sampling);
  proto.set_resumed_tokens(spec.resumed_tokens);
  proto.set_priority(spec.priority);
  if (spec.time_left != absl::InfiniteDuration()) {
    // Nothing left is little left: 0 says that there is no limit.
    proto.set_time_left_us(std::max<int64_t>(1, absl::ToInt64Microseconds(spec.time_left)));
  }
  proto.set_traceparent(spec.traceparent);
  return proto;
}

// The enums are kept equal on purpose; the test walks through all of them.
FinishReason FromProto(v1::FinishReason proto) { return static_cast<FinishReason>(proto); }
v1::FinishReason ToProto(FinishReason reason) { return static_cast<v1::FinishReason>(reason); }

}  // namespace baton::rpc
