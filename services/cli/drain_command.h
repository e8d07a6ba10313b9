#pragma once

namespace baton::cli {

// `baton drain WORKER`. Returns the process's exit code.
int DrainCommand(int argc, const char* const* argv);

}  // namespace baton::cli
