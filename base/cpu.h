// How many processors there are for this process, counted as work sees them.
#pragma once

namespace fedglm {

// Physical cores that this process may use: the affinity mask, one hyper-thread of each core, at most what the cgroup's
// CPU quota allows (rounded up). At least 1.
int UsablePhysicalCores();

}  // namespace fedglm
