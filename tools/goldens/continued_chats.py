#!/usr/bin/env python3
"""Makes tests/goldens/templates/continued.json: prompts that end within the assistant's last message.

    tools/goldens/continued_chats.py

Needs transformers 5.24.0 and jinja2 3.1.6: render_jinja_template(continue_final_message=True) of the templates in
tests/goldens/templates/*.jinja.
"""
import json
import pathlib

import jinja2
import transformers
from transformers.tokenization_utils_base import _normalize_chat_messages
from transformers.utils.chat_template_utils import render_jinja_template

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOLDENS = ROOT / "tests/goldens/templates"
BOS, EOS = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"

ASKED = {"role": "user", "content": "Say: The answer is"}
ANSWERS = {
    "plain": "The answer is",  # as in the question
    "space": "The answer is ",
    "lines": "\n\nThe answer is\n\n",
    "reasoning": "<think>\nLet me see",
    "reasoned": "<think>\nLet me see.\n</think>\n\nThe answer is",
    "code": "```python\ndef f():\n    ",
    "mark": "CONTINUE_FINAL_MESSAGE_TAG and more",
}


def outcome(source, messages):
    try:
        rendered, _ = render_jinja_template([_normalize_chat_messages(messages)], chat_template=source,
                                            continue_final_message=True, bos_token=BOS, eos_token=EOS)
        return {"output": rendered[0]}
    except Exception:  # the template's, or that it left the message out
        return {"error": True}


def main():
    cases = []
    for path in sorted(GOLDENS.glob("*.jinja")):
        for name, answer in ANSWERS.items():
            messages = [ASKED, {"role": "assistant", "content": answer}]
            cases.append({"template": path.name, "answer": name, **outcome(path.read_text(), messages)})
    golden = {"provenance": {"script": "tools/goldens/continued_chats.py", "transformers": transformers.__version__,
                             "jinja2": jinja2.__version__},
              "asked": ASKED["content"], "answers": ANSWERS, "cases": cases}
    (GOLDENS / "continued.json").write_text(json.dumps(golden, ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    main()
