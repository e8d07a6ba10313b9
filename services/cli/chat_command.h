#pragma once

namespace baton::cli {

// baton chat [PROMPT]: one question and its answer, or a conversation.
int ChatCommand(int argc, const char* const* argv);

}  // namespace baton::cli
