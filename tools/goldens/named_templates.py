#!/usr/bin/env python3
"""Makes tests/goldens/templates/named.json: which of a checkpoint's chat templates renders, and which tokens it sees.

    tools/goldens/named_templates.py

Needs transformers 5.24.0. Every case is a folder's files beside the tokenizer.json of models/tiny-qwen, and conversations;
the outcomes are those of apply_chat_template(tokenize=False).
"""
import json
import pathlib
import shutil
import tempfile

from transformers import PreTrainedTokenizerFast

from template_conversations import assistant, system, user
from templates import GOLDENS, ROOT, outcome, provenance, write

TOOL = {"type": "function", "function": {"name": "f", "description": "F", "parameters": {}}}
CONVERSATIONS = [{"messages": [user("Hi")]}, {"messages": [user("Hi")], "tools": [TOOL]},
                 {"messages": [user("Hi")], "tools": []}, {"messages": [user("Hi")], "tools": None}]
NULLS = [{"messages": [{"role": "user", "content": None, "name": None}, {"role": "assistant", "content": "", "tool_calls": None,
                       "reasoning": None, "parts": [None, {"a": None}]}, {"role": "assistant", "thinking": None,
                       "reasoning": "r", "content": "c"}]}]
NAMED = [{"name": "default", "template": "D{{ messages[0].content }}"}, {"name": "tool_use", "template": "T{{ tools|length }}"},
         {"name": "rag", "template": "R"}]
TOKENS = ("{% for t in [bos_token, eos_token, unk_token, sep_token, pad_token, cls_token, mask_token] %}"
          "[{{ t }}{{ t is defined }}]{% endfor %}")
TINY = {"tokenizer_class": "PreTrainedTokenizerFast"}


def config(**more):
    return {"tokenizer_config.json": json.dumps({**TINY, **more}, ensure_ascii=False)}


CASES = {
    "one text": (config(chat_template="D{{ tools is none }}"), CONVERSATIONS),
    "a list": (config(chat_template=NAMED), CONVERSATIONS),
    "a dictionary": (config(chat_template={t["name"]: t["template"] for t in NAMED}), CONVERSATIONS),
    "no default": (config(chat_template=NAMED[1:]), CONVERSATIONS),
    "neither": (config(chat_template=NAMED[2:]), CONVERSATIONS),
    "only a default in a list": (config(chat_template=NAMED[:1]), CONVERSATIONS),
    "a file": ({**config(chat_template="config"), "chat_template.jinja": "file"}, CONVERSATIONS),
    "files": ({**config(chat_template=NAMED), "chat_template.jinja": "file",
               "additional_chat_templates/tool_use.jinja": "file for tools", "additional_chat_templates/x.jinja": "x"},
              CONVERSATIONS),
    "additional files alone": ({**config(chat_template=NAMED), "additional_chat_templates/tool_use.jinja": "tools"},
                               CONVERSATIONS),
    "an additional default": ({"chat_template.jinja": "file", "additional_chat_templates/default.jinja": "more", **config()},
                              CONVERSATIONS),
    "a broken one that is not needed": (config(chat_template=[NAMED[0], {"name": "tool_use", "template": "{% if %}"}]),
                                        CONVERSATIONS),
    "tokens": (config(chat_template=TOKENS, eos_token="<|im_end|>", pad_token="<|endoftext|>", unk_token="<think>"),
               CONVERSATIONS[:1]),
    "tokens as objects": (config(chat_template=TOKENS, eos_token="<|im_end|>", mask_token=None, sep_token="a", cls_token="Ġa",
                                 pad_token={"__type": "AddedToken", "content": "<|im_start|>", "lstrip": False, "rstrip": False,
                                            "normalized": False, "single_word": False, "special": True}), CONVERSATIONS[:1]),
    "nulls": (config(chat_template="{% for m in messages %}{{ m }}{{ m.content is defined }}{{ m|tojson }}\n{% endfor %}"), NULLS),
}


def outcomes(files, conversations):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        shutil.copy(ROOT / "models/tiny-qwen/tokenizer.json", folder)
        for name, text in files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text, "utf-8")
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
        for variables in conversations:
            more = {"add_generation_prompt": True, **variables}
            messages = more.pop("messages")
            yield {"variables": variables,
                   **outcome(lambda: tokenizer.apply_chat_template(messages, tokenize=False, **more))}


def main():
    cases = [{"title": title, "files": files, "outcomes": list(outcomes(files, conversations))}
             for title, (files, conversations) in CASES.items()]
    write("named.json", {"provenance": {**provenance(), "script": "tools/goldens/named_templates.py"}, "cases": cases})


if __name__ == "__main__":
    main()
