#pragma once

#include "kernels/cuda/primitives/platform.cuh"

#if !BATON_ON_DEVICE
#include <cstring>
#include <type_traits>

#include "kernels/cuda/emulation/device_memory.h"
#include "kernels/cuda/emulation/violations.h"
#endif

// Views of device memory and shared memory. On the device they are pointers and cost nothing; in
// the emulation every access is checked: bounds, alignment, whether the bytes were ever written,
// and whether something orders it after other threads' accesses.
namespace baton::kernels::cuda {

// Where memory lies in which rows of 128 bytes are swizzled: eight of them.
constexpr size_t kSwizzleAlignment = 1024;

#if BATON_ON_DEVICE

// Elements in device memory. A `const T` view reads through the read-only path: nothing may write
// there during the launch.
template <typename T>
class Global {
 public:
  BATON_DEVICE explicit Global(T* data) : data_(data) {}
  BATON_DEVICE Global operator+(size_t count) const { return Global(data_ + count); }
  BATON_DEVICE T& operator[](size_t i) const { return data_[i]; }
  // 16 bytes from element i; their address is a multiple of 16.
  BATON_DEVICE Vec16 Load16(size_t i) const {
    const uint4 v = *reinterpret_cast<const uint4*>(data_ + i);
    return {{v.x, v.y, v.z, v.w}};
  }
  BATON_DEVICE void Store16(size_t i, const Vec16& v) const {
    *reinterpret_cast<uint4*>(data_ + i) =
        make_uint4(v.words[0], v.words[1], v.words[2], v.words[3]);
  }
  BATON_DEVICE T* pointer(size_t i) const { return data_ + i; }

 private:
  T* data_;
};

template <typename T>
class Shared {
 public:
  BATON_DEVICE Shared(T* data, size_t) : data_(data) {}
  BATON_DEVICE T& operator[](size_t i) const { return data_[i]; }
  BATON_DEVICE Vec16 Load16(size_t i) const {
    const uint4 v = *reinterpret_cast<const uint4*>(data_ + i);
    return {{v.x, v.y, v.z, v.w}};
  }
  BATON_DEVICE void Store16(size_t i, const Vec16& v) const {
    *reinterpret_cast<uint4*>(data_ + i) =
        make_uint4(v.words[0], v.words[1], v.words[2], v.words[3]);
  }
  BATON_DEVICE T* pointer(size_t i) const { return data_ + i; }
  // The same bytes as elements of another type, for memory that is used twice.
  template <typename U>
  BATON_DEVICE Shared<U> As() const {
    return Shared<U>(reinterpret_cast<U*>(data_), 0);
  }

 private:
  T* data_;
};

// The launch's dynamic shared memory, taken piece by piece by all threads alike. The plan of the
// launch adds the same pieces up (SharedBytesOf).
class SharedArena {
 public:
  BATON_DEVICE SharedArena() {
    extern __shared__ __align__(16) unsigned char baton_shared_arena[];
    next_ = baton_shared_arena;
  }
  template <typename T>
  BATON_DEVICE Shared<T> Take(size_t count) {
    T* data = reinterpret_cast<T*>(next_);
    next_ += (count * sizeof(T) + 15) / 16 * 16;
    return Shared<T>(data, count);
  }
  // The next piece begins at a multiple of kSwizzleAlignment of shared memory's addresses. The plan
  // counts that much for it.
  BATON_DEVICE void AlignForSwizzle() {
    const uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(next_));
    next_ += (kSwizzleAlignment - address % kSwizzleAlignment) % kSwizzleAlignment;
  }

 private:
  unsigned char* next_;
};

#else

// What operator[] gives: reads and writes are told apart, so that both can be checked.
template <typename View, typename T>
class Cell {
 public:
  Cell(const View& view, size_t index) : view_(view), index_(index) {}
  operator T() const { return view_.template Read<T>(index_); }
  const Cell& operator=(T value) const {
    view_.template Write<T>(index_, value);
    return *this;
  }
  const Cell& operator+=(T value) const { return *this = T(*this) + value; }

 private:
  const View& view_;
  size_t index_;
};

template <typename T>
class Global {
  using Value = std::remove_const_t<T>;

 public:
  explicit Global(T* data) : data_(data), allocation_(emulation::Allocation::Of(data)) {}
  Global operator+(size_t count) const {
    Global moved = *this;
    moved.data_ += count;
    return moved;
  }
  Cell<Global, Value> operator[](size_t i) const { return {*this, i}; }
  Vec16 Load16(size_t i) const { return Read<Vec16>(i); }
  void Store16(size_t i, const Vec16& v) const { Write<Vec16>(i, v); }
  T* pointer(size_t i) const { return data_ + i; }

  template <typename V>
  V Read(size_t i) const {
    V value = {};
    if (IsInside(i, sizeof(V))) {
      allocation_->CheckRead(Offset(i), sizeof(V));
      std::memcpy(&value, data_ + i, sizeof(V));
    }
    return value;
  }
  template <typename V>
  void Write(size_t i, const V& value) const {
    static_assert(!std::is_const_v<T>);
    if (!IsInside(i, sizeof(V))) return;
    allocation_->CheckWrite(Offset(i), sizeof(V));
    std::memcpy(data_ + i, &value, sizeof(V));
  }
  bool IsInside(size_t i, size_t bytes) const {
    emulation::MayYield();
    const auto* at = reinterpret_cast<const std::byte*>(data_ + i);
    if (allocation_ == nullptr || at < allocation_->data() ||
        at + bytes > allocation_->data() + allocation_->bytes()) {
      emulation::Report(
          emulation::ViolationKind::kOutOfBounds,
          "device memory, element " + std::to_string(ptrdiff_t(i)) + ", " + emulation::WhereNow());
      return false;
    }
    if (reinterpret_cast<uintptr_t>(at) % bytes != 0) {
      emulation::Report(
          emulation::ViolationKind::kMisaligned,
          "device memory, element " + std::to_string(i) + ", " + emulation::WhereNow());
      return false;
    }
    return true;
  }
  size_t Offset(size_t i) const {
    return size_t(reinterpret_cast<const std::byte*>(data_ + i) - allocation_->data());
  }
  emulation::Allocation* allocation() const { return allocation_; }

 private:
  T* data_;
  emulation::Allocation* allocation_;
};

template <typename T>
class Shared {
 public:
  Shared(size_t offset, size_t count) : offset_(offset), count_(count) {}
  Cell<Shared, T> operator[](size_t i) const { return {*this, i}; }
  Vec16 Load16(size_t i) const { return Read<Vec16>(i); }
  void Store16(size_t i, const Vec16& v) const { Write<Vec16>(i, v); }

  template <typename V>
  V Read(size_t i) const {
    V value = {};
    if (IsInside(i, sizeof(V))) {
      emulation::BlockShared().CheckRead(Offset(i), sizeof(V), emulation::Now());
      std::memcpy(&value, emulation::BlockShared().data() + Offset(i), sizeof(V));
    }
    return value;
  }
  template <typename V>
  void Write(size_t i, const V& value) const {
    if (!IsInside(i, sizeof(V))) return;
    emulation::BlockShared().CheckWrite(Offset(i), sizeof(V), emulation::Now());
    std::memcpy(emulation::BlockShared().data() + Offset(i), &value, sizeof(V));
  }
  bool IsInside(size_t i, size_t bytes) const {
    emulation::MayYield();
    const char* wrong = nullptr;
    auto kind = emulation::ViolationKind::kOutOfBounds;
    if (i >= count_ || i * sizeof(T) + bytes > count_ * sizeof(T)) {
      wrong = "shared array of ";
    } else if (Offset(i) % bytes != 0) {
      wrong = "misaligned in a shared array of ", kind = emulation::ViolationKind::kMisaligned;
    } else if (Offset(i) + bytes > emulation::BlockShared().bytes()) {
      wrong = "beyond the launch's shared memory, in an array of ";
    }
    if (wrong == nullptr) return true;
    emulation::Report(kind, wrong + std::to_string(count_) + ", element " +
                                std::to_string(ptrdiff_t(i)) + ", " + emulation::WhereNow());
    return false;
  }
  size_t Offset(size_t i) const { return offset_ + i * sizeof(T); }
  template <typename U>
  Shared<U> As() const {
    return Shared<U>(offset_, count_ * sizeof(T) / sizeof(U));
  }

 private:
  size_t offset_;
  size_t count_;
};

class SharedArena {
 public:
  template <typename T>
  Shared<T> Take(size_t count) {
    const size_t offset = next_;
    next_ += (count * sizeof(T) + 15) / 16 * 16;
    if (next_ > emulation::BlockShared().bytes()) {
      emulation::Report(emulation::ViolationKind::kResources,
                        "more shared memory than the launch's " +
                            std::to_string(emulation::BlockShared().bytes()) + " bytes, " +
                            emulation::WhereNow());
    }
    return Shared<T>(offset, count);
  }
  // As on a device whose shared memory does not begin at such a multiple.
  void AlignForSwizzle() { next_ += kSwizzleAlignment - next_ % kSwizzleAlignment; }

 private:
  size_t next_ = 0;
};

#endif

// What SharedArena::Take uses up.
template <typename T>
constexpr size_t SharedBytesOf(size_t count) {
  return (count * sizeof(T) + 15) / 16 * 16;
}

}  // namespace baton::kernels::cuda
