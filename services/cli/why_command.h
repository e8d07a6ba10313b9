#pragma once

namespace baton::cli {

// baton why [REQUEST]: where a request ran, why there, and what really happened, beside what was
// expected.
int WhyCommand(int argc, const char* const* argv);

}  // namespace baton::cli
