#include "inference/memory/read_queue.h"

#include <algorithm>
#include <cerrno>

#include "inference/memory/weight_layout.h"

namespace fedglm {
namespace {

// Large enough that a disk is at its full speed, small enough that a layer keeps many of them under way.
constexpr uint64_t kPieceBytes = uint64_t{1} << 20;

}  // namespace

void ReadQueue::Add(uint64_t id, std::span<const ReadSegment> segments) {
  bool empty;
  {
    MutexLock lock(mutex_);
    Request& request = requests_[id];
    request = {};
    for (const ReadSegment& segment : segments) {
      for (uint64_t done = 0; done < segment.bytes; done += kPieceBytes) {
        const uint64_t offset = segment.offset + done, bytes = std::min(kPieceBytes, segment.bytes - done);
        if (offset >= file_bytes_) break;
        pieces_.push_back({id, offset, bytes, std::min(bytes, file_bytes_ - offset), segment.to + done});
        ++request.pieces;
      }
    }
    empty = request.pieces == 0;
    if (empty) requests_.erase(id);
  }
  added_.notify_all();
  if (empty) done_(id, absl::OkStatus());
}

bool ReadQueue::Next(ReadPiece& piece) {
  MutexLock lock(mutex_);
  while (pieces_.empty() && !stopped_) lock.Wait(added_);
  if (stopped_) return false;
  piece = pieces_.front();
  pieces_.pop_front();
  return true;
}

bool ReadQueue::TryNext(ReadPiece& piece) {
  MutexLock lock(mutex_);
  if (pieces_.empty() || stopped_) return false;
  piece = pieces_.front();
  pieces_.pop_front();
  return true;
}

bool ReadQueue::Advance(ReadPiece& piece, int64_t result) {
  if (result == -EINTR || result == -EAGAIN) return false;
  if (result < 0) {
    Finish(piece, FailedError(Message(ErrnoError(path_.string(), static_cast<int>(-result)))));
    return true;
  }
  const uint64_t count = std::min(static_cast<uint64_t>(result), piece.wanted);
  bytes_read_.fetch_add(count, std::memory_order_relaxed);
  if (count == piece.wanted) {
    Finish(piece, absl::OkStatus());
    return true;
  }
  // Reads around the page cache go on at whole blocks only; less than one, and nothing at all, is the file's new end.
  const uint64_t whole = count / kReadAlignment * kReadAlignment;
  if (whole != count || count == 0) {
    Finish(piece, BadFileError(path_.string() + ": the file became shorter while it was used"));
    return true;
  }
  piece.offset += whole;
  piece.bytes -= whole;
  piece.wanted -= whole;
  piece.to += whole;
  return false;
}

void ReadQueue::Finish(const ReadPiece& piece, const absl::Status& status) {
  absl::Status result;
  {
    MutexLock lock(mutex_);
    const auto request = requests_.find(piece.id);
    if (request == requests_.end()) return;
    if (request->second.status.ok()) request->second.status = status;
    if (--request->second.pieces > 0) return;
    result = request->second.status;
    requests_.erase(request);
    if (stopped_) return;
  }
  done_(piece.id, result);
}

void ReadQueue::Stop() {
  {
    MutexLock lock(mutex_);
    stopped_ = true;
  }
  added_.notify_all();
}

}  // namespace fedglm
