#pragma once

namespace baton::cli {

// baton models: what is served, as a table or JSON.
int ModelsCommand(int argc, const char* const* argv);

}  // namespace baton::cli
