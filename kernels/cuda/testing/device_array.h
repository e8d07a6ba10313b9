#pragma once

#include <cstddef>
#include <memory>
#include <vector>

// Device memory of tests: a GPU's where the tests are compiled for one, else the emulation's.
namespace baton::kernels::cuda::testing {

class DeviceBytes {
 public:
  // Filled with 0xff; in the emulation nothing may read it before it was written.
  explicit DeviceBytes(size_t bytes);
  ~DeviceBytes();
  DeviceBytes(DeviceBytes&&) = default;
  DeviceBytes& operator=(DeviceBytes&&) = default;

  std::byte* data();
  size_t size() const { return bytes_; }
  void CopyIn(const void* host, size_t bytes, size_t offset = 0);
  void CopyOut(void* host, size_t bytes, size_t offset = 0);
  // As if never written (in the emulation: read by nobody from now on); 0xff on a GPU.
  void Forget(size_t offset, size_t bytes);

 private:
  struct Memory;
  struct Free {
    void operator()(Memory* memory) const;
  };
  size_t bytes_;
  std::unique_ptr<Memory, Free> memory_;
};

template <typename T>
class DeviceArray {
 public:
  explicit DeviceArray(size_t count) : bytes_(count * sizeof(T)), count_(count) {}
  explicit DeviceArray(const std::vector<T>& host) : DeviceArray(host.size()) {
    bytes_.CopyIn(host.data(), host.size() * sizeof(T));
  }
  T* data() { return reinterpret_cast<T*>(bytes_.data()); }
  size_t size() const { return count_; }
  std::vector<T> ToHost() {
    std::vector<T> host(count_);
    bytes_.CopyOut(host.data(), count_ * sizeof(T));
    return host;
  }

 private:
  DeviceBytes bytes_;
  size_t count_;
};

}  // namespace baton::kernels::cuda::testing
