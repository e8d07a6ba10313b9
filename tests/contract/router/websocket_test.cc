#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/contract/router/router_cluster.h"

namespace baton::router {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::ordered_json;

// A client's side of a WebSocket, frame by frame.
class WsClient {
 public:
  WsClient(const std::string& address, const std::string& path, const std::string& origin = "")
      : http_(address) {
    std::string request = "GET " + path +
                          " HTTP/1.1\r\nHost: t\r\nUpgrade: websocket\r\n"
                          "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    if (!origin.empty()) request += "Origin: " + origin + "\r\n";
    http_.Write(request + "\r\n");
    response_ = http_.Read();
  }
  int status() const { return response_ ? response_->status : 0; }

  void Send(const std::string& text) { Frame(0x81, text); }
  void SendBinary(const std::string& bytes) { Frame(0x82, bytes); }
  void Close() { http_.Close(); }
  // The next text, all of its frames; empty when the socket ends.
  std::string Next() {
    std::string text;
    for (;;) {
      const std::string head = Bytes(2);
      if (head.size() < 2) return "";
      size_t size = static_cast<unsigned char>(head[1]) & 127;
      if (size == 126) {
        const std::string more = Bytes(2);
        size = (static_cast<unsigned char>(more[0]) << 8) | static_cast<unsigned char>(more[1]);
      }
      const std::string payload = Bytes(size);
      const int opcode = head[0] & 15;
      if (opcode == 8) return "";
      if (opcode > 1) continue;  // 0: a text goes on
      text += payload;
      if ((head[0] & 0x80) != 0) return text;
    }
  }

 private:
  void Frame(unsigned char first, const std::string& payload) {
    std::string frame(1, static_cast<char>(first));
    if (payload.size() < 126) {
      frame += static_cast<char>(0x80 | payload.size());
    } else {
      frame += static_cast<char>(0x80 | 126);
      frame += static_cast<char>(payload.size() >> 8);
      frame += static_cast<char>(payload.size() & 255);
    }
    http_.Write(frame + std::string(4, '\0') + payload);  // a mask of zeros
  }
  std::string Bytes(size_t count) {
    std::string bytes;
    while (bytes.size() < count) {
      const std::string one = http_.ReadSome(count - bytes.size());
      if (one.empty()) break;
      bytes += one;
    }
    return bytes;
  }

  RawHttp http_;
  std::optional<RawResponse> response_;
};

constexpr char kCall[] = R"({"type":"completion","prompt":"x"})";

TEST(WebSocketTest, TheSameChunksAsSseAndThenDone) {
  RouterCluster cluster;
  auto decode = cluster.AddDecode();
  decode.worker->AnswerAll(cluster.Tokens("ok"), v1::FINISH_REASON_LENGTH);
  WsClient socket(cluster.http(), "/v1/ws");
  ASSERT_EQ(socket.status(), 101);
  for (int call = 0; call < 2; ++call) {  // one after the other on one socket
    socket.Send(kCall);
    std::string text;
    for (;;) {
      const Json frame = Json::parse(socket.Next());
      if (frame.contains("type")) {
        EXPECT_EQ(frame["type"], "done");
        break;
      }
      EXPECT_EQ(frame["object"], "text_completion");
      text += frame["choices"][0]["text"].get<std::string>();
    }
    EXPECT_EQ(text, "ok");
  }
}

TEST(WebSocketTest, MistakesAreAnsweredAndTheSocketGoesOn) {
  RouterCluster cluster;
  auto decode = cluster.AddDecode();
  WsClient socket(cluster.http(), "/v1/ws");
  socket.Send("{nonsense");
  EXPECT_THAT(socket.Next(), HasSubstr("not valid JSON"));
  socket.Send(R"({"type":"song"})");
  EXPECT_EQ(Json::parse(socket.Next())["error"]["param"], "type");
  socket.Send(R"({"messages":[]})");
  EXPECT_EQ(Json::parse(socket.Next())["error"]["param"], "messages");
}

TEST(WebSocketTest, CancelAndCloseFreeTheWork) {
  RouterCluster cluster;
  auto decode = cluster.AddDecode();
  WsClient socket(cluster.http(), "/v1/ws");
  socket.Send(kCall);
  decode.worker->WaitForSubmit(0);
  socket.Send(kCall);
  EXPECT_THAT(socket.Next(), HasSubstr("under way"));
  socket.Send(R"({"type":"cancel"})");
  EXPECT_THAT(socket.Next(), HasSubstr("cancelled"));
  EXPECT_TRUE(cluster.WaitInflight(0));
  socket.Send(kCall);
  decode.worker->WaitForSubmit(1);
  socket.Close();
  EXPECT_TRUE(cluster.WaitInflight(0));
  EXPECT_TRUE(decode.worker->WaitFor([](const auto& seen) { return seen.cancels.size() >= 2; }));
}

TEST(WebSocketTest, OtherPathsAndForeignPagesAreRefused) {
  RouterCluster cluster;
  EXPECT_EQ(WsClient(cluster.http(), "/v2/ws").status(), 404);
  EXPECT_EQ(WsClient(cluster.http(), "/v1/ws", "https://evil.example").status(), 403);
  EXPECT_EQ(WsClient(cluster.http(), "/v1/ws", "http://localhost:8080").status(), 101);
}

// A prompt is scored faster than anybody reads; what was asked for is not held against the client.
TEST(WebSocketTest, APromptsLogprobsMayOutgrowTheBuffer) {
  config::RouterOptions options;
  options.stream_buffer_bytes_max = config::KiB(16);
  RouterCluster cluster(options);
  auto decode = cluster.AddDecode();
  WsClient ws(cluster.http(), "/v1/ws");
  ws.Send(
      Json{{"prompt", std::string(200, 'x')}, {"echo", true}, {"logprobs", 10}, {"max_tokens", 0}}
          .dump());
  const v1::Sequence sequence = decode.worker->WaitForSubmit().sequences(0);
  const int size = sequence.prompt_size();
  for (int first = 0; first < size; first += 40) {
    v1::DecodeEvent event;
    v1::SequenceDelta* delta = event.add_deltas();
    delta->set_request_id(sequence.request_id());
    for (int i = first; i < std::min(size, first + 40); ++i) {
      v1::GeneratedToken* token = delta->add_prompt();
      token->set_token(sequence.prompt(i));
      if (i == 0) continue;
      token->set_logprob(-1);
      for (int rival = 0; rival < 10; ++rival) {
        token->add_top()->set_token(rival + 5);
        token->mutable_top(rival)->set_logprob(-0.123456789f * static_cast<float>(rival + 1));
      }
    }
    if (first + 40 >= size) delta->set_finish(v1::FINISH_REASON_LENGTH);
    ASSERT_TRUE(decode.worker->Send(event));
  }
  ASSERT_TRUE(cluster.WaitInflight(0));  // all of it was said before anything is read
  size_t bytes = 0;
  size_t tokens = 0;
  std::string frame = ws.Next();
  for (; !frame.empty() && frame != R"({"type":"done"})"; frame = ws.Next()) {
    bytes += frame.size();
    const Json logprobs = Json::parse(frame)["choices"][0]["logprobs"];
    if (!logprobs.is_null()) tokens += logprobs["tokens"].size();
  }
  EXPECT_EQ(frame, R"({"type":"done"})");
  EXPECT_EQ(tokens, static_cast<size_t>(size));
  EXPECT_GT(bytes, 32u << 10);
}

}  // namespace
}  // namespace baton::router
