#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "services/router/http/response_writer.h"

namespace baton::router {

struct HeadOptions {
  std::string request_id;
  std::string allow_origin;  // CORS; empty: none
  bool keep_alive = true;
  bool chunked = false;
  std::optional<size_t> content_length;
};

// Status line and headers, blank line included.
std::string FormatHead(const HttpAnswer& answer, const HeadOptions& options);
// One chunk of a chunked body. Requires bytes.
std::string FormatChunk(std::string_view bytes);
// An error in OpenAI's shape, for what goes wrong below the API.
HttpAnswer ErrorAnswer(int status, std::string_view message, std::string_view code);

// The origin itself when a page from there may talk to us, else empty. Pages of this very host
// only: the API may ask for no key, and what a browser has open elsewhere is not to use it behind
// its user's back.
std::string AllowedOrigin(std::string_view origin);

std::string LowerCase(std::string_view text);
// The client's id when it is 1 … 128 characters of [A-Za-z0-9._:-]; else a new one.
std::string RequestIdOf(std::string_view given, uint64_t number);

}  // namespace baton::router
