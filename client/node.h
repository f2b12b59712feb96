// The running node: it takes part in rounds and answers its site's users at the same time.
#pragma once

#include <memory>
#include <string>

#include "base/status.h"
#include "client/identity.h"
#include "client/node_options.h"
#include "client/trainer_supervisor.h"

namespace fedglm {

// Stop() says why the rounds ended: OK when they went on until then, Refused when the aggregator does not want this
// site, BadFile when the site's training records are none, Failed when its supervisor was killed.
class Node {
 public:
  // Loads the model, puts the installed adapter in, serves, and joins the rounds from a thread of its own. `supervisor`
  // and `identity` were made before the process gave up reading other files.
  static absl::StatusOr<std::unique_ptr<Node>> Start(const NodeOptions& options, const SiteIdentity& identity,
                                                     const std::string& base_sha256,
                                                     std::unique_ptr<TrainerSupervisor> supervisor);
  ~Node();  // stops

  bool Running() const;  // false once the rounds have ended for good with an error
  absl::Status Stop();

 private:
  struct State;
  explicit Node(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace fedglm
