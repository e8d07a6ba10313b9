#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <type_traits>

namespace baton::router {

// Zeroed memory that begins at a cache line, for tables that are read at random: in huge pages
// where the system has them, since a look-up in gigabytes of small pages pays for a page walk at
// every probe. Pages that are never touched cost nothing.
void* MapZeroed(size_t bytes);
void Unmap(void* memory, size_t bytes);

// An array in such memory. Zero bytes must be a valid value.
template <typename T>
class HugeArray {
 public:
  static_assert(std::is_trivially_destructible_v<T>);
  explicit HugeArray(size_t size)
      : size_(size), data_(static_cast<T*>(MapZeroed(size * sizeof(T)))) {}
  ~HugeArray() { Unmap(data_, size_ * sizeof(T)); }
  HugeArray(const HugeArray&) = delete;
  HugeArray& operator=(const HugeArray&) = delete;

  T* data() const { return data_; }
  T& operator[](size_t i) const { return data_[i]; }
  size_t bytes() const { return size_ * sizeof(T); }

 private:
  const size_t size_;
  T* const data_;
};

}  // namespace baton::router
