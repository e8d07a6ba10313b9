// One HTTP/1.1 connection, on one loop.
//
//   reading header -> reading body -> answering -> (keep-alive) reading header …
//        |                |              |
//        +---- refused: an error, then a lingering close
//
// There is one read at most and one write at most. While an answer is under way the read goes on:
// it notices a client that leaves, and keeps (a bounded number of) pipelined bytes.
#include "services/router/http/connection.h"

#include <openssl/sslerr.h>

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/version.hpp>
#include <chrono>
#include <deque>
#include <optional>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/telemetry/logging.h"
#include "fmt/format.h"
#include "services/router/http/http_head.h"
#include "services/router/http/lazy_timer.h"

namespace baton::router {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using boost::system::error_code;

constexpr size_t kReadBytes = 16 << 10;
constexpr size_t kLingerBytes = 4 << 20;
constexpr absl::Duration kLinger = absl::Seconds(2);

bool FromThisMachine(const HttpStream::Socket& socket) {
  error_code error;
  const asio::ip::address address = socket.remote_endpoint(error).address();
  if (error) return false;  // gone already
  if (!address.is_v6() || !address.to_v6().is_v4_mapped()) return address.is_loopback();
  return asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6()).is_loopback();
}

class Connection : public HttpPeer, public std::enable_shared_from_this<Connection> {
 public:
  Connection(HttpStream stream, HttpServerState& state)
      : state_(state),
        stream_(std::move(stream)),
        from_this_machine_(FromThisMachine(stream_.socket())),
        read_timer_(stream_.get_executor()),
        write_timer_(stream_.get_executor()),
        idle_timer_(stream_.get_executor()) {
    state_.handler->OnConnections(++state_.open_connections);
  }
  ~Connection() override { state_.handler->OnConnections(--state_.open_connections); }

  void Start() {
    Post([](Connection& self) { self.Begin(); });
  }
  void CloseWhenIdle() override {
    Post([](Connection& self) {
      self.keep_alive_ = false;
      if (!self.answering_ && !self.header_done_ && self.in_.size() == 0) self.Gone();
    });
  }
  void Cut() override {
    Post([](Connection& self) { self.Gone(); });
  }

  // ---- for the writer, any thread ----
  // In order, on the loop. What comes before the loop gets to it is done together, with one write.
  void Post(absl::AnyInvocable<void(Connection&)> task) {
    {
      absl::MutexLock lock(&posted_mutex_);
      posted_.push_back(std::move(task));
      if (posted_.size() > 1) return;  // the loop knows
    }
    asio::post(stream_.get_executor(), [self = shared_from_this()] { self->RunPosted(); });
  }
  bool gone() const { return gone_flag_.load(std::memory_order_acquire); }
  // False: over the bound. `expected`: what it is higher by.
  bool Reserve(size_t bytes, size_t expected) {
    return unsent_bytes_.fetch_add(bytes, std::memory_order_relaxed) + bytes <=
           state_.options.stream_bytes_max + expected;
  }
  HttpHandler& handler() { return *state_.handler; }
  bool draining() const { return state_.draining; }

  // ---- on the loop ----
  // `reserved`: bytes counted by Reserve() already.
  void Enqueue(std::string bytes, bool last, size_t reserved) {
    if (gone()) return;
    unsent_bytes_ += bytes.size() - reserved;
    if (!bytes.empty()) out_.push_back(std::move(bytes));
    answer_ended_ = answer_ended_ || last;
    if (last) {
      on_gone_ = nullptr;
      ForgetIdle();
    }
    last_enqueued_ = Now();
    if (!corked_) WriteNext();
  }
  void SetOnGone(std::function<void()> callback) {
    if (gone()) return callback();
    if (answering_ && !answer_ended_) on_gone_ = std::move(callback);
  }
  void SetOnIdle(absl::Duration silence, std::function<void()> callback) {
    if (gone() || !answering_ || answer_ended_) return;
    idle_after_ = silence;
    on_idle_ = std::move(callback);
    last_enqueued_ = Now();
    idle_timer_.Set(shared_from_this(), idle_after_, &Connection::MaybeIdle);
  }
  void Gone();
  bool keep_alive_ = true;  // after this answer
  bool http_10_ = false;
  bool head_only_ = false;  // HEAD: no body

 private:
  void Begin();
  void OnBegun(error_code error);
  void NextRequest();
  void Feed();
  void Read();
  void OnRead(error_code error, size_t bytes);
  void OnHeader();
  void Dispatch();
  void Refuse(int status, std::string_view message, std::string_view code);
  void RunPosted() ABSL_LOCKS_EXCLUDED(posted_mutex_);
  void WriteNext();
  bool WriteAtOnce(std::vector<asio::const_buffer>& buffers);
  void OnWritten(error_code error, size_t bytes);
  void EndAnswer();
  void Linger();
  void ReadIsLate();
  static absl::Duration Now() { return Clock::Real().Monotonic(); }
  void MaybeIdle();
  void ForgetIdle();
  void CloseTimers();
  HttpRequest TakeRequest();

  HttpServerState& state_;
  HttpStream stream_;
  const bool from_this_machine_;
  // Where the socket reads to, apart from what has come: that moves while a read waits, when a
  // request that came early is taken.
  std::array<char, kReadBytes> chunk_;
  boost::beast::flat_buffer in_;
  std::optional<http::request_parser<http::string_body>> parser_;
  bool reading_ = false;
  bool header_done_ = false;
  bool answering_ = false;  // a request is with the handler, or refused
  bool answer_ended_ = false;
  bool lingering_ = false;
  size_t lingered_bytes_ = 0;
  std::function<void()> on_gone_;
  std::function<void()> on_idle_;
  absl::Duration idle_after_;
  absl::Duration last_enqueued_;

  absl::Mutex posted_mutex_;
  std::vector<absl::AnyInvocable<void(Connection&)>> posted_ ABSL_GUARDED_BY(posted_mutex_);
  bool corked_ = false;              // more may come before anything is written
  std::deque<std::string> out_;      // not handed to the socket yet
  std::deque<std::string> writing_;  // the socket's
  std::atomic<size_t> unsent_bytes_ = 0;
  std::atomic<bool> gone_flag_ = false;
  LazyTimer<Connection> read_timer_;
  LazyTimer<Connection> write_timer_;
  LazyTimer<Connection> idle_timer_;
};

// ---- the writer
// ----------------------------------------------------------------------------------

class ConnectionWriter : public ResponseWriter {
 public:
  ConnectionWriter(std::shared_ptr<Connection> connection, const HttpRequest& request)
      : connection_(std::move(connection)),
        request_id_(request.request_id),
        origin_(AllowedOrigin(request.Header("origin"))) {}
  ~ConnectionWriter() override {
    if (!ended_) connection_->Cut();
  }

  void Send(HttpAnswer answer) override {
    ended_ = true;
    connection_->handler().OnAnswered(route_, answer.status);
    connection_->Post([answer = std::move(answer), id = request_id_,
                       origin = origin_](Connection& c) mutable {
      HeadOptions head{
          .request_id = id, .allow_origin = origin, .keep_alive = c.keep_alive_ && !c.draining()};
      c.keep_alive_ = head.keep_alive;
      head.content_length = answer.body.size();
      std::string bytes = FormatHead(answer, head);
      if (!c.head_only_) bytes += answer.body;
      c.Enqueue(std::move(bytes), /*last=*/true, 0);
    });
  }

  void Begin(HttpAnswer answer) override {
    connection_->handler().OnAnswered(route_, answer.status);
    connection_->Post([answer = std::move(answer), id = request_id_,
                       origin = origin_](Connection& c) {
      HeadOptions head{
          .request_id = id, .allow_origin = origin, .keep_alive = c.keep_alive_ && !c.draining()};
      if (c.http_10_) head.keep_alive = false;  // the end of the body is the end of the connection
      head.chunked = !c.http_10_;
      c.keep_alive_ = head.keep_alive;
      c.Enqueue(FormatHead(answer, head), /*last=*/false, 0);
    });
  }

  bool Write(std::string bytes) override {
    if (connection_->gone()) return false;
    const size_t size = bytes.size();
    if (!connection_->Reserve(size, expected_bytes_)) {
      connection_->Cut();
      return false;
    }
    connection_->Post([bytes = std::move(bytes), size](Connection& c) mutable {
      c.Enqueue(c.http_10_ ? std::move(bytes) : FormatChunk(bytes), /*last=*/false, size);
    });
    return true;
  }

  void Expect(size_t bytes) override { expected_bytes_ = bytes; }

  void End() override {
    ended_ = true;
    connection_->Post(
        [](Connection& c) { c.Enqueue(c.http_10_ ? "" : "0\r\n\r\n", /*last=*/true, 0); });
  }

  void OnGone(std::function<void()> callback) override {
    connection_->Post([callback = std::move(callback)](Connection& c) mutable {
      c.SetOnGone(std::move(callback));
    });
  }

  void OnIdle(absl::Duration silence, std::function<void()> callback) override {
    connection_->Post([silence, callback = std::move(callback)](Connection& c) mutable {
      c.SetOnIdle(silence, std::move(callback));
    });
  }

  void set_route(std::string_view route) override { route_ = route; }

 private:
  const std::shared_ptr<Connection> connection_;
  const std::string request_id_;
  const std::string origin_;
  std::string route_;
  std::atomic<size_t> expected_bytes_ = 0;
  bool ended_ = false;
};

// ---- reading
// -------------------------------------------------------------------------------------

void Connection::Begin() {
  // Part of the time for a header.
  read_timer_.Set(shared_from_this(), state_.options.header_timeout, &Connection::Gone);
  stream_.Begin([self = shared_from_this()](error_code error) {
    if (!self->gone()) self->OnBegun(error);
  });
}

void Connection::OnBegun(error_code error) {
  if (!error) return NextRequest();
  const bool plain = error.category() == asio::error::get_ssl_category() &&
                     ERR_GET_REASON(error.value()) == SSL_R_HTTP_REQUEST;
  if (!plain) {
    telemetry::LogDebug("http", "a TLS handshake failed", {{"why", error.message()}});
    return Gone();
  }
  stream_.SpeakPlainly();
  Refuse(400, "this port speaks HTTPS: the address begins with https://", "https_required");
}

void Connection::NextRequest() {
  parser_.emplace();
  parser_->header_limit(static_cast<uint32_t>(state_.options.header_bytes_max));
  parser_->body_limit(state_.options.body_bytes_max);
  parser_->eager(true);
  header_done_ = false;
  answering_ = false;
  answer_ended_ = false;
  head_only_ = false;
  read_timer_.Set(shared_from_this(), state_.options.header_timeout, &Connection::ReadIsLate);
  if (in_.size() > 0) {
    Feed();
  } else {
    Read();
  }
}

void Connection::Read() {
  if (reading_ || gone()) return;
  reading_ = true;
  stream_.async_read_some(asio::buffer(chunk_),
                          [self = shared_from_this()](error_code error, size_t bytes) {
                            self->reading_ = false;
                            if (!self->gone()) self->OnRead(error, bytes);
                          });
}

void Connection::OnRead(error_code error, size_t bytes) {
  if (error) return Gone();
  if (lingering_) {
    lingered_bytes_ += bytes;
    return lingered_bytes_ > kLingerBytes ? Gone() : Read();
  }
  in_.commit(asio::buffer_copy(in_.prepare(bytes), asio::buffer(chunk_, bytes)));
  if (!answering_) return Feed();
  if (in_.size() < state_.options.pipelined_bytes_max) Read();  // else when its turn has come
}

void Connection::Feed() {
  error_code error;
  const size_t used = parser_->put(in_.data(), error);
  in_.consume(used);
  if (parser_->is_header_done() && !header_done_ && (!error || error == http::error::need_more)) {
    header_done_ = true;
    OnHeader();
  }
  if (error == http::error::need_more) return Read();
  if (error == http::error::header_limit) {
    return Refuse(431, "the header is longer than allowed", "header_too_large");
  }
  if (error == http::error::body_limit) {
    return Refuse(
        413,
        fmt::format("the body is longer than the {} bytes allowed", state_.options.body_bytes_max),
        "body_too_large");
  }
  if (error) return Refuse(400, "not a valid HTTP request: " + error.message(), "bad_request");
  if (!parser_->is_done()) return Read();
  Dispatch();
}

void Connection::OnHeader() {
  read_timer_.Set(shared_from_this(), state_.options.body_timeout, &Connection::ReadIsLate);
  const auto& head = parser_->get();
  http_10_ = head.version() < 11;
  const auto expect = head[http::field::expect];
  if (boost::beast::iequals(expect, "100-continue") && !parser_->is_done()) {
    out_.push_back("HTTP/1.1 100 Continue\r\n\r\n");
    unsent_bytes_ += out_.back().size();
    WriteNext();
  }
}

void Connection::ReadIsLate() {
  if (in_.size() == 0 && !header_done_) return Gone();  // idle: nothing to say
  Refuse(408, "the request did not arrive in time", "request_timeout");
}

HttpRequest Connection::TakeRequest() {
  auto message = parser_->release();
  HttpRequest request;
  request.method = std::string(message.method_string());
  const std::string target(message.target());
  const size_t question = target.find('?');
  request.path = target.substr(0, question);
  if (question != std::string::npos) request.query = target.substr(question + 1);
  for (const auto& field : message) {
    request.headers.emplace_back(LowerCase(std::string_view(field.name_string())),
                                 std::string(field.value()));
  }
  request.body = std::move(message.body());
  request.from_this_machine = from_this_machine_;
  request.request_id = RequestIdOf(request.Header("x-request-id"), state_.next_request++);
  return request;
}

void Connection::Dispatch() {
  read_timer_.Forget();
  answering_ = true;
  keep_alive_ = parser_->keep_alive() && !state_.draining;
  HttpRequest request = TakeRequest();
  if (in_.size() == 0) in_.shrink_to_fit();  // an answer may take minutes
  head_only_ = request.method == "HEAD";
  if (boost::beast::iequals(std::string(request.Header("upgrade")), "websocket")) {
    // The read would take what belongs to the WebSocket.
    if (reading_) {
      return Refuse(400, "an upgrade came before the answer in front of it had ended",
                    "bad_request");
    }
    gone_flag_ = true;  // this object's work is done; the socket lives on
    CloseTimers();
    state_.Register(ServeWebSocket(std::move(stream_), state_, request));
    return;
  }
  auto writer = std::make_shared<ConnectionWriter>(shared_from_this(), request);
  Read();
  state_.handler->OnRequest(std::move(request), std::move(writer));
}

// A mistake below the API. The rest of what the client sends cannot be told apart from a next
// request.
void Connection::Refuse(int status, std::string_view message, std::string_view code) {
  read_timer_.Forget();
  answering_ = true;
  keep_alive_ = false;
  in_.consume(in_.size());
  state_.handler->OnAnswered("", status);
  HttpAnswer answer = ErrorAnswer(status, message, code);
  HeadOptions head{.request_id = RequestIdOf("", state_.next_request++), .keep_alive = false};
  head.content_length = answer.body.size();
  Enqueue(FormatHead(answer, head) + answer.body, /*last=*/true, 0);
}

// ---- writing
// -------------------------------------------------------------------------------------

void Connection::RunPosted() {
  std::vector<absl::AnyInvocable<void(Connection&)>> tasks;
  {
    absl::MutexLock lock(&posted_mutex_);
    tasks.swap(posted_);
  }
  corked_ = true;
  for (auto& task : tasks) task(*this);
  corked_ = false;
  WriteNext();
}

void Connection::WriteNext() {
  if (!writing_.empty() || gone()) return;
  if (out_.empty()) {
    if (answer_ended_ && !lingering_) EndAnswer();
    return;
  }
  writing_.swap(out_);
  std::vector<asio::const_buffer> buffers;
  buffers.reserve(writing_.size());
  for (const std::string& bytes : writing_) buffers.push_back(asio::buffer(bytes));
  if (WriteAtOnce(buffers)) return WriteNext();
  if (gone()) return;
  write_timer_.Set(shared_from_this(), state_.options.send_timeout, &Connection::Gone);
  asio::async_write(stream_, buffers, [self = shared_from_this()](error_code error, size_t bytes) {
    self->OnWritten(error, bytes);
  });
}

// Mostly the socket takes everything, and nobody has to wait for that. False: what is left in
// `buffers` has to, or the client is gone.
bool Connection::WriteAtOnce(std::vector<asio::const_buffer>& buffers) {
  error_code error;
  size_t sent = stream_.TryWrite(buffers, error);
  unsent_bytes_ -= sent;
  if (error) {
    Gone();
    return false;
  }
  size_t whole = 0;
  while (whole < buffers.size() && sent >= buffers[whole].size()) sent -= buffers[whole++].size();
  if (whole == buffers.size()) {
    writing_.clear();
    return true;
  }
  buffers.erase(buffers.begin(), buffers.begin() + static_cast<ptrdiff_t>(whole));
  buffers.front() += sent;
  return false;
}

void Connection::OnWritten(error_code error, size_t bytes) {
  write_timer_.Forget();
  writing_.clear();
  unsent_bytes_ -= bytes;
  if (gone()) return;
  if (error) return Gone();
  WriteNext();
}

// The timer is not moved with every write: it looks how long ago the last one was.
void Connection::MaybeIdle() {
  if (on_idle_ == nullptr) return;
  const absl::Duration silence = Now() - last_enqueued_;
  if (silence < idle_after_) {
    return idle_timer_.Set(shared_from_this(), idle_after_ - silence, &Connection::MaybeIdle);
  }
  on_idle_();
  idle_timer_.Set(shared_from_this(), idle_after_, &Connection::MaybeIdle);
}

void Connection::ForgetIdle() {
  on_idle_ = nullptr;
  idle_timer_.Forget();
}

void Connection::EndAnswer() {
  if (keep_alive_ && !state_.draining) return NextRequest();
  Linger();
}

// Closing with unread bytes would reset the connection and take the answer along.
void Connection::Linger() {
  lingering_ = true;
  read_timer_.Set(shared_from_this(), kLinger, &Connection::Gone);
  in_.consume(in_.size());
  stream_.End([self = shared_from_this()] { self->Read(); });
}

void Connection::CloseTimers() {
  read_timer_.Close();
  write_timer_.Close();
  idle_timer_.Close();
}

void Connection::Gone() {
  if (gone_flag_.exchange(true)) return;
  on_idle_ = nullptr;
  CloseTimers();
  stream_.Close();
  out_.clear();
  if (auto callback = std::exchange(on_gone_, nullptr)) callback();
}

}  // namespace

std::shared_ptr<HttpPeer> ServeHttp(HttpStream stream, HttpServerState& state) {
  auto connection = std::make_shared<Connection>(std::move(stream), state);
  connection->Start();
  return connection;
}

}  // namespace baton::router
