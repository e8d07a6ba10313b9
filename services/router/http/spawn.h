#pragma once

#include <functional>

namespace baton::router {

// Runs a task on a thread that may be busy for a while; false: too many wait already. I/O threads
// have parsing and tokenizing done this way.
using Spawn = std::function<bool(std::function<void()>)>;

}  // namespace baton::router
