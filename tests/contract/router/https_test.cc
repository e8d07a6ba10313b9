// The HTTP door behind TLS: the same answers, streams and WebSockets, and a clear end for who
// speaks none.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/write.hpp>

#include "common/rpc/testing/test_ca.h"
#include "tests/contract/router/router_cluster.h"

namespace baton::router {
namespace {

namespace asio = boost::asio;
namespace ssl = asio::ssl;
using boost::system::error_code;
using ::testing::HasSubstr;
using ::testing::StartsWith;

// A client that believes one CA and checks the name it dials.
class TlsClient {
 public:
  TlsClient(const std::string& ca_file, const std::string& address) {
    context_.load_verify_file(ca_file);
    stream_.set_verify_mode(ssl::verify_peer);
    stream_.set_verify_callback(ssl::host_name_verification("127.0.0.1"));
    const auto port = static_cast<uint16_t>(std::stoi(address.substr(address.rfind(':') + 1)));
    stream_.next_layer().connect({asio::ip::make_address("127.0.0.1"), port}, error_);
    if (!error_) stream_.handshake(ssl::stream_base::client, error_);
  }
  bool ok() const { return !error_; }
  void Write(const std::string& bytes) { asio::write(stream_, asio::buffer(bytes), error_); }
  // Until the server says goodbye; `clean`: it did, instead of just leaving.
  std::string ReadAll(bool* clean = nullptr) {
    std::string text;
    asio::read(stream_, asio::dynamic_buffer(text), error_);
    if (clean != nullptr) *clean = error_ == asio::error::eof;
    return text;
  }
  std::string ReadHead() {
    std::string text;
    const size_t end = asio::read_until(stream_, asio::dynamic_buffer(text), "\r\n\r\n", error_);
    return text.substr(0, end);
  }
  std::string Get(const std::string& path) {
    Write("GET " + path + " HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
    return ReadAll();
  }

 private:
  ssl::context context_{ssl::context::tls_client};
  asio::io_context io_;
  error_code error_;
  ssl::stream<asio::ip::tcp::socket> stream_{io_, context_};
};

class HttpsTest : public ::testing::Test {
 protected:
  static std::string Folder() { return ::testing::TempDir() + "/https_test"; }
  config::RouterOptions WithTls() {
    const config::TlsOptions pair = ca_.Issue("door", {.names = {"127.0.0.1"}});
    config::RouterOptions options;
    options.http_tls_certificate = pair.certificate;
    options.http_tls_key = pair.key;
    return options;
  }
  rpc::TestCa ca_{Folder()};
  RouterCluster cluster_{WithTls()};
};

TEST_F(HttpsTest, AnswersComeWholeAndTheEndIsSaid) {
  TlsClient client(ca_.ca_file(), cluster_.http());
  ASSERT_TRUE(client.ok());
  client.Write("GET /health/live HTTP/1.1\r\nHost: t\r\n\r\n");
  EXPECT_THAT(client.ReadHead(), StartsWith("HTTP/1.1 200"));  // and the connection is kept
  client.Write("GET /v1/models HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
  bool clean = false;
  EXPECT_THAT(client.ReadAll(&clean), HasSubstr("\"object\":\"list\""));
  EXPECT_TRUE(clean);
}

TEST_F(HttpsTest, ALongTextGoesInAndItsTokensComeOut) {
  TlsClient client(ca_.ca_file(), cluster_.http());
  ASSERT_TRUE(client.ok());
  const std::string text(100'000, 'x');
  client.Write(RawRequest("POST", "/tokenize",
                          R"({"add_special_tokens":false,"prompt":")" + text + R"("})",
                          {{"Connection", "close"}}));
  const std::string answer = client.ReadAll();
  const size_t body = answer.find("\r\n\r\n");
  ASSERT_NE(body, std::string::npos);
  const auto tokens = nlohmann::json::parse(answer.substr(body + 4));
  EXPECT_EQ(tokens["tokens"].size(), cluster_.Tokens(text).size());
}

TEST_F(HttpsTest, AWebSocketOpensOverTls) {
  TlsClient client(ca_.ca_file(), cluster_.http());
  ASSERT_TRUE(client.ok());
  client.Write(
      "GET /v1/ws HTTP/1.1\r\nHost: t\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
  EXPECT_THAT(client.ReadHead(), StartsWith("HTTP/1.1 101"));
  client.Write(std::string("\x88\x80\0\0\0\0", 6));  // a close frame, masked with zeros
  EXPECT_FALSE(client.ReadAll().empty());            // answered by one
}

TEST_F(HttpsTest, WhoSpeaksPlainHttpIsToldSo) {
  const RawResponse response = Call(cluster_.http(), "GET", "/health/live");
  EXPECT_EQ(response.status, 400);
  EXPECT_EQ(response.json()["error"]["code"], "https_required");
}

TEST_F(HttpsTest, WhoSpeaksNothingKnownIsLetGoOf) {
  RawHttp noise(cluster_.http());
  noise.Write(std::string(64, '\xff'));
  EXPECT_TRUE(noise.ReadEnd());
}

TEST_F(HttpsTest, ARenewedCertificateIsShownToNewConnections) {
  EXPECT_TRUE(TlsClient(ca_.ca_file(), cluster_.http()).ok());
  const rpc::TestCa other(Folder() + "/other");
  EXPECT_FALSE(TlsClient(other.ca_file(), cluster_.http()).ok());
  // The same file names, of the other CA.
  const config::TlsOptions fresh = other.Issue("door", {.names = {"127.0.0.1"}});
  std::rename(fresh.certificate.c_str(), (Folder() + "/door.crt").c_str());
  std::rename(fresh.key.c_str(), (Folder() + "/door.key").c_str());
  bool shown = false;
  const absl::Time until = absl::Now() + absl::Seconds(30);
  while (!shown && absl::Now() < until) {
    shown = TlsClient(other.ca_file(), cluster_.http()).ok();
    if (!shown) absl::SleepFor(absl::Milliseconds(20));
  }
  EXPECT_TRUE(shown);
}

TEST(HttpsStartTest, AKeyThatIsNotTheCertificatesIsNamed) {
  const rpc::TestCa ca(::testing::TempDir() + "/https_start_test");
  config::RouterOptions options;
  options.http_tls_certificate = ca.Issue("a", {}).certificate;
  options.http_tls_key = ca.Issue("b", {}).key;
  const auto router = Router::Start(options, {}, Clock::Real());
  EXPECT_EQ(router.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(MessageOf(router.status()), HasSubstr("is not the key of the certificate"));
}

}  // namespace
}  // namespace baton::router
