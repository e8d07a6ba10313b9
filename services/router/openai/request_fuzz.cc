// A stranger's bytes as the body of every endpoint: whatever they are, there is a request or an
// error that says why, and the error itself is JSON.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "common/base/check.h"
#include "services/router/openai/error_shape.h"
#include "services/router/openai/json_body.h"
#include "services/router/openai/request_parser.h"

namespace baton::router::openai {
namespace {

void CheckError(const absl::Status& status) {
  if (status.ok()) return;
  CHECK(absl::IsInvalidArgument(status), "{}", MessageOf(status));
  CHECK(!status.message().empty(), "an error without words");
  const Json json = Json::parse(Dump(ErrorJson(status)));
  CHECK(json["error"]["message"].is_string(), "{}", Dump(json));
}

void CheckCall(const absl::StatusOr<ApiCall>& call) {
  CheckError(call.status());
  if (call.ok()) CHECK(!call->requests.empty(), "a call without a request");
}

}  // namespace
}  // namespace baton::router::openai

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace baton::router::openai;
  const auto body = ParseBody({reinterpret_cast<const char*>(data), size}, 64);
  CheckError(body.status());
  if (!body.ok()) return 0;
  CHECK(*body == Json::parse(data, data + size), "read as {}", Dump(*body));
  CheckCall(ParseChat(*body));
  CheckCall(ParseCompletion(*body));
  CheckError(ParseTokenize(*body).status());
  CheckError(ParseDetokenize(*body).status());
  return 0;
}
