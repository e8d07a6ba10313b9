#pragma once

#include <cstdint>
#include <string>
#include <tuple>

namespace baton {

// Of a file: another one whenever it is written, or another file takes its name (as a mounted
// secret's does). Zeros when it is not there.
using FileStamp = std::tuple<uint64_t, uint64_t, int64_t, int64_t>;
FileStamp StampOf(const std::string& path);

}  // namespace baton
