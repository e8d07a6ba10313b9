#pragma once

namespace baton::cli {

// `baton doctor`: how well KV travels in a running cluster, what stands in its way, what to do.
// Exit code 0 when all is well, 1 with findings or when the router does not answer.
int DoctorCommand(int argc, const char* const* argv);

}  // namespace baton::cli
