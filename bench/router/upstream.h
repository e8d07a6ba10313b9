#pragma once

#include <cstdint>

namespace baton::bench {

// A server of the OpenAI API that says "a" as often as max_tokens asks for, each in an event and a
// write of its own, as fast as it can: what stands behind the proxies that Baton's router is
// measured beside, and, asked directly, what any of them costs nothing compared with. Listens on
// 127.0.0.1; one thread; does not return.
void ServeUpstream(uint16_t port);

}  // namespace baton::bench
