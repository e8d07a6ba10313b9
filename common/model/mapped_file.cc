#include "common/model/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

namespace baton::model {
namespace {

absl::Status LastError(const std::string& path) {
  const int code = errno;
  const std::string text = std::generic_category().message(code);
  if (code == ENOENT) return NotFound("{}: {}", path, text);
  return FailedPrecondition("{}: {}", path, text);
}

}  // namespace

absl::StatusOr<MappedFile> MappedFile::Open(const std::filesystem::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return LastError(path.string());
  struct stat stat{};
  void* data = nullptr;
  const bool known = ::fstat(fd, &stat) == 0;
  if (known && S_ISREG(stat.st_mode) && stat.st_size > 0) {
    data = ::mmap(nullptr, size_t(stat.st_size), PROT_READ, MAP_PRIVATE, fd, 0);
  }
  const absl::Status error =
      known && data != MAP_FAILED ? absl::OkStatus() : LastError(path.string());
  ::close(fd);
  RETURN_IF_ERROR(error);
  if (!S_ISREG(stat.st_mode)) return InvalidArgument("{}: not a regular file", path.string());
  return MappedFile(path.string(), static_cast<const std::byte*>(data), size_t(stat.st_size));
}

MappedFile::MappedFile(MappedFile&& other) noexcept { *this = std::move(other); }

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

void MappedFile::WillNeed(size_t offset, size_t length) const {
  const size_t page = size_t(::sysconf(_SC_PAGESIZE));
  const size_t begin = offset / page * page;
  ::madvise(const_cast<std::byte*>(data_) + begin, offset + length - begin, MADV_WILLNEED);
}

void MappedFile::Release(size_t offset, size_t length) const {
  const size_t page = size_t(::sysconf(_SC_PAGESIZE));
  const size_t begin = (offset + page - 1) / page * page;
  const size_t end = (offset + length) / page * page;
  if (end <= begin) return;
  ::madvise(const_cast<std::byte*>(data_) + begin, end - begin, MADV_DONTNEED);
}

}  // namespace baton::model
