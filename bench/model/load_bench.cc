// How fast a model's weights are loaded, beside a plain read of its files in the same run.
//
//   load_bench --model FOLDER [--device cpu|cuda:N] [--cold]
//
// Each figure is the best of --repeats. `read` is one thread's read() of every file, `copy` are
// --threads threads that copy the mapped files to memory that is there. --cold has the kernel
// forget the files before each turn (as far as nobody else has them mapped), so that the disk is
// measured too.

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "CLI/CLI.hpp"
#include "common/base/check.h"
#include "common/base/clock.h"
#include "common/model/device.h"
#include "common/model/load_model.h"
#include "common/model/mapped_file.h"

namespace baton::bench {
namespace {

struct Options {
  std::string model;
  std::string device = "cpu";
  std::string dtype = "auto";
  int threads = 0;
  int repeats = 3;
  bool cold = false;
};

constexpr size_t kPieceBytes = 8 << 20;

class LoadBench {
 public:
  explicit LoadBench(const Options& options) : options_(options) {
    for (const auto& entry : std::filesystem::directory_iterator(options.model)) {
      if (entry.path().extension() != ".safetensors") continue;
      files_.push_back(entry.path());
      bytes_ += entry.file_size();
    }
    CHECK(!files_.empty());
    if (options_.threads == 0) options_.threads = int(std::thread::hardware_concurrency());
  }

  void Run() {
    std::printf("%s: %.2f GB in %zu files, %d threads, %s\n", options_.model.c_str(),
                double(bytes_) / 1e9, files_.size(), options_.threads,
                options_.cold ? "not in the page cache" : "in the page cache");
    Measure("read", [this] { Read(); });
    Measure("copy", [this] { Copy(); });
    Measure("load", [this] { Load(); });
  }

 private:
  void Measure(const char* what, const std::function<void()>& work) {
    double best = 1e9;
    for (int i = 0; i < options_.repeats; ++i) {
      if (options_.cold) Forget();
      const absl::Duration begin = Clock::Real().Monotonic();
      work();
      best = std::min(best, absl::ToDoubleSeconds(Clock::Real().Monotonic() - begin));
    }
    std::printf("%-5s %7.3f s  %6.2f GB/s\n", what, best, double(bytes_) / best / 1e9);
    std::fflush(stdout);
  }

  void Forget() {
    for (const auto& file : files_) {
      const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
      CHECK(fd >= 0);
      CHECK(::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
      ::close(fd);
    }
  }

  void Read() {
    std::vector<std::byte> piece(kPieceBytes);
    for (const auto& file : files_) {
      const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
      CHECK(fd >= 0);
      while (::read(fd, piece.data(), piece.size()) > 0) continue;
      ::close(fd);
    }
  }

  void Copy() {
    for (const auto& path : files_) {
      auto file = model::MappedFile::Open(path);
      CHECK_OK(file.status());
      std::atomic<size_t> next = 0;
      std::vector<std::thread> threads;
      for (int t = 0; t < options_.threads; ++t) {
        threads.emplace_back([&] {
          std::vector<std::byte> piece(kPieceBytes);
          for (size_t at; (at = next.fetch_add(kPieceBytes)) < file->bytes().size();) {
            const auto from = file->bytes().subspan(at);
            std::memcpy(piece.data(), from.data(), std::min(kPieceBytes, from.size()));
          }
        });
      }
      for (std::thread& thread : threads) thread.join();
    }
  }

  void Load() {
    model::DeviceOptions device;
    device.kind = options_.device == "cpu" ? model::DeviceKind::kCpu : model::DeviceKind::kCuda;
    if (options_.device != "cpu") device.cuda_index = std::stoi(options_.device.substr(5));
    device.threads = options_.threads;
    auto opened = model::OpenDevice(device);
    CHECK_OK(opened.status());
    model::LoadOptions load;
    load.model_dir = options_.model;
    load.dtype = *model::ParseWeightDType(options_.dtype);
    CHECK_OK(model::LoadModel(load, *opened->backend).status());
  }

  Options options_;
  std::vector<std::filesystem::path> files_;
  size_t bytes_ = 0;
};

}  // namespace
}  // namespace baton::bench

int main(int argc, char** argv) {
  baton::bench::Options options;
  CLI::App app("How fast weights are loaded.");
  app.add_option("--model", options.model, "a Hugging Face folder")->required();
  app.add_option("--device", options.device, "cpu or cuda:N");
  app.add_option("--dtype", options.dtype, "auto, f32 or bf16");
  app.add_option("--threads", options.threads, "0: one per core");
  app.add_option("--repeats", options.repeats, "the best of so many");
  app.add_flag("--cold", options.cold, "have the kernel forget the files first");
  CLI11_PARSE(app, argc, argv);
  baton::bench::LoadBench(options).Run();
}
