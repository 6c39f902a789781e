#include "text/chat/calls/forms.h"

#include "base/check.h"

namespace cachalot {

const CallSyntax& call_syntax(CallForm form) {
  switch (form) {
    case CallForm::none: break;
    case CallForm::tagged_json: return kTaggedJsonCalls;
    case CallForm::tagged_xml: return kTaggedXmlCalls;
    case CallForm::deepseek_v3: return kDeepseekV3Calls;
    case CallForm::deepseek_v31: return kDeepseekV31Calls;
    case CallForm::dsml: return kDsmlCalls;
    case CallForm::llama_json: return kLlamaJsonCalls;
  }
  CHECK(false);
}

}  // namespace cachalot
