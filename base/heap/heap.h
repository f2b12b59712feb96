// The heap of a program that serves for months, with a thread for each connection. Who links this room and calls
// KeepHeapCompact has operators new and delete that know warm blocks (base/warm_blocks.h), except under a sanitizer,
// which brings its own.
#pragma once

namespace fedglm {

// What is freed goes back to the kernel. By itself glibc gives every few threads a heap of their own, and after the
// first large block (a request's body) that is freed, it carves others like it out of those heaps, where they leave
// holes. Call before there are threads.
void KeepHeapCompact();

}  // namespace fedglm
