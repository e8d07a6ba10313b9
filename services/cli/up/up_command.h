#pragma once

namespace baton::cli {

// baton up: a whole cluster on this machine under one supervisor. Must run on the main thread
// before any other is started.
int UpCommand(int argc, const char* const* argv);

}  // namespace baton::cli
