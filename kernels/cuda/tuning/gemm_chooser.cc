#include "kernels/cuda/tuning/gemm_chooser.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/convert.h"
#include "kernels/cuda/tuning/gemm_input.h"

namespace baton::kernels::cuda {
namespace {

// Own kernels are left only for what is clearly faster: two measurements of one kernel differ by
// about as much.
constexpr double kClearlyFaster = 0.97;
// What a measurement takes, about: launches are as many as make that up.
constexpr double kSecondsPerMeasurement = 1e-3;

// To the file: what times depend on.
std::string SubjectOf(const DeviceInfo& device, const cublaslt::Library& library) {
  const Versions versions = FindVersions();
  return device.name + ", sm_" + std::to_string(device.traits.compute_capability) + ", " +
         std::to_string(device.traits.multiprocessors) + " multiprocessors" +
         (device.traits.has_warpgroups ? ", warpgroups" : "") + "; driver " + versions.driver +
         "; CUDA " + versions.runtime + "; cuBLASLt " + library.version + "; own kernels " +
         std::to_string(kOwnGemmVersion);
}

int64_t NanosecondsOf(double seconds) { return std::max<int64_t>(1, std::llround(seconds * 1e9)); }

}  // namespace

Error GemmChooser::Create(const GemmChooserOptions& options, const DeviceInfo& device,
                          std::unique_ptr<GemmChooser>* made) {
  std::string error;
  const cublaslt::Library* library = cublaslt::Library::Load(&error);
  if (library == nullptr) return error;
  cublaslt::Handle handle = nullptr;
  if (const cublaslt::Status status = library->call.create(&handle);
      status != cublaslt::Status::kSuccess) {
    return "cublasLtCreate of cuBLASLt " + library->version + ": " + cublaslt::TextOf(status);
  }
  made->reset(new GemmChooser(options, device, *library, handle));
  return std::nullopt;
}

GemmChooser::GemmChooser(const GemmChooserOptions& options, const DeviceInfo& device,
                         const cublaslt::Library& library, cublaslt::Handle handle)
    : options_(options),
      traits_(device.traits),
      library_(library),
      handle_(handle),
      subject_(SubjectOf(device, library)),
      file_(options.folder.empty()
                ? std::filesystem::path()
                : options.folder /
                      GemmTimesFileName(device.name, device.traits.compute_capability)) {
  if (!file_.empty()) times_ = LoadGemmTimes(file_, subject_);
  Summarize();
}

GemmChooser::~GemmChooser() {
  kinds_.clear();
  library_.call.destroy(handle_);
}

LtChoice* GemmChooser::Find(const GemmArgs& args) {
  if (args.dtype != DType::kBF16) return nullptr;
  const auto kind = kinds_.find(KindOf(args));
  if (kind == kinds_.end()) return nullptr;
  const auto choice = kind->second.by_bucket.find(TokenBucketOf(args.num_tokens));
  return choice == kind->second.by_bucket.end() ? nullptr : choice->second.get();
}

std::string GemmChooser::Summary() const {
  const std::scoped_lock lock(mutex_);
  return summary_;
}

Error GemmChooser::Prepare(std::span<const GemmArgs> uses, Stream stream) {
  std::map<GemmKind, std::vector<GemmArgs>> by_kind;
  for (const GemmArgs& use : uses) {
    if (use.dtype == DType::kBF16) by_kind[KindOf(use)].push_back(use);
  }
  seconds_spent_ = 0;
  num_measured_ = 0;
  for (auto& [kind, its_uses] : by_kind) {
    if (Error error = PrepareKind(kind, std::move(its_uses), stream)) return error;
  }
  if (num_measured_ > 0 && !file_.empty()) Complain(SaveGemmTimes(file_, subject_, times_));
  Summarize();
  return std::nullopt;
}

GemmChooser::Kind& GemmChooser::KindFor(const GemmKind& of) {
  const auto [at, is_new] = kinds_.try_emplace(of);
  if (is_new) Complain(LtGemm::Create(library_, handle_, of, &at->second.gemm));
  return at->second;
}

Error GemmChooser::PrepareKind(const GemmKind& kind, std::vector<GemmArgs> uses, Stream stream) {
  if (KindFor(kind).gemm == nullptr) return std::nullopt;
  int32_t tokens_max = uses.front().num_tokens;
  for (const GemmArgs& use : uses) tokens_max = std::min(tokens_max, use.num_tokens);
  const void* filled = nullptr;
  for (GemmArgs& use : uses) {
    use.num_tokens = tokens_max;
    if (use.x == filled) continue;  // layers share it
    if (Error error = FillInput(use, stream)) return error;
    filled = use.x;
  }
  for (int32_t bucket = 0; bucket <= TokenBucketOf(tokens_max); ++bucket) {
    for (GemmArgs& use : uses) use.num_tokens = std::min(tokens_max, MostTokensOf(bucket));
    if (Error error = PrepareSize({kind, bucket}, uses, stream)) return error;
  }
  return std::nullopt;
}

Error GemmChooser::PrepareSize(const GemmSize& size, const std::vector<GemmArgs>& uses,
                               Stream stream) {
  Kind& kind = kinds_.at(size.kind);
  if (kind.by_bucket.contains(size.bucket)) return std::nullopt;
  ++num_sizes_;
  GemmTime time;
  bool is_known = false;
  if (const auto known = times_.find(size); known != times_.end()) {
    // Run once, what is known too: to see that it is right, and to have its kernel on the device.
    time = known->second;
    is_known = time.library_nanoseconds == 0;
    std::vector<float> want;
    if (!is_known) {
      if (Error error = ResultOf(Own(stream), uses.front(), stream, &want)) return error;
      if (Error error = IsGood(kind, time.candidate, uses.front(), want, stream, &is_known)) {
        return error;
      }
    }
  }
  if (!is_known) {
    time = {};
    if (!IsTimeUp()) {
      if (Error error = Measure(kind, uses, stream, &time)) return error;
    }
    if (IsTimeUp()) return ++num_left_, Error();  // some candidates were not looked at
    ++num_measured_;
    times_[size] = time;
  }
  if (IsWorthIt(time)) Take(size, time);
  return std::nullopt;
}

bool GemmChooser::IsWorthIt(const GemmTime& time) const {
  if (time.library_nanoseconds == 0) return false;
  return options_.gemm == CudaGemm::kCublasLt ||
         double(time.library_nanoseconds) < kClearlyFaster * double(time.own_nanoseconds);
}

void GemmChooser::Take(const GemmSize& size, const GemmTime& time) {
  Kind& kind = kinds_.at(size.kind);
  kind.by_bucket[size.bucket] = std::make_unique<LtChoice>(LtChoice{
      .gemm = kind.gemm.get(), .candidate = time.candidate, .workspace = options_.workspace});
  ++num_taken_;
}

GemmChooser::Enqueue GemmChooser::Own(Stream stream) const {
  return
      [this, stream](const GemmArgs& args) { return Launch(args, Choose(args, traits_), stream); };
}

GemmChooser::Enqueue GemmChooser::By(Kind& kind, const LtCandidate& candidate,
                                     Stream stream) const {
  return [this, &kind, &candidate, stream](const GemmArgs& args) -> Error {
    const cublaslt::Status status = kind.gemm->Enqueue(args, candidate, options_.workspace, stream);
    if (status == cublaslt::Status::kSuccess) return std::nullopt;
    return "cublasLtMatmul: " + cublaslt::TextOf(status);
  };
}

Error GemmChooser::Measure(Kind& kind, const std::vector<GemmArgs>& uses, Stream stream,
                           GemmTime* time) {
  std::vector<float> want;
  std::optional<double> seconds;
  if (Error error = Own(stream)(uses.front())) return error;
  if (Error error = ResultOf(Own(stream), uses.front(), stream, &want)) return error;
  if (Error error = TimeOf(Own(stream), uses, stream, &seconds)) return error;
  time->own_nanoseconds = NanosecondsOf(seconds.value_or(0));

  std::vector<LtCandidate> candidates;
  Complain(kind.gemm->Propose(uses.front(), options_.workspace_bytes, options_.candidates_max,
                              &candidates));
  for (const LtCandidate& candidate : candidates) {
    if (IsTimeUp()) break;
    bool is_good = false;
    if (Error error = IsGood(kind, candidate, uses.front(), want, stream, &is_good)) return error;
    if (!is_good) continue;
    if (Error error = TimeOf(By(kind, candidate, stream), uses, stream, &seconds)) return error;
    if (!seconds) continue;
    const int64_t nanoseconds = NanosecondsOf(*seconds);
    if (time->library_nanoseconds == 0 || nanoseconds < time->library_nanoseconds) {
      time->library_nanoseconds = nanoseconds;
      time->candidate = candidate;
    }
  }
  return std::nullopt;
}

Error GemmChooser::IsGood(Kind& kind, const LtCandidate& candidate, const GemmArgs& use,
                          const std::vector<float>& want, Stream stream, bool* is_good) {
  *is_good = false;
  GemmArgs fewest = use;
  fewest.num_tokens = std::min(use.num_tokens, LeastTokensOf(TokenBucketOf(use.num_tokens)));
  if (!kind.gemm->Accepts(fewest, candidate) || !kind.gemm->Accepts(use, candidate)) {
    return std::nullopt;
  }
  std::vector<float> got;
  if (Error error = ResultOf(By(kind, candidate, stream), use, stream, &got)) return error;
  if (got.empty()) return std::nullopt;
  *is_good = IsSameResult(want, got);
  if (!*is_good) ++num_wrong_;
  return std::nullopt;
}

Error GemmChooser::ResultOf(const Enqueue& enqueue, const GemmArgs& use, Stream stream,
                            std::vector<float>* result) {
  const size_t bytes = size_t(use.num_tokens) * size_t(use.num_outputs) * sizeof(float);
  if (Error error = FillZero(use.out, bytes, stream)) return error;
  result->clear();
  if (const Error refused = enqueue(use)) {
    Complain(refused);
    return Wait(stream);  // says whether the device is still to be trusted
  }
  return ReadSample(use, stream, result);
}

// As a graph where that is possible: a short kernel takes less time than its launch does.
Error GemmChooser::TimeOf(const Enqueue& enqueue, const std::vector<GemmArgs>& uses, Stream stream,
                          std::optional<double>* seconds) {
  seconds->reset();
  double once = 0;
  Error refused;
  const auto one = [&] { return refused = enqueue(uses.front()), Error(); };
  if (Error error = TimeOn(stream, one, &once)) return error;
  seconds_spent_ += once;
  if (refused) return Complain(refused), Error();
  const int launches =
      std::clamp(int(kSecondsPerMeasurement / std::max(once, 1e-7)), 2, options_.launches_max);
  const auto all = [&]() -> Error {
    for (int i = 0; i < launches; ++i) {
      if (Error error = enqueue(uses[size_t(i) % uses.size()])) return error;
    }
    return std::nullopt;
  };
  Graph graph;
  const bool is_graph = !BeginRecording(stream) && [&] {
    const Error error = all();
    return !EndRecording(stream, &graph) && !error;
  }();
  const auto run = [&] { return is_graph ? LaunchGraph(graph, stream) : all(); };
  Error error;
  for (int round = 0; round < 2 && !error; ++round) {
    double taken = 0;
    error = TimeOn(stream, run, &taken);
    seconds_spent_ += taken;
    const double each = taken / launches;
    if (!error) *seconds = round == 0 ? each : std::min(**seconds, each);
  }
  if (graph.handle != nullptr) DestroyGraph(graph);
  return error;
}

void GemmChooser::Complain(const Error& error) {
  if (error && complaint_.empty()) complaint_ = *error;
}

void GemmChooser::Summarize() {
  std::string text = "cuBLASLt " + library_.version;
  if (num_sizes_ > 0) {
    text += " for " + std::to_string(num_taken_) + " of " + std::to_string(num_sizes_) + " sizes";
  }
  if (num_measured_ > 0) text += "; " + std::to_string(num_measured_) + " measured now";
  if (num_left_ > 0) text += "; " + std::to_string(num_left_) + " not measured, for lack of time";
  if (num_wrong_ > 0) text += "; " + std::to_string(num_wrong_) + " candidates gave wrong results";
  if (!complaint_.empty()) text += "; " + complaint_;
  const std::scoped_lock lock(mutex_);
  summary_ = text;
}

}  // namespace baton::kernels::cuda
