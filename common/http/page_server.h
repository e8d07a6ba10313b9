#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "common/base/status.h"
#include "common/config/address.h"

namespace baton::http {

struct Page {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
};

// Answers GET and HEAD of a handful of paths, for people, probes and collectors: one thread, an
// answer per connection. Another path is 404, another method 405; whoever takes longer than five
// seconds, or sends more than 8 KiB, is cut off.
class PageServer {
 public:
  using Pages = std::map<std::string, std::function<Page()>>;  // by path; called on its thread

  // UNAVAILABLE names the address when it cannot be bound; port 0 takes a free one.
  static absl::StatusOr<std::unique_ptr<PageServer>> Listen(const config::Address& address,
                                                            Pages pages);
  virtual ~PageServer() = default;  // joins the thread; pages are not called any more
  // As bound.
  virtual config::Address address() const = 0;
};

}  // namespace baton::http
