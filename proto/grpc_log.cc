#include "proto/grpc_log.h"

#include <grpc/support/log.h>

#include <string>

#include "base/log.h"

namespace fedglm {

void SilenceGrpc() {
  gpr_set_log_function([](gpr_log_func_args* line) { LogDebug(std::string("grpc: ") + line->message); });
}

}  // namespace fedglm
