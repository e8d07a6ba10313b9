#pragma once

#include <string>
#include <string_view>

namespace baton::rpc {

// From now on, what gRPC has to say of errors and of failed handshakes comes in our log, each thing
// once in ten seconds; the latter with what is probably wrong. Once per process; harmless again.
void LogByGrpcGoesToOurs();

// What is probably wrong, of gRPC's words about a handshake; empty when nothing is known.
std::string_view WhyHandshakeFailed(std::string_view message);

}  // namespace baton::rpc
