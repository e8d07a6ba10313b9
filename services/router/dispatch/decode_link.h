#pragma once

#include <functional>
#include <memory>
#include <string>

#include "baton/v1/worker.pb.h"
#include "common/base/status.h"
#include "common/base/strong_id.h"

namespace baton::router {

class DecodeLink;

// One call at a time per link, never from inside Send() or an opener.
class DecodeLinkListener {
 public:
  virtual ~DecodeLinkListener() = default;
  virtual void OnEvent(DecodeLink& link, const v1::DecodeEvent& event) = 0;
  // The last call of this link. Everything submitted on it is over on the worker.
  virtual void OnBroken(DecodeLink& link, const absl::Status& why) = 0;
};

// One stream to one decode worker: commands one way, one message per step the other way. Ordered.
// Thread-safe. Lives at least until OnBroken has returned.
class DecodeLink {
 public:
  virtual ~DecodeLink() = default;

  virtual const WorkerId& worker() const = 0;
  // The connection stands.
  virtual bool connected() = 0;
  // False: the stream is broken, nothing was sent.
  [[nodiscard]] virtual bool Send(v1::DecodeCommand command) = 0;
  // Ends the stream; OnBroken follows, perhaps before this returns.
  virtual void Close() = 0;
};

// Opens links. Returns at once and calls nobody; a worker that cannot be reached is said through
// OnBroken. The listener outlives the link.
using DecodeLinkOpener = std::function<std::shared_ptr<DecodeLink>(
    const WorkerId& worker, const std::string& address, DecodeLinkListener& listener)>;

}  // namespace baton::router
