#include "base/memory.h"

#include <malloc.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>

namespace fedglm {
namespace {

// "VmRSS:   1234 kB"
uint64_t KibibyteField(const std::string& path, const std::string& name) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.compare(0, name.size(), name) == 0) return std::strtoull(line.c_str() + name.size(), nullptr, 10) * 1024;
  }
  return 0;
}

// "some avg10=1.23 avg60=0.80 avg300=0.20 total=12345"
double SomeAverage10(const std::string& path) {
  if (path.empty()) return 0;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    constexpr char kStart[] = "some avg10=";
    if (line.compare(0, sizeof(kStart) - 1, kStart) == 0)
      return std::strtod(line.c_str() + sizeof(kStart) - 1, nullptr);
  }
  return 0;
}

struct PageRange {
  void* begin;
  size_t bytes;
};

uintptr_t PageSize() {
  static const uintptr_t size = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  return size;
}

// 0: this kernel has none.
uintptr_t HugePageSize() {
  static const uintptr_t size = [] {
    uintptr_t bytes = 0;
    std::ifstream("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size") >> bytes;
    return bytes;
  }();
  return size;
}

// All pages that hold any of the bytes.
PageRange Outward(std::span<const std::byte> bytes) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(bytes.data()), mask = PageSize() - 1;
  const uintptr_t begin = address & ~mask, end = (address + bytes.size() + mask) & ~mask;
  return {reinterpret_cast<void*>(begin), end - begin};
}

// All pages of this size that hold nothing else.
PageRange Inward(std::span<const std::byte> bytes, uintptr_t page_size = PageSize()) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(bytes.data()), mask = page_size - 1;
  const uintptr_t begin = (address + mask) & ~mask, end = (address + bytes.size()) & ~mask;
  return {reinterpret_cast<void*>(begin), end > begin ? end - begin : 0};
}

// Where there is no /proc (a bare chroot) the kernel says it itself: without what the page cache would give back.
uint64_t MachineBytes() {
  const uint64_t bytes = KibibyteField("/proc/meminfo", "MemTotal:");
  struct sysinfo machine = {};
  return bytes != 0 || sysinfo(&machine) != 0 ? bytes : uint64_t{machine.totalram} * machine.mem_unit;
}

uint64_t AvailableMachineBytes() {
  const uint64_t bytes = KibibyteField("/proc/meminfo", "MemAvailable:");
  struct sysinfo machine = {};
  if (bytes != 0 || sysinfo(&machine) != 0) return bytes;
  return (uint64_t{machine.freeram} + machine.bufferram) * machine.mem_unit;
}

}  // namespace

uint64_t CurrentRssBytes(const KernelFolders& folders) {
  return KibibyteField(folders.proc + "/self/status", "VmRSS:");
}

uint64_t PeakRssBytes() { return KibibyteField("/proc/self/status", "VmHWM:"); }

uint64_t CurrentAnonymousBytes() { return KibibyteField("/proc/self/status", "RssAnon:"); }

uint64_t TotalMemoryBytes() {
  const uint64_t machine = MachineBytes();
  const uint64_t group = CgroupMemoryLimit();
  return group == 0 ? machine : std::min(machine, group);
}

uint64_t AvailableMemoryBytes() {
  uint64_t available = AvailableMachineBytes();
  for (const CgroupMemory& group : CgroupMemoryLimits()) {
    available = std::min(available, group.limit - std::min(group.limit, group.used));
  }
  return available;
}

void ReturnFreedMemory() {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

MemorySample ReadMemorySample(const KernelFolders& folders) {
  MemorySample sample;
  sample.rss = CurrentRssBytes(folders);
  sample.machine_total = KibibyteField(folders.proc + "/meminfo", "MemTotal:");
  sample.machine_available = KibibyteField(folders.proc + "/meminfo", "MemAvailable:");
  double least = 2;
  for (const CgroupMemory& group : CgroupMemoryLimits(folders)) {
    const double left = 1 - static_cast<double>(group.used) / static_cast<double>(std::max<uint64_t>(1, group.limit));
    if (left >= least) continue;
    least = left;
    sample.group_limit = group.limit;
    sample.group_used = group.used;
  }
  sample.machine_stall = SomeAverage10(folders.proc + "/pressure/memory");
  sample.group_stall = SomeAverage10(CgroupMemoryPressureFile(folders));
  return sample;
}

absl::Status TouchPages(std::span<const std::byte> bytes) {
  const PageRange pages = Outward(bytes);
#ifdef MADV_POPULATE_READ
  while (madvise(pages.begin, pages.bytes, MADV_POPULATE_READ) != 0) {
    if (errno == EINTR || errno == EAGAIN) continue;
    if (errno != EINVAL)
      return FailedError(std::string("pages of a mapped file cannot be read: ") + std::strerror(errno));
    madvise(pages.begin, pages.bytes, MADV_WILLNEED);  // before Linux 5.14: the rest comes as it is needed
    break;
  }
#else
  madvise(pages.begin, pages.bytes, MADV_WILLNEED);
#endif
  return absl::OkStatus();
}

bool LockPages(std::span<const std::byte> bytes) {
  const PageRange pages = Outward(bytes);
  return mlock(pages.begin, pages.bytes) == 0;
}

void UnlockPages(std::span<const std::byte> bytes) {
  const PageRange pages = Inward(bytes);
  if (pages.bytes > 0) munlock(pages.begin, pages.bytes);
}

void ForgetPages(std::span<const std::byte> bytes) {
  const PageRange pages = Inward(bytes);
  if (pages.bytes > 0) madvise(pages.begin, pages.bytes, MADV_DONTNEED);
}

void AdviseRandomAccess(std::span<const std::byte> bytes) {
  const PageRange pages = Outward(bytes);
  if (pages.bytes == 0) return;
  madvise(pages.begin, pages.bytes, MADV_RANDOM);
  // A page of a range with huge pages brings in a huge page, whatever else was advised.
  madvise(pages.begin, pages.bytes, MADV_NOHUGEPAGE);
}

void AdviseHugePages(std::span<const std::byte> bytes) {
  const PageRange pages = Outward(bytes);
  if (pages.bytes > 0) madvise(pages.begin, pages.bytes, MADV_NORMAL);
  if (HugePageSize() == 0) return;
  const PageRange huge = Inward(bytes, HugePageSize());
  if (huge.bytes > 0) madvise(huge.begin, huge.bytes, MADV_HUGEPAGE);
}

}  // namespace fedglm
