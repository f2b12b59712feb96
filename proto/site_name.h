// What a site may be called: its id, the common name of its certificate, and part of file names.
#pragma once

#include <string>

namespace fedglm {

// Letters, digits and '-', 1 to 63 characters: a DNS label's.
bool IsSiteName(const std::string& name);

}  // namespace fedglm
