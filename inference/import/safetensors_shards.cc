#include "inference/import/safetensors_shards.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>
#include <set>

#include "base/json.h"
#include "inference/quantization/half.h"

namespace fedglm {
namespace {

constexpr uint64_t kMaxHeaderBytes = 16 << 20;  // a shard of 1000 tensors has 100 KB
constexpr size_t kMaxTensors = 1 << 20;
constexpr size_t kMaxDimensions = 8;
constexpr uint64_t kMaxIndexBytes = 16 << 20;

std::optional<uint64_t> ElementBytes(std::string_view type) {
  if (type == "F64" || type == "I64" || type == "U64") return 8;
  if (type == "F32" || type == "I32" || type == "U32") return 4;
  if (type == "F16" || type == "BF16" || type == "I16" || type == "U16") return 2;
  if (type == "I8" || type == "U8" || type == "BOOL" || type == "F8_E4M3" || type == "F8_E5M2") return 1;
  return std::nullopt;
}

absl::StatusOr<std::vector<int64_t>> ReadShape(const Json& entry) {
  const auto shape = entry.find("shape");
  if (shape == entry.end() || !shape->is_array() || shape->size() > kMaxDimensions) {
    return BadFileError("it has no shape");
  }
  std::vector<int64_t> extents;
  for (const Json& extent : *shape) {
    if (!extent.is_number_unsigned() || extent.get<uint64_t>() > (uint64_t{1} << 40)) {
      return BadFileError("its shape is impossible");
    }
    extents.push_back(extent.get<int64_t>());
  }
  return extents;
}

// The bytes that a shape takes; nothing if they do not fit 63 bits.
std::optional<uint64_t> BytesOf(const std::vector<int64_t>& shape, uint64_t element_bytes) {
  uint64_t bytes = element_bytes;
  for (const int64_t extent : shape) {
    const uint64_t e = static_cast<uint64_t>(extent);
    if (e != 0 && bytes > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()) / e) return std::nullopt;
    bytes *= e;
  }
  return bytes;
}

struct Range {
  uint64_t begin = 0, end = 0;
};

absl::StatusOr<Range> ReadRange(const Json& entry, uint64_t data_bytes) {
  const auto offsets = entry.find("data_offsets");
  if (offsets == entry.end() || !offsets->is_array() || offsets->size() != 2 || !(*offsets)[0].is_number_unsigned() ||
      !(*offsets)[1].is_number_unsigned()) {
    return BadFileError("its data_offsets are malformed");
  }
  const Range range = {(*offsets)[0].get<uint64_t>(), (*offsets)[1].get<uint64_t>()};
  if (range.begin > range.end || range.end > data_bytes) return BadFileError("its data_offsets lie outside the file");
  return range;
}

absl::StatusOr<ShardTensor> ReadEntry(const Json& entry, std::span<const std::byte> data, Range& range) {
  if (!entry.is_object()) return BadFileError("it is no JSON object");
  ShardTensor tensor;
  FEDGLM_ASSIGN_OR_RETURN(tensor.element_type, RequireString(entry, "dtype"));
  FEDGLM_ASSIGN_OR_RETURN(tensor.shape, ReadShape(entry));
  FEDGLM_ASSIGN_OR_RETURN(range, ReadRange(entry, data.size()));
  const std::optional<uint64_t> element_bytes = ElementBytes(tensor.element_type);
  if (!element_bytes) return BadFileError("its type '" + tensor.element_type + "' is not known");
  if (BytesOf(tensor.shape, *element_bytes) != range.end - range.begin) {
    return BadFileError("its shape and its bytes do not agree");
  }
  tensor.bytes = data.subspan(range.begin, range.end - range.begin);
  return tensor;
}

// The ranges in order cover the data: no overlap, no gap, nothing missing at the end.
absl::Status CheckCoverage(std::vector<Range> ranges, uint64_t data_bytes) {
  std::sort(ranges.begin(), ranges.end(),
            [](const Range& a, const Range& b) { return std::pair(a.begin, a.end) < std::pair(b.begin, b.end); });
  uint64_t end = 0;
  for (const Range& range : ranges) {
    if (range.begin < end) return BadFileError("two tensors overlap");
    if (range.begin > end) return BadFileError("bytes belong to no tensor");
    end = range.end;
  }
  return end == data_bytes ? absl::OkStatus() : BadFileError("bytes belong to no tensor");
}

// A shard's name must stay in its folder.
bool IsPlainName(const std::string& name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string::npos &&
         name.find('\0') == std::string::npos;
}

}  // namespace

int64_t ShardTensor::rows() const {
  int64_t rows = 1;
  for (size_t i = 0; i + 1 < shape.size(); ++i) rows *= shape[i];
  return rows;
}

bool ShardTensor::IsFloat() const { return element_type == "F32" || element_type == "F16" || element_type == "BF16"; }

void ShardTensor::ReadRow(int64_t row, float* values) const {
  const size_t count = static_cast<size_t>(columns());
  if (element_type == "F32") {
    std::memcpy(values, bytes.data() + static_cast<size_t>(row) * count * sizeof(float), count * sizeof(float));
    return;
  }
  const std::byte* const from = bytes.data() + static_cast<size_t>(row) * count * sizeof(uint16_t);
  const bool half = element_type == "F16";
  for (size_t i = 0; i < count; ++i) {
    uint16_t value;
    std::memcpy(&value, from + i * sizeof(value), sizeof(value));
    values[i] = half ? HalfToFloat(value) : Bfloat16ToFloat(value);
  }
}

const ShardTensor* SafetensorsShards::Find(std::string_view name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : &found->second;
}

absl::Status SafetensorsShards::CheckIntact() const {
  for (const MappedFile& file : files_) FEDGLM_RETURN_IF_ERROR(file.CheckIntact());
  return absl::OkStatus();
}

absl::Status SafetensorsShards::AddFile(const std::filesystem::path& path) {
  FEDGLM_ASSIGN_OR_RETURN(MappedFile file, MappedFile::Open(path));
  const auto bad = [&](const std::string& what) { return BadFileError(path.string() + ": " + what); };
  const std::span<const std::byte> bytes = file.bytes();
  uint64_t header_bytes = 0;
  if (bytes.size() < sizeof(header_bytes)) return bad("truncated");
  std::memcpy(&header_bytes, bytes.data(), sizeof(header_bytes));
  if (header_bytes > kMaxHeaderBytes || header_bytes > bytes.size() - sizeof(header_bytes)) {
    return bad("not a safetensors file, or truncated");
  }
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + sizeof(header_bytes), header_bytes);
  const std::span<const std::byte> data = bytes.subspan(sizeof(header_bytes) + header_bytes);
  FEDGLM_ASSIGN_OR_RETURN(const Json header, ParseJson(text, path.string()));
  if (!header.is_object()) return bad("its header is no JSON object");
  std::vector<Range> ranges;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    if (tensors_.size() >= kMaxTensors) return bad("too many tensors");
    Range range;
    absl::StatusOr<ShardTensor> tensor = ReadEntry(entry, data, range);
    if (!tensor.ok()) return Annotate(tensor.status(), path.string() + ": tensor '" + name + "'");
    if (!tensors_.emplace(name, *std::move(tensor)).second) return bad("tensor '" + name + "' is there twice");
    ranges.push_back(range);
  }
  if (const absl::Status status = CheckCoverage(std::move(ranges), data.size()); !status.ok()) {
    return Annotate(status, path.string());
  }
  files_.push_back(std::move(file));
  return absl::OkStatus();
}

absl::Status SafetensorsShards::AddIndexed(const std::filesystem::path& folder, const std::filesystem::path& index) {
  FEDGLM_ASSIGN_OR_RETURN(const std::string text, ReadFile(index, kMaxIndexBytes));
  FEDGLM_ASSIGN_OR_RETURN(const Json json, ParseJson(text, index.string()));
  const auto bad = [&](const std::string& what) { return BadFileError(index.string() + ": " + what); };
  const auto map = json.is_object() ? json.find("weight_map") : json.end();
  if (!json.is_object() || map == json.end() || !map->is_object()) return bad("it has no weight_map");
  std::set<std::string> shards;
  for (const auto& [name, shard] : map->items()) {
    if (!shard.is_string() || !IsPlainName(shard.get<std::string>())) {
      return bad("'" + name + "' has no plain file name");
    }
    shards.insert(shard.get<std::string>());
  }
  for (const std::string& shard : shards) FEDGLM_RETURN_IF_ERROR(AddFile(folder / shard));
  if (tensors_.size() != map->size()) return bad("the shards hold other tensors than it names");
  for (const auto& [name, shard] : map->items()) {
    if (Find(name) == nullptr) return bad("tensor '" + name + "' is in no shard");
  }
  return absl::OkStatus();
}

absl::StatusOr<SafetensorsShards> SafetensorsShards::Open(const std::filesystem::path& folder) {
  SafetensorsShards shards;
  const std::filesystem::path index = folder / "model.safetensors.index.json";
  std::error_code error;
  if (std::filesystem::exists(index, error)) {
    FEDGLM_RETURN_IF_ERROR(shards.AddIndexed(folder, index));
  } else {
    FEDGLM_RETURN_IF_ERROR(shards.AddFile(folder / "model.safetensors"));
  }
  return shards;
}

}  // namespace fedglm
