// The socket below a request, which the HTTP library keeps to itself: whether its client is still there.
#pragma once

#include <string>

namespace fedglm {

// The socket of this process whose peer has the address (numeric) and port; -1 if there is none. The connection must
// stay open for as long as the answer is used.
int FindSocketOfPeer(const std::string& address, int port);

// The peer has closed its side, or the connection is broken. A client that only half-closes counts as gone: none of
// those that speak OpenAI's API does.
bool PeerHasGone(int socket);

// Ends the waiting of connections to `local_port` for a next request. Requests that were read already are not
// disturbed.
void EndIdleConnections(int local_port);

}  // namespace fedglm
