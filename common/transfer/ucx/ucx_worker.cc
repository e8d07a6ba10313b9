#include "common/transfer/ucx/ucx_worker.h"

#include <ucs/debug/log_def.h>

#include <cstdarg>
#include <cstdio>
#include <mutex>
#include <utility>

#include "spdlog/spdlog.h"

namespace baton::transfer {
namespace {

using Settings = std::vector<std::pair<const char*, std::string>>;

Settings SettingsOf(Path path, const UcxOptions& options) {
  if (path == Path::kSharedMemory) {
    // System V segments first: they are marked for removal as soon as they are attached, so the
    // kernel frees them with their last process, whatever killed it, and /dev/shm's size is no
    // limit.
    return {{"TLS", "sysv,posix"}, {"ALLOC_PRIO", "md:sysv,md:posix"}};
  }
  // We send no messages, so rendezvous is switched off: with it on, UCX refuses true remote writes
  // on endpoints with failure handling over TCP and emulates them by messages, whose receiver
  // aborts the process when the acknowledgement meets a dead peer, and which copy twice.
  Settings settings = {
      {"TLS", options.network_tls}, {"RNDV_THRESH", "inf"}, {"ALLOC_PRIO", "mmap"}};
  if (!options.network_devices.empty())
    settings.emplace_back("NET_DEVICES", options.network_devices);
  return settings;
}

absl::StatusCode CodeOf(ucs_status_t status) {
  switch (status) {
    case UCS_ERR_NO_MEMORY:
    case UCS_ERR_NO_RESOURCE:
    case UCS_ERR_EXCEEDS_LIMIT:
      return absl::StatusCode::kResourceExhausted;
    case UCS_ERR_CANCELED:
      return absl::StatusCode::kCancelled;
    case UCS_ERR_INVALID_PARAM:
    case UCS_ERR_INVALID_ADDR:
      return absl::StatusCode::kInvalidArgument;
    default:
      return absl::StatusCode::kUnavailable;
  }
}

ucs_log_func_rc_t ForwardToSpdlog(const char* file, unsigned line, const char* function,
                                  ucs_log_level_t level,
                                  const ucs_log_component_config_t* component, const char* message,
                                  va_list arguments) {
  if (level > UCS_LOG_LEVEL_WARN) return UCS_LOG_FUNC_RC_CONTINUE;  // asked for by UCX_LOG_LEVEL
  char text[512];
  std::vsnprintf(text, sizeof text, message, arguments);
  // What matters of these comes back as a Status; the text is for whoever looks closer.
  spdlog::log(level == UCS_LOG_LEVEL_FATAL ? spdlog::level::err : spdlog::level::warn, "ucx: {}",
              text);
  return UCS_LOG_FUNC_RC_STOP;
}

}  // namespace

absl::Status FromUcx(ucs_status_t status, std::string_view what) {
  if (status == UCS_OK) return absl::OkStatus();
  return absl::Status(CodeOf(status), fmt::format("{}: {}", what, ucs_status_string(status)));
}

absl::Status NetworkSurvivesPeers() {
  unsigned major = 0, minor = 0, release = 0;
  ucp_get_version(&major, &minor, &release);
  if (std::pair(major, minor) >= std::pair(1u, 22u)) return absl::OkStatus();
  return FailedPrecondition(
      "transfers over a network need UCX 1.22 or newer, this is {}.{}.{}: run "
      "deploy/deps/install.sh "
      "for the wheel and configure with BATON_UCX=wheel",
      major, minor, release);
}

void RouteUcxLog() {
  static std::once_flag once;
  std::call_once(once, [] { ucs_log_push_handler(&ForwardToSpdlog); });
}

absl::StatusOr<std::unique_ptr<UcxWorker>> UcxWorker::Create(Path path, const UcxOptions& options) {
  std::unique_ptr<UcxWorker> worker(new UcxWorker(path));
  RETURN_IF_ERROR(worker->OpenContext(options));
  RETURN_IF_ERROR(worker->OpenWorker());
  return worker;
}

absl::Status UcxWorker::OpenContext(const UcxOptions& options) {
  ucp_config_t* config = nullptr;
  RETURN_IF_ERROR(
      FromUcx(ucp_config_read(nullptr, nullptr, &config), "reading UCX's configuration"));
  absl::Status status;
  for (const auto& [key, value] : SettingsOf(path_, options)) {
    if (!status.ok()) break;
    status = FromUcx(ucp_config_modify(config, key, value.c_str()),
                     fmt::format("UCX_{}={}", key, value));
  }
  if (status.ok()) {
    ucp_params_t params{};
    params.field_mask = UCP_PARAM_FIELD_FEATURES | UCP_PARAM_FIELD_NAME;
    params.name = path_ == Path::kSharedMemory ? "baton-shm" : "baton-net";
    params.features = UCP_FEATURE_RMA;
    if (path_ == Path::kNetwork) params.features |= UCP_FEATURE_WAKEUP;
    status = FromUcx(ucp_init(&params, config, &context_),
                     path_ == Path::kSharedMemory
                         ? "opening UCX over shared memory"
                         : fmt::format("opening UCX over {}", options.network_tls));
  }
  ucp_config_release(config);
  return status;
}

absl::Status UcxWorker::OpenWorker() {
  ucp_worker_params_t params{};
  params.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE;
  params.thread_mode = UCS_THREAD_MODE_SINGLE;
  RETURN_IF_ERROR(
      FromUcx(ucp_worker_create(context_, &params, &worker_), "creating the UCX worker"));

  ucp_address_t* address = nullptr;
  size_t bytes = 0;
  RETURN_IF_ERROR(FromUcx(ucp_worker_get_address(worker_, &address, &bytes), "UCX worker address"));
  address_.assign(reinterpret_cast<const char*>(address), bytes);
  ucp_worker_release_address(worker_, address);

  if (path_ == Path::kSharedMemory) return absl::OkStatus();
  return FromUcx(ucp_worker_get_efd(worker_, &event_fd_), "UCX event descriptor");
}

absl::StatusOr<UcxWorker::Memory> UcxWorker::MapMemory(std::byte* existing, size_t bytes) {
  ucp_mem_map_params_t params{};
  params.field_mask = UCP_MEM_MAP_PARAM_FIELD_ADDRESS | UCP_MEM_MAP_PARAM_FIELD_LENGTH |
                      UCP_MEM_MAP_PARAM_FIELD_FLAGS;
  params.address = existing;
  params.length = bytes;
  params.flags = existing == nullptr ? UCP_MEM_MAP_ALLOCATE : 0;
  ucp_mem_h handle = nullptr;
  RETURN_IF_ERROR(FromUcx(ucp_mem_map(context_, &params, &handle),
                          fmt::format("a region of {} bytes for peers to write into", bytes)));
  memory_.push_back(handle);

  ucp_mem_attr_t attributes{};
  attributes.field_mask = UCP_MEM_ATTR_FIELD_ADDRESS;
  RETURN_IF_ERROR(FromUcx(ucp_mem_query(handle, &attributes), "the region's address"));
  void* key = nullptr;
  size_t key_bytes = 0;
  RETURN_IF_ERROR(
      FromUcx(ucp_rkey_pack(context_, handle, &key, &key_bytes), "the region's remote key"));
  Memory memory{static_cast<std::byte*>(attributes.address),
                std::string(static_cast<const char*>(key), key_bytes)};
  ucp_rkey_buffer_release(key);
  return memory;
}

UcxWorker::~UcxWorker() {
  if (worker_ != nullptr) ucp_worker_destroy(worker_);
  for (ucp_mem_h handle : memory_) ucp_mem_unmap(context_, handle);
  if (context_ != nullptr) ucp_cleanup(context_);
}

}  // namespace baton::transfer
