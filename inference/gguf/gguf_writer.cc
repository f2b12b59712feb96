#include "inference/gguf/gguf_writer.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/output_file.h"
#include "inference/gguf/gguf_format.h"

namespace fedglm {

using namespace gguf_format;

struct GgufWriter::State {
  struct Declared {
    std::string name;
    BlockType type;
    std::vector<int64_t> extent;
    uint64_t bytes;
  };

  State(std::filesystem::path path, OutputFile file) : path(std::move(path)), file(std::move(file)) {}

  std::filesystem::path path;
  OutputFile file;
  std::string metadata;
  uint64_t keys = 0;
  std::vector<Declared> tensors;
  bool header_written = false;
  size_t current = 0;   // the tensor that Append fills
  uint64_t filled = 0;  // bytes of it that are written
  absl::Status error;   // the first one; every later call returns it

  template <typename T>
  static void Put(std::string& out, T value) {
    out.append(reinterpret_cast<const char*>(&value), sizeof(T));
  }
  static void PutString(std::string& out, std::string_view text) {
    Put<uint64_t>(out, text.size());
    out.append(text);
  }
  void PutKey(std::string_view key, ValueType type) {
    ++keys;
    PutString(metadata, key);
    Put<uint32_t>(metadata, type);
  }
  void PutArrayHead(std::string_view key, ValueType type, uint64_t count) {
    PutKey(key, kArray);
    Put<uint32_t>(metadata, type);
    Put<uint64_t>(metadata, count);
  }
  static uint64_t Padding(uint64_t bytes) {
    return (kDefaultAlignment - bytes % kDefaultAlignment) % kDefaultAlignment;
  }

  absl::Status WriteHeader() {
    header_written = true;
    std::string header;
    Put<uint32_t>(header, kMagic);
    Put<uint32_t>(header, kVersion);
    Put<uint64_t>(header, tensors.size());
    Put<uint64_t>(header, keys);
    header += metadata;
    uint64_t offset = 0;
    for (const Declared& tensor : tensors) {
      PutString(header, tensor.name);
      Put<uint32_t>(header, static_cast<uint32_t>(tensor.extent.size()));
      for (const int64_t extent : tensor.extent) Put<uint64_t>(header, static_cast<uint64_t>(extent));
      Put<uint32_t>(header, static_cast<uint32_t>(tensor.type));
      Put<uint64_t>(header, offset);
      offset += tensor.bytes + Padding(tensor.bytes);
    }
    header.append(Padding(header.size()), '\0');
    return file.Append(std::as_bytes(std::span(header)));
  }

  absl::Status Append(std::span<const std::byte> bytes) {
    if (!header_written) FEDGLM_RETURN_IF_ERROR(WriteHeader());
    while (!bytes.empty()) {
      if (current == tensors.size()) return FailedError(path.string() + ": more bytes than were declared");
      const uint64_t wanted = tensors[current].bytes;
      const size_t part = static_cast<size_t>(std::min<uint64_t>(bytes.size(), wanted - filled));
      FEDGLM_RETURN_IF_ERROR(file.Append(bytes.first(part)));
      bytes = bytes.subspan(part);
      filled += part;
      if (filled == wanted) {
        static constexpr std::byte kZeros[kDefaultAlignment] = {};
        FEDGLM_RETURN_IF_ERROR(file.Append(std::span(kZeros).first(Padding(wanted))));
        ++current;
        filled = 0;
      }
    }
    return absl::OkStatus();
  }

  absl::Status Finish() {
    if (!header_written) FEDGLM_RETURN_IF_ERROR(WriteHeader());
    if (current != tensors.size()) return FailedError(path.string() + ": fewer bytes than were declared");
    return file.Finish();
  }
};

GgufWriter::GgufWriter(std::unique_ptr<State> state) : state_(std::move(state)) {}

GgufWriter::~GgufWriter() = default;

absl::StatusOr<std::unique_ptr<GgufWriter>> GgufWriter::Create(const std::filesystem::path& path) {
  FEDGLM_ASSIGN_OR_RETURN(OutputFile file, OutputFile::Create(path));
  return std::unique_ptr<GgufWriter>(new GgufWriter(std::make_unique<State>(path, std::move(file))));
}

void GgufWriter::AddString(std::string_view key, std::string_view value) {
  state_->PutKey(key, kString);
  State::PutString(state_->metadata, value);
}

void GgufWriter::AddUint32(std::string_view key, uint32_t value) {
  state_->PutKey(key, kUint32);
  State::Put(state_->metadata, value);
}

void GgufWriter::AddFloat32(std::string_view key, float value) {
  state_->PutKey(key, kFloat32);
  State::Put(state_->metadata, value);
}

void GgufWriter::AddBool(std::string_view key, bool value) {
  state_->PutKey(key, kBool);
  State::Put<uint8_t>(state_->metadata, value ? 1 : 0);
}

void GgufWriter::AddStrings(std::string_view key, const std::vector<std::string>& values) {
  state_->PutArrayHead(key, kString, values.size());
  for (const std::string& value : values) State::PutString(state_->metadata, value);
}

void GgufWriter::AddInt32s(std::string_view key, const std::vector<int32_t>& values) {
  state_->PutArrayHead(key, kInt32, values.size());
  for (const int32_t value : values) State::Put(state_->metadata, value);
}

absl::Status GgufWriter::CopyMetadata(const GgufFile& from, std::string_view key) {
  const std::span<const std::byte> raw = from.RawValue(key);
  if (raw.empty()) return BadFileError(from.path().string() + ": '" + std::string(key) + "' is missing");
  ++state_->keys;
  State::PutString(state_->metadata, key);
  state_->metadata.append(reinterpret_cast<const char*>(raw.data()), raw.size());
  return absl::OkStatus();
}

void GgufWriter::DeclareTensor(std::string_view name, BlockType type, std::span<const int64_t> extent) {
  const int64_t rows = std::accumulate(extent.begin() + 1, extent.end(), int64_t{1}, std::multiplies<>());
  state_->tensors.push_back({std::string(name),
                             type,
                             {extent.begin(), extent.end()},
                             static_cast<uint64_t>(RowBytes(type, extent[0]) * rows)});
}

absl::Status GgufWriter::Append(std::span<const std::byte> bytes) {
  if (state_->error.ok()) state_->error = state_->Append(bytes);
  return state_->error;
}

absl::Status GgufWriter::Finish() {
  if (state_->error.ok()) state_->error = state_->Finish();
  return state_->error;
}

}  // namespace fedglm
