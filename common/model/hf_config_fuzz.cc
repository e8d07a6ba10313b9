#include <cstddef>
#include <cstdint>
#include <string_view>

#include "common/base/check.h"
#include "common/model/hf_config.h"

// Any text is either refused or gives a model whose sizes fit each other. A NUL separates
// config.json from generation_config.json.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const size_t cut = text.find('\0');
  const auto config = baton::model::ParseHfConfig(
      text.substr(0, cut), cut == text.npos ? std::string_view() : text.substr(cut + 1));
  if (!config.ok()) return 0;
  CHECK(config->num_parameters() > 0);
  CHECK(config->num_q_heads % config->num_kv_heads == 0 && config->head_dim % 2 == 0);
  CHECK(config->layer_windows.size() == size_t(config->num_layers));
  for (const int32_t id : config->eos_token_ids) CHECK(id >= 0 && id < config->vocab);
  const auto tables = baton::model::MakeRopeTables(config->rope, config->head_dim, 3);
  CHECK(tables.cos.size() == size_t(3) * config->head_dim / 2);
  return 0;
}
