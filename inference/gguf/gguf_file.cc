#include "inference/gguf/gguf_file.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>

#include "inference/gguf/gguf_format.h"

namespace fedglm {
namespace {

using namespace gguf_format;

// What a file may make us allocate for its metadata, whatever it declares.
constexpr uint64_t kMaxKeys = 1 << 16;
constexpr uint64_t kMaxTensors = 1 << 20;
constexpr uint64_t kMaxNameBytes = 1 << 10;
constexpr uint64_t kMaxArrayElements = 8 << 20;   // over all arrays
constexpr uint64_t kMaxStringBytes = 128 << 20;   // over all strings
constexpr int64_t kMaxExtent = int64_t{1} << 40;

// Bytes left to read. Every Read checks before it moves.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  template <typename T>
  absl::StatusOr<T> Read() {
    if (remaining() < sizeof(T)) return BadFileError("truncated");
    T value;
    std::memcpy(&value, bytes_.data() + offset_, sizeof(T));
    offset_ += sizeof(T);
    return value;
  }

  absl::StatusOr<std::string> ReadString(uint64_t max_bytes) {
    FEDGLM_ASSIGN_OR_RETURN(const uint64_t size, Read<uint64_t>());
    if (size > remaining()) return BadFileError("truncated: a string of " + std::to_string(size) + " bytes");
    if (size > max_bytes) return BadFileError("a string of " + std::to_string(size) + " bytes is too long");
    std::string text(reinterpret_cast<const char*>(bytes_.data() + offset_), static_cast<size_t>(size));
    offset_ += size;
    return text;
  }

  size_t offset() const { return offset_; }
  uint64_t remaining() const { return bytes_.size() - offset_; }

 private:
  std::span<const std::byte> bytes_;
  size_t offset_ = 0;
};

// Bytes of one value of a fixed-size type, 0 for strings and arrays, and for unknown types.
uint64_t FixedSize(uint32_t type) {
  switch (type) {
    case kUint8: case kInt8: case kBool: return 1;
    case kUint16: case kInt16: return 2;
    case kUint32: case kInt32: case kFloat32: return 4;
    case kUint64: case kInt64: case kFloat64: return 8;
    default: return 0;
  }
}

template <typename T, typename As>
absl::StatusOr<GgufValue> ReadAs(Reader& reader) {
  FEDGLM_ASSIGN_OR_RETURN(const T value, reader.Read<T>());
  return GgufValue(static_cast<As>(value));
}

absl::StatusOr<GgufValue> ReadScalar(Reader& reader, uint32_t type) {
  switch (type) {
    case kUint8: return ReadAs<uint8_t, uint64_t>(reader);
    case kInt8: return ReadAs<int8_t, int64_t>(reader);
    case kUint16: return ReadAs<uint16_t, uint64_t>(reader);
    case kInt16: return ReadAs<int16_t, int64_t>(reader);
    case kUint32: return ReadAs<uint32_t, uint64_t>(reader);
    case kInt32: return ReadAs<int32_t, int64_t>(reader);
    case kUint64: return ReadAs<uint64_t, uint64_t>(reader);
    case kInt64: return ReadAs<int64_t, int64_t>(reader);
    case kFloat32: return ReadAs<float, double>(reader);
    case kFloat64: return ReadAs<double, double>(reader);
    case kBool: {
      FEDGLM_ASSIGN_OR_RETURN(const uint8_t value, reader.Read<uint8_t>());
      if (value > 1) return BadFileError("a bool is neither 0 nor 1");
      return GgufValue(value == 1);
    }
    default: return BadFileError("value type " + std::to_string(type) + " is unknown");
  }
}

}  // namespace

class GgufParser {
 public:
  explicit GgufParser(GgufFile& file) : file_(file), reader_(file.bytes_) {}

  absl::Status Parse() {
    FEDGLM_ASSIGN_OR_RETURN(const uint32_t magic, reader_.Read<uint32_t>());
    if (magic != kMagic) return BadFileError("not a GGUF file");
    FEDGLM_ASSIGN_OR_RETURN(file_.version_, reader_.Read<uint32_t>());
    if (file_.version_ != 2 && file_.version_ != 3) {
      const bool swapped = (file_.version_ & 0xffff) == 0 && file_.version_ != 0;
      return BadFileError(swapped ? "big-endian GGUF is not supported"
                                  : "GGUF version " + std::to_string(file_.version_) + " is not supported (2 and 3 are)");
    }
    FEDGLM_ASSIGN_OR_RETURN(const uint64_t tensors, reader_.Read<uint64_t>());
    FEDGLM_ASSIGN_OR_RETURN(const uint64_t keys, reader_.Read<uint64_t>());
    // The smallest key takes 13 bytes, the smallest tensor 33: what is declared must fit into what is there.
    if (keys > kMaxKeys || keys > reader_.remaining() / 13) return BadFileError("declares " + std::to_string(keys) + " keys");
    if (tensors > kMaxTensors || tensors > reader_.remaining() / 33) {
      return BadFileError("declares " + std::to_string(tensors) + " tensors");
    }
    for (uint64_t i = 0; i < keys; ++i) {
      FEDGLM_RETURN_IF_ERROR(Annotate(ReadKey(), "metadata key " + std::to_string(i)));
    }
    FEDGLM_RETURN_IF_ERROR(ReadAlignment());
    for (uint64_t i = 0; i < tensors; ++i) {
      FEDGLM_RETURN_IF_ERROR(Annotate(ReadTensor(), "tensor " + std::to_string(i)));
    }
    return PlaceTensors();
  }

 private:
  absl::Status ReadKey() {
    FEDGLM_ASSIGN_OR_RETURN(std::string key, reader_.ReadString(kMaxNameBytes));
    const size_t begin = reader_.offset();
    FEDGLM_ASSIGN_OR_RETURN(const uint32_t type, reader_.Read<uint32_t>());
    absl::StatusOr<GgufValue> value = ReadValue(type);
    if (!value.ok()) return Annotate(value.status(), key);
    if (!file_.metadata_index_.emplace(key, file_.metadata_.size()).second) {
      return BadFileError("'" + key + "' is there twice");
    }
    file_.metadata_.emplace_back(std::move(key), *std::move(value));
    file_.raw_metadata_.push_back(file_.bytes_.subspan(begin, reader_.offset() - begin));
    return absl::OkStatus();
  }

  absl::StatusOr<GgufValue> ReadValue(uint32_t type) {
    if (type == kString) {
      FEDGLM_ASSIGN_OR_RETURN(std::string text, ReadBudgetedString());
      return GgufValue(std::move(text));
    }
    if (type == kArray) return ReadArray();
    return ReadScalar(reader_, type);
  }

  absl::StatusOr<std::string> ReadBudgetedString() {
    FEDGLM_ASSIGN_OR_RETURN(std::string text, reader_.ReadString(kMaxStringBytes - string_bytes_));
    string_bytes_ += text.size();
    return text;
  }

  absl::StatusOr<GgufValue> ReadArray() {
    FEDGLM_ASSIGN_OR_RETURN(const uint32_t type, reader_.Read<uint32_t>());
    FEDGLM_ASSIGN_OR_RETURN(const uint64_t count, reader_.Read<uint64_t>());
    if (type == kArray) return BadFileError("arrays of arrays are not supported");
    const uint64_t smallest = type == kString ? 8 : FixedSize(type);
    if (smallest == 0) return BadFileError("array element type " + std::to_string(type) + " is unknown");
    if (count > reader_.remaining() / smallest) return BadFileError("truncated: an array of " + std::to_string(count));
    if (count > kMaxArrayElements - elements_) return BadFileError("its arrays have too many elements");
    elements_ += count;
    auto array = std::make_shared<GgufArray>();
    for (uint64_t i = 0; i < count; ++i) {
      if (type == kString) {
        FEDGLM_ASSIGN_OR_RETURN(std::string text, ReadBudgetedString());
        array->strings.push_back(std::move(text));
        continue;
      }
      FEDGLM_ASSIGN_OR_RETURN(const GgufValue value, ReadScalar(reader_, type));
      if (const double* number = std::get_if<double>(&value)) {
        array->numbers.push_back(*number);
      } else if (const uint64_t* integer = std::get_if<uint64_t>(&value)) {
        array->integers.push_back(static_cast<int64_t>(*integer));
      } else if (const int64_t* signed_integer = std::get_if<int64_t>(&value)) {
        array->integers.push_back(*signed_integer);
      } else {
        array->integers.push_back(std::get<bool>(value) ? 1 : 0);
      }
    }
    return GgufValue(std::shared_ptr<const GgufArray>(std::move(array)));
  }

  absl::Status ReadAlignment() {
    const GgufValue* const value = file_.FindValue("general.alignment");
    if (value == nullptr) return absl::OkStatus();
    const uint64_t* const alignment = std::get_if<uint64_t>(value);
    if (alignment == nullptr || !std::has_single_bit(*alignment) || *alignment > (1 << 20)) {
      return BadFileError("general.alignment is not a power of two up to 1 MiB");
    }
    file_.alignment_ = *alignment;
    return absl::OkStatus();
  }

  absl::Status ReadTensor() {
    GgufTensor tensor;
    FEDGLM_ASSIGN_OR_RETURN(tensor.name, reader_.ReadString(kMaxNameBytes));
    FEDGLM_ASSIGN_OR_RETURN(const uint32_t dimensions, reader_.Read<uint32_t>());
    if (dimensions < 1 || dimensions > 4) return BadFileError("'" + tensor.name + "' has " + std::to_string(dimensions) + " dimensions");
    tensor.dimensions = static_cast<int>(dimensions);
    int64_t weights = 1;
    for (uint32_t i = 0; i < dimensions; ++i) {
      FEDGLM_ASSIGN_OR_RETURN(const uint64_t extent, reader_.Read<uint64_t>());
      if (extent < 1 || extent > static_cast<uint64_t>(kMaxExtent) ||
          static_cast<int64_t>(extent) > kMaxExtent / weights) {
        return BadFileError("'" + tensor.name + "' has an impossible shape");
      }
      tensor.extent[i] = static_cast<int64_t>(extent);
      weights *= tensor.extent[i];
    }
    FEDGLM_ASSIGN_OR_RETURN(const uint32_t type, reader_.Read<uint32_t>());
    const absl::StatusOr<BlockType> block_type = BlockTypeFromNumber(type);
    if (!block_type.ok()) return Annotate(block_type.status(), tensor.name);
    tensor.type = *block_type;
    if (tensor.columns() % FactsOf(tensor.type).weights_per_block != 0) {
      return BadFileError("'" + tensor.name + "': rows of " + std::to_string(tensor.columns()) +
                          " are no whole number of blocks");
    }
    FEDGLM_ASSIGN_OR_RETURN(const uint64_t offset, reader_.Read<uint64_t>());
    if (offset % file_.alignment_ != 0) return BadFileError("'" + tensor.name + "' is not aligned");
    offsets_.push_back(offset);
    if (!file_.tensor_index_.emplace(tensor.name, file_.tensors_.size()).second) {
      return BadFileError("'" + tensor.name + "' is there twice");
    }
    file_.tensors_.push_back(std::move(tensor));
    return absl::OkStatus();
  }

  // Gives every tensor its bytes and checks that no two overlap.
  absl::Status PlaceTensors() {
    const uint64_t mask = file_.alignment_ - 1;
    const uint64_t data_begin = (reader_.offset() + mask) & ~mask;
    const uint64_t data_bytes = file_.bytes_.size() > data_begin ? file_.bytes_.size() - data_begin : 0;
    std::vector<std::pair<uint64_t, uint64_t>> ranges;
    for (size_t i = 0; i < file_.tensors_.size(); ++i) {
      GgufTensor& tensor = file_.tensors_[i];
      const uint64_t bytes = static_cast<uint64_t>(RowBytes(tensor.type, tensor.columns()) * tensor.rows());
      if (offsets_[i] > data_bytes || bytes > data_bytes - offsets_[i]) {
        return BadFileError("truncated: '" + tensor.name + "' lies beyond the end of the file");
      }
      tensor.bytes = file_.bytes_.subspan(data_begin + offsets_[i], bytes);
      ranges.emplace_back(offsets_[i], offsets_[i] + bytes);
    }
    std::sort(ranges.begin(), ranges.end());
    for (size_t i = 1; i < ranges.size(); ++i) {
      if (ranges[i].first < ranges[i - 1].second) return BadFileError("two tensors overlap");
    }
    return absl::OkStatus();
  }

  GgufFile& file_;
  Reader reader_;
  std::vector<uint64_t> offsets_;
  uint64_t string_bytes_ = 0, elements_ = 0;
};

absl::StatusOr<std::shared_ptr<const GgufFile>> GgufFile::Open(const std::filesystem::path& path) {
  FEDGLM_ASSIGN_OR_RETURN(MappedFile mapping, MappedFile::Open(path));
  std::shared_ptr<GgufFile> file(new GgufFile());
  file->path_ = path;
  file->mapping_ = std::move(mapping);
  file->bytes_ = file->mapping_.bytes();
  FEDGLM_RETURN_IF_ERROR(Annotate(GgufParser(*file).Parse(), path.string()));
  return std::shared_ptr<const GgufFile>(std::move(file));
}

absl::StatusOr<std::shared_ptr<const GgufFile>> GgufFile::Parse(std::span<const std::byte> bytes, std::string name) {
  std::shared_ptr<GgufFile> file(new GgufFile());
  file->path_ = std::move(name);
  file->bytes_ = bytes;
  FEDGLM_RETURN_IF_ERROR(Annotate(GgufParser(*file).Parse(), file->path_.string()));
  return std::shared_ptr<const GgufFile>(std::move(file));
}

const GgufTensor* GgufFile::FindTensor(std::string_view name) const {
  const auto found = tensor_index_.find(name);
  return found == tensor_index_.end() ? nullptr : &tensors_[found->second];
}

absl::StatusOr<const GgufTensor*> GgufFile::RequireTensor(std::string_view name) const {
  if (const GgufTensor* tensor = FindTensor(name)) return tensor;
  return BadFileError(path_.string() + ": tensor '" + std::string(name) + "' is missing");
}

const GgufValue* GgufFile::FindValue(std::string_view key) const {
  const auto found = metadata_index_.find(key);
  return found == metadata_index_.end() ? nullptr : &metadata_[found->second].second;
}

std::span<const std::byte> GgufFile::RawValue(std::string_view key) const {
  const auto found = metadata_index_.find(key);
  return found == metadata_index_.end() ? std::span<const std::byte>() : raw_metadata_[found->second];
}

absl::StatusOr<std::string> GgufFile::RequireString(std::string_view key) const {
  const GgufValue* const value = FindValue(key);
  if (value == nullptr) return BadFileError(path_.string() + ": '" + std::string(key) + "' is missing");
  const std::string* const text = std::get_if<std::string>(value);
  if (text == nullptr) return BadFileError(path_.string() + ": '" + std::string(key) + "' is not a string");
  return *text;
}

absl::StatusOr<int64_t> GgufFile::RequireInteger(std::string_view key) const {
  const GgufValue* const value = FindValue(key);
  if (value == nullptr) return BadFileError(path_.string() + ": '" + std::string(key) + "' is missing");
  if (const uint64_t* number = std::get_if<uint64_t>(value);
      number != nullptr && *number <= uint64_t{std::numeric_limits<int64_t>::max()}) {
    return static_cast<int64_t>(*number);
  }
  if (const int64_t* number = std::get_if<int64_t>(value)) return *number;
  return BadFileError(path_.string() + ": '" + std::string(key) + "' is not an integer");
}

std::string GgufFile::StringOr(std::string_view key, std::string fallback) const {
  const GgufValue* const value = FindValue(key);
  const std::string* const text = value == nullptr ? nullptr : std::get_if<std::string>(value);
  return text == nullptr ? fallback : *text;
}

int64_t GgufFile::IntegerOr(std::string_view key, int64_t fallback) const {
  const absl::StatusOr<int64_t> value = RequireInteger(key);
  return value.ok() ? *value : fallback;
}

double GgufFile::NumberOr(std::string_view key, double fallback) const {
  const GgufValue* const value = FindValue(key);
  if (value == nullptr) return fallback;
  if (const double* number = std::get_if<double>(value)) return *number;
  const absl::StatusOr<int64_t> integer = RequireInteger(key);
  return integer.ok() ? static_cast<double>(*integer) : fallback;
}

bool GgufFile::BoolOr(std::string_view key, bool fallback) const {
  const GgufValue* const value = FindValue(key);
  const bool* const flag = value == nullptr ? nullptr : std::get_if<bool>(value);
  return flag == nullptr ? fallback : *flag;
}

const GgufArray* GgufFile::FindArray(std::string_view key) const {
  const GgufValue* const value = FindValue(key);
  const auto* const array = value == nullptr ? nullptr : std::get_if<std::shared_ptr<const GgufArray>>(value);
  return array == nullptr ? nullptr : array->get();
}

}  // namespace fedglm
