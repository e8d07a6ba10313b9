#pragma once

#include <functional>
#include <memory>
#include <string>

#include "baton/v1/cluster.pb.h"

namespace baton::worker {

// Calls of one stream come one at a time; never from inside Start() or Write().
class ReportStreamListener {
 public:
  virtual ~ReportStreamListener() = default;
  virtual void OnNotice(const v1::RouterNotice& notice) = 0;
  // The last report is on its way: the next one may be written.
  virtual void OnWritten() = 0;
  // Nothing more can be read, so nothing may be written: the stream is about to end.
  virtual void OnEnding() = 0;
  // The last call of this stream.
  virtual void OnClosed(const std::string& why) = 0;
};

// One Attach stream to a router: reports one way, notices the other. Ordered. Lives at least until
// OnClosed has returned.
class ReportStream {
 public:
  virtual ~ReportStream() = default;
  // Dials and begins to listen; once, first.
  virtual void Start() = 0;
  // The report is copied; one at a time.
  virtual void Write(v1::WorkerReport report) = 0;
  // Ends it; OnClosed follows, perhaps before this returns.
  virtual void Cancel() = 0;
};

// Makes a stream that has yet to be started. The listener outlives it.
using ReportStreamOpener =
    std::function<std::shared_ptr<ReportStream>(ReportStreamListener& listener)>;

}  // namespace baton::worker
