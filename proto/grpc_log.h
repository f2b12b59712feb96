// Where gRPC's own log goes.
#pragma once

namespace fedglm {

// gRPC writes of every failed handshake and taken port to stderr; errors that matter come back as a status. Its lines
// become debug lines of base/log.h. For the whole process; may be called again.
void SilenceGrpc();

}  // namespace fedglm
