#include "base/configuration.h"

#include "aggregator/options/aggregator_options.h"
#include "client/node_options.h"
#include "tests/fuzz/fuzz_targets.h"

namespace fedglm::fuzz {

void Configuration(std::string_view input) {
  constexpr ExitCode kRefused = ExitCode::kConfiguration;
  auto node = fedglm::Configuration::Parse(input, "node.toml");
  if (!WasRead(node.status(), kRefused)) return;
  (void)WasRead(NodeOptions::Read(*node).status(), kRefused);
  auto aggregator = fedglm::Configuration::Parse(input, "aggregator.toml");
  Require(aggregator.ok(), "the same text is read again");
  (void)WasRead(AggregatorOptions::Read(*aggregator).status(), kRefused);
}

}  // namespace fedglm::fuzz
