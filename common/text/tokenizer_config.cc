#include "common/text/tokenizer_config.h"

#include <filesystem>
#include <fstream>
#include <utility>

#include "common/base/status.h"
#include "common/text/utf8.h"
#include "nlohmann/json.hpp"

namespace baton::text {
namespace {

using Json = nlohmann::json;

constexpr char kConfigFile[] = "tokenizer_config.json";
constexpr char kTemplateFile[] = "chat_template.jinja";
// Real ones are below 20 MB (tokenizer.json) and 2 MB (the others).
constexpr size_t kFileBytesMax = size_t{256} << 20;

std::string PathOf(std::string_view model_dir, std::string_view name) {
  return (std::filesystem::path(model_dir) / name).string();
}

// A special token is a string, or {"content": string, …}, or null, or absent.
absl::Status ReadToken(const Json& config, const char* key, std::string& out) {
  const auto it = config.find(key);
  if (it == config.end() || it->is_null()) return absl::OkStatus();
  const Json* content = &*it;
  if (it->is_object()) {
    const auto inner = it->find("content");
    if (inner != it->end()) content = &*inner;
  }
  if (!content->is_string()) {
    return FailedPrecondition("{}: must be a string or an object with a string \"content\"", key);
  }
  out = content->get<std::string>();
  return absl::OkStatus();
}

absl::StatusOr<std::string> DefaultTemplate(const Json& list) {
  for (const Json& entry : list) {
    if (!entry.is_object()) break;
    const auto name = entry.find("name");
    const auto source = entry.find("template");
    if (name == entry.end() || source == entry.end() || !source->is_string()) break;
    if (*name == "default") return source->get<std::string>();
  }
  return FailedPrecondition(
      "chat_template: a list must hold {{\"name\": …, \"template\": …}}, one named \"default\"");
}

absl::Status ReadTemplate(const Json& config, TokenizerConfig& out) {
  const auto it = config.find("chat_template");
  if (it == config.end() || it->is_null()) return absl::OkStatus();
  if (it->is_array()) {
    ASSIGN_OR_RETURN(out.chat_template, DefaultTemplate(*it));
  } else if (it->is_string()) {
    out.chat_template = it->get<std::string>();
  } else {
    return FailedPrecondition("chat_template: must be a string or a list");
  }
  return absl::OkStatus();
}

absl::Status ReadConfig(const std::string& text, TokenizerConfig& out) {
  const Json config = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!config.is_object()) return FailedPrecondition("is not a JSON object");
  RETURN_IF_ERROR(ReadToken(config, "bos_token", out.bos_token));
  RETURN_IF_ERROR(ReadToken(config, "eos_token", out.eos_token));
  RETURN_IF_ERROR(ReadToken(config, "unk_token", out.unk_token));
  RETURN_IF_ERROR(ReadToken(config, "pad_token", out.pad_token));
  return ReadTemplate(config, out);
}

}  // namespace

absl::StatusOr<std::string> ReadModelFile(std::string_view model_dir, std::string_view name) {
  const std::string path = PathOf(model_dir, name);
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status)) return NotFound("{}: no such file", path);
  if (!std::filesystem::is_regular_file(status)) {
    return FailedPrecondition("{}: not a regular file", path);
  }
  const auto bytes = std::filesystem::file_size(path, error);
  if (!error && bytes > kFileBytesMax) {
    return FailedPrecondition("{}: {} bytes, above the limit of {}", path, bytes, kFileBytesMax);
  }
  std::ifstream file(path, std::ios::binary);
  std::string content(error ? 0 : bytes, '\0');
  if (error || !file.read(content.data(), static_cast<std::streamsize>(bytes))) {
    return FailedPrecondition("{}: cannot be read", path);
  }
  return content;
}

absl::StatusOr<TokenizerConfig> TokenizerConfig::Load(std::string_view model_dir) {
  TokenizerConfig out;
  const std::string path = PathOf(model_dir, kConfigFile);
  out.chat_template_source = path + ": chat_template";
  absl::StatusOr<std::string> config = ReadModelFile(model_dir, kConfigFile);
  if (config.ok()) {
    RETURN_IF_ERROR(Annotate(ReadConfig(*config, out), path));
  } else if (!absl::IsNotFound(config.status())) {
    return config.status();
  }
  // A file of its own is the newer form and wins.
  absl::StatusOr<std::string> source = ReadModelFile(model_dir, kTemplateFile);
  if (source.ok()) {
    out.chat_template = *std::move(source);
    out.chat_template_source = PathOf(model_dir, kTemplateFile);
  } else if (!absl::IsNotFound(source.status())) {
    return source.status();
  }
  return out;
}

}  // namespace baton::text
