#include "kernels/cuda/emulation/clocks.h"

#include <algorithm>

namespace baton::kernels::emulation {

void Clocks::Join(const Clock& from, Clock* to) {
  if (to->size() < from.size()) to->resize(from.size(), 0);
  for (size_t i = 0; i < from.size(); ++i) (*to)[i] = std::max((*to)[i], from[i]);
}

void Clocks::Release(Moment& thread, Clock* to) {
  clocks_[thread.thread][thread.thread] = ++thread.releases;
  Join(clocks_[thread.thread], to);
}

}  // namespace baton::kernels::emulation
