// A checkpoint as a GGUF file would hold it: the file's metadata and its tensors, named and ordered, before anything
// is encoded.
#pragma once

#include <string>
#include <vector>

#include "formats/checkpoint.h"
#include "formats/gguf/writer.h"
#include "model/family.h"
#include "ops/ops.h"

namespace cachalot {

// One tensor to be written, in the order of rows that GGUF has.
struct ExportTensor {
  std::string name;
  std::vector<int64_t> shape;     // PyTorch order
  std::vector<MatrixPart> parts;  // one after the other; or none, and then `values`
  std::vector<float> values;
  int interleaved_heads = 0;  // not 0: the file has the rows of so many heads in its own order (model/row_order.h)

  int64_t rows() const;  // 1 for a vector
  int64_t columns() const { return shape.back(); }
  DType stored() const;  // in the checkpoint
  // Whether the file's bytes in type `type` are the checkpoint's, part after part.
  bool same_bytes(DType type) const;
  // Rows [begin, end) of the file's order as f32.
  void read_rows(int64_t begin, int64_t end, float* out) const;
};

struct Export {
  GgufMetadata metadata;  // all but general.file_type and general.quantization_version
  std::vector<ExportTensor> tensors;
  int layers = 0;
  bool tied_head = false;
};

// From GGUF: metadata and tensors as they are (of all shards). From safetensors: the families that GGUF has words
// for; a checkpoint without a tokenizer is written without, with a warning. The export borrows the checkpoint. Throws
// Error for what GGUF cannot say, by name.
Export gguf_export(const Checkpoint& checkpoint, Families families = all_families());

}  // namespace cachalot
