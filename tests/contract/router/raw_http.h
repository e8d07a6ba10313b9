#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "nlohmann/json.hpp"

namespace baton::router {

inline constexpr char kChat[] = "/v1/chat/completions";
inline constexpr char kText[] = "/v1/completions";
// A body for kText.
inline constexpr char kStream[] = R"({"prompt":"x","stream":true})";

// One answer as it came over the wire.
struct RawResponse {
  int status = 0;
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;                            // without chunk framing

  nlohmann::ordered_json json() const { return nlohmann::ordered_json::parse(body); }
};

// A socket on which a test says exactly the bytes it wants, and reads what comes with a time limit.
class RawHttp {
 public:
  // With `narrow` the kernel keeps a few KiB for it, so that what it does not read backs up soon.
  explicit RawHttp(const std::string& address, bool narrow = false);
  ~RawHttp();
  RawHttp(const RawHttp&) = delete;

  // False: the other side has closed.
  bool Write(std::string_view bytes);
  // One whole answer; absent when the connection ends or 20 s pass before. `head`: of a HEAD
  // request.
  std::optional<RawResponse> Read(bool head = false);
  // Bytes up to and including `until`; what came so far when the connection ends first.
  std::string ReadUntil(std::string_view until);
  // 1 … `most` bytes; empty when the connection ends first.
  std::string ReadSome(size_t most);
  // The other side ends the connection (within 20 s).
  bool ReadEnd();
  void Close();

 private:
  bool Fill();
  std::optional<std::string> ReadChunks();

  int fd_ = -1;
  std::string in_;
};

// A request's bytes.
std::string RawRequest(std::string_view method, std::string_view target, std::string_view body,
                       const std::vector<std::pair<std::string, std::string>>& headers = {});
// One request on a connection of its own.
RawResponse Call(const std::string& address, std::string_view method, std::string_view target,
                 std::string_view body = "",
                 const std::vector<std::pair<std::string, std::string>>& headers = {});
// The data of server-sent events, in order.
std::vector<std::string> SseData(std::string_view body);

}  // namespace baton::router
