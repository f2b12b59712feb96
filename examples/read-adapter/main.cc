// fedglm-read-adapter FOLDER: what is in a LoRA adapter in PEFT's layout, a line for each pair of factors.
#include <cstdio>

#include "adapter/adapter.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: fedglm-read-adapter FOLDER\n");
    return 2;
  }
  const absl::StatusOr<fedglm::Adapter> adapter = fedglm::LoadAdapter(argv[1]);
  if (!adapter.ok()) {
    std::fprintf(stderr, "%s\n", fedglm::Message(adapter.status()).c_str());
    return 1;
  }
  std::printf("rank %lld, scale %g\n", static_cast<long long>(adapter->config.rank), adapter->config.scale());
  for (const auto& [name, pair] : adapter->modules) {
    std::printf("%s: A %lld x %lld, B %lld x %lld\n", name.c_str(), static_cast<long long>(pair.a.rows),
                static_cast<long long>(pair.a.columns), static_cast<long long>(pair.b.rows),
                static_cast<long long>(pair.b.columns));
  }
}
