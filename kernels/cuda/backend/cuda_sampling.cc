#include <algorithm>
#include <cstring>

#include "kernels/check.h"
#include "kernels/cuda/backend/cuda_backend.h"
#include "kernels/cuda/sampling/sample_batch.h"
#include "kernels/cuda/sampling/sample_tokens.h"
#include "kernels/sampling/penalties.h"

// Where a row is sampled: on the device in place where nothing changes its logits, else on a copy
// of it in the workspace, because two samples may share a row and somebody may ask for the logits
// later. Log probabilities are taken on the host.
namespace baton::kernels::cuda {

void CudaBackend::Sample(const float* logits, int32_t vocab, std::span<const SampleArgs> rows,
                         std::span<SampledToken> out) {
  KERNELS_CHECK(out.size() == rows.size());
  std::vector<size_t> plain, penalised, on_host;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (!IsForDevice(rows[i])) {
      on_host.push_back(i);
    } else {
      (HasNoPenalties(rows[i]) ? plain : penalised).push_back(i);
    }
  }
  // None of these rows is written, so one may be sampled twice.
  SampleOnDevice(const_cast<float*>(logits), vocab, rows, plain, PaddedRows(int32_t(plain.size())),
                 out);
  SamplePenalised(logits, vocab, rows, penalised, out);
  SampleOnHost(logits, vocab, rows, on_host, out);
}

bool CudaBackend::CanSampleAhead(std::span<const SampleArgs> rows) const {
  return std::all_of(rows.begin(), rows.end(),
                     [](const SampleArgs& row) { return IsForDevice(row) && HasNoPenalties(row); });
}

void CudaBackend::SampleAhead(const float* logits, int32_t vocab, std::span<const SampleArgs> rows,
                              int32_t* tokens) {
  KERNELS_CHECK(CanSampleAhead(rows));
  if (rows.empty()) return;
  std::vector<SampleArgs> filled(rows.begin(), rows.end());
  filled.resize(size_t(PaddedRows(int32_t(rows.size()))), rows.back());
  LaunchSampling(const_cast<float*>(logits), vocab, filled, tokens);
}

void CudaBackend::LaunchSampling(float* logits, int32_t vocab, Samples rows, int32_t* tokens) {
  const SampleBatch batch = BatchOf(rows, vocab);
  SampleTokensArgs args = {.logits = logits, .vocabulary = vocab, .batch = int32_t(rows.size())};
  args.rows = Upload(batch.rows);
  if (!batch.biases.empty()) args.biases = Upload(batch.biases);
  if (!batch.banned.empty()) args.banned = Upload(batch.banned);
  if (!batch.output.empty()) args.output = Upload(batch.output);
  if (!batch.prompt.empty()) args.prompt = Upload(batch.prompt);
  args.tokens = tokens;
  Launch(args);
}

void CudaBackend::SampleOnDevice(float* logits, int32_t vocab, std::span<const SampleArgs> rows,
                                 std::span<const size_t> which, int32_t launched,
                                 std::span<SampledToken> out) {
  if (which.empty()) return;
  std::vector<SampleArgs> chosen;
  for (const size_t i : which) chosen.push_back(rows[i]);
  chosen.resize(size_t(launched), chosen.back());
  const size_t bytes = chosen.size() * sizeof(int32_t);
  const Staging::Room room = TakeRoom(bytes);
  LaunchSampling(logits, vocab, chosen, reinterpret_cast<int32_t*>(room.device));
  Expect(CopyOut(room.device, room.host, bytes, stream()));
  Synchronize();  // the room is nobody else's until the next upload
  const auto* tokens = reinterpret_cast<const int32_t*>(room.host);
  for (size_t i = 0; i < which.size(); ++i) out[which[i]] = {.token = tokens[i]};
}

void CudaBackend::SamplePenalised(const float* logits, int32_t vocab, Samples rows,
                                  std::span<const size_t> which, std::span<SampledToken> out) {
  const size_t row_bytes = size_t(vocab) * sizeof(float);
  const size_t at_once = workspace_->size() / row_bytes;
  if (at_once == 0) {
    Expect("a row of logits is " + std::to_string(row_bytes) + " bytes; workspace_bytes is " +
           std::to_string(workspace_->size()));
  }
  for (size_t begin = 0; begin < which.size(); begin += at_once) {
    const auto part = which.subspan(begin, std::min(at_once, which.size() - begin));
    std::vector<SampleArgs> copies;
    std::vector<size_t> indices;
    for (const size_t i : part) {
      std::byte* copy = workspace_->data() + copies.size() * row_bytes;
      Expect(CopyWithin(logits + size_t(rows[i].row) * size_t(vocab), copy, row_bytes, stream()));
      indices.push_back(copies.size());
      copies.push_back(rows[i]);
      copies.back().row = int32_t(indices.back());
    }
    std::vector<SampledToken> tokens(copies.size());
    SampleOnDevice(workspace_->as<float>(), vocab, copies, indices, int32_t(copies.size()), tokens);
    for (size_t i = 0; i < part.size(); ++i) out[part[i]] = std::move(tokens[i]);
  }
}

void CudaBackend::SampleOnHost(const float* logits, int32_t vocab, Samples rows,
                               std::span<const size_t> which, std::span<SampledToken> out) {
  const size_t row_bytes = size_t(vocab) * sizeof(float);
  for (size_t begin = 0; begin < which.size();) {
    Synchronize();  // the staging memory is empty
    std::vector<float*> copies;
    for (size_t i = begin; i < which.size(); ++i) {
      const Staging::Room room = copies.empty() ? TakeRoom(row_bytes) : staging_.Take(row_bytes);
      if (room.host == nullptr) break;
      const float* row = logits + size_t(rows[which[i]].row) * size_t(vocab);
      Expect(CopyOut(row, room.host, row_bytes, stream()));
      copies.push_back(reinterpret_cast<float*>(room.host));
    }
    Synchronize();
    for (float* copy : copies) {
      const size_t i = which[begin++];
      out[i] = kernels::SampleRow({copy, size_t(vocab)}, rows[i]);
    }
  }
}

}  // namespace baton::kernels::cuda
