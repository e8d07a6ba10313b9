#include "services/router/wiring/ports_file.h"

#include <filesystem>
#include <fstream>

namespace baton::router {

absl::Status WritePortsFile(const std::string& path, const std::string& http,
                            const std::string& grpc) {
  const std::string draft = path + ".new";
  std::ofstream file(draft, std::ios::trunc);
  file << fmt::format(R"({{"http":"{}","grpc":"{}"}})", http, grpc) << "\n";
  file.close();
  std::error_code error;
  if (file) std::filesystem::rename(draft, path, error);
  if (!file || error) return Unavailable("ports_file: cannot write {}", path);
  return absl::OkStatus();
}

}  // namespace baton::router
