#pragma once

#include <deque>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "services/router/http/spawn.h"
#include "services/router/http/websocket.h"
#include "services/router/openai/api.h"

namespace baton::router {

// The API over one WebSocket, one call at a time. A text frame with a call's JSON body starts it
// ("type": "chat" or "completion"; left out, "messages" means chat); its chunks come back as text
// frames, then
// {"type": "done"} or an error object. {"type": "cancel"} ends the call under way, as does closing.
class WsCalls : public WebSocketListener, public std::enable_shared_from_this<WsCalls> {
 public:
  // The API outlives this; `spawn` is for parsing and tokenizing, one text after the other.
  WsCalls(const openai::Api& api, Spawn spawn, std::weak_ptr<WebSocket> socket,
          openai::Api::Context context)
      : api_(api),
        spawn_(std::move(spawn)),
        socket_(std::move(socket)),
        context_(std::move(context)) {}

  void OnText(std::string text) override;
  void OnClosed() override;

 private:
  class CallOutlet;
  void HandleTexts();
  void Handle(const std::string& text);
  bool CancelRunning();  // false: none was running
  void Begin(const openai::Json& body);
  void Refuse(const absl::Status& status);
  bool Send(std::string text);
  void Expect(size_t bytes);
  void Ended(const openai::RunningCall* call);

  const openai::Api& api_;
  const Spawn spawn_;
  const std::weak_ptr<WebSocket> socket_;
  const openai::Api::Context context_;
  absl::Mutex mutex_;
  std::deque<std::string> texts_ ABSL_GUARDED_BY(mutex_);  // not handled yet
  bool handling_ ABSL_GUARDED_BY(mutex_) = false;          // a task is at it
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  std::shared_ptr<openai::RunningCall> running_ ABSL_GUARDED_BY(mutex_);  // null: none
};

}  // namespace baton::router
