#pragma once

#include <string>

namespace baton::bench {

// A decode worker of Baton's own protocol that computes nothing: what is asked for comes at once,
// one message per token and step, as from a worker that decodes one sequence. Registers with the
// router at `router`, as the model in `model_dir`, and says of itself what a busy router would want
// to know. Does not return.
void ServeBursts(const std::string& router, const std::string& model_dir);

}  // namespace baton::bench
