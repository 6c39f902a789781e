// The primitives that kernels/generic/ is written in: those of the file of this folder that was included first, as
// each file of isa/ does; else the plain ones, so that every generic header compiles by itself.
#pragma once

#ifndef CACHALOT_PRIMITIVES
#include "kernels/simd/scalar.h"
#endif
