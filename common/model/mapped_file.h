#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

#include "common/base/status.h"

namespace baton::model {

// A whole file mapped read-only. Owns the mapping; movable. The file must not be truncated by
// others while it is mapped (the kernel would answer with SIGBUS), which is how model folders are
// treated.
class MappedFile {
 public:
  static absl::StatusOr<MappedFile> Open(const std::filesystem::path& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::string& path() const { return path_; }

  // Asks the kernel to read [offset, offset + length) ahead.
  void WillNeed(size_t offset, size_t length) const;
  // Gives the pages that lie wholly inside [offset, offset + length) back; reading them again is
  // possible and reads the file again.
  void Release(size_t offset, size_t length) const;

 private:
  MappedFile(std::string path, const std::byte* data, size_t size)
      : path_(std::move(path)), data_(data), size_(size) {}

  std::string path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace baton::model
