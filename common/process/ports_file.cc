#include "common/process/ports_file.h"

#include <filesystem>
#include <fstream>

#include "nlohmann/json.hpp"

namespace baton {

absl::Status WritePortsFile(const std::string& path,
                            const std::vector<std::pair<std::string_view, std::string>>& doors) {
  if (path.empty()) return absl::OkStatus();
  auto text = nlohmann::json::object();
  for (const auto& [name, address] : doors) text[std::string(name)] = address;
  const std::string draft = path + ".new";
  std::ofstream file(draft, std::ios::trunc);
  file << text.dump() << "\n";
  file.close();
  std::error_code error;
  if (file) std::filesystem::rename(draft, path, error);
  if (!file || error) return InvalidArgument("--ports-file {}: cannot be written", path);
  return absl::OkStatus();
}

}  // namespace baton
