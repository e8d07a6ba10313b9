#pragma once

namespace baton::cli {

// baton check: the effective configuration, where each value comes from, and what it implies.
int CheckCommand(int argc, const char* const* argv);

}  // namespace baton::cli
