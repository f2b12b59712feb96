// What is precompiled for this folder and its tests.
#pragma once

#include <torch/torch.h>
