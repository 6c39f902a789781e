// The order of rows that GGUF has for queries and keys of some families: in each head the two halves alternate, row
// 2i being the model's i and row 2i + 1 its i + half (GgufWords::interleaved). Rows are whole, so nothing is encoded
// anew.
#pragma once

#include "formats/stored_tensor.h"
#include "model/family.h"
#include "model/parameter.h"

namespace cachalot {

// Into how many heads GGUF orders the rows of a parameter, or the components of its bias, so; 0: it does not.
int interleaved_heads(const Family& family, const ModelSpec& spec, const Parameter& parameter);

// Where row r of the model is in the file, and the other way round, of `rows` in so many heads.
int64_t stored_row(int64_t r, int64_t rows, int heads);
int64_t model_row(int64_t r, int64_t rows, int heads);

// A tensor of the file with the rows (of a vector, the components, as f32) in the model's order: a copy, which the
// result owns. Gives the file's pages back.
StoredTensor in_model_order(const StoredTensor& stored, int heads);

}  // namespace cachalot
