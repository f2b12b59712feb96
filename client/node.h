// The running node: it takes part in rounds and answers its site's users at the same time.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/status.h"
#include "client/identity.h"
#include "client/node_options.h"
#include "client/trainer_supervisor.h"

namespace fedglm {

class IdentityKeeper;

// Who the site is in its federation, if it is a member, and who sees to it that it becomes and remains one.
struct NodeMembership {
  std::optional<SiteIdentity> identity;
  IdentityKeeper& keeper;  // outlives the node, whose alone it is from Start() on
};

// What it meets once it runs does not end it, whether that comes from the aggregator, the network, the records or the
// disk: it goes on serving, says so in its log, and tries again (client/rules/setback.h).
class Node {
 public:
  // Loads the model, puts the installed adapter in, serves, and joins the rounds from a thread of its own. `supervisor`
  // was started before the process gave up reading other files.
  static absl::StatusOr<std::unique_ptr<Node>> Start(const NodeOptions& options, const NodeMembership& membership,
                                                     const std::string& base_sha256,
                                                     std::unique_ptr<TrainerSupervisor> supervisor);
  ~Node();  // stops

  // The token file and the certificate are looked at again when the call or the job that is going on has ended.
  void LookAgain();
  void Stop();

 private:
  struct State;
  explicit Node(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace fedglm
