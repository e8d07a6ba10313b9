#pragma once

namespace baton {

// What main() of a program that serves calls before anything else.
void StartProcess();

}  // namespace baton
