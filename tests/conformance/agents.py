"""The agents: how each is set up for a server of one model, asked once, and asked again in the same session.

An order to the scripted model (tests/server/scripted_server.cpp) stands in the prompt:
`steps [[CALL, …], …] then TEXT`.
"""

import dataclasses
import json
import pathlib
import subprocess

from servers import KEY

SOURCE = pathlib.Path(__file__).resolve().parents[2]
INSTALLED = SOURCE / "build/conformance"
MODEL = "scripted"
TOO_LONG = -1
COMMAND = "cat note.txt > seen.txt"


@dataclasses.dataclass
class Place:
    """Where one session runs: its folder, the home of its user, and its server."""

    folder: pathlib.Path
    url: str
    model: str = MODEL

    def __post_init__(self):
        for path in (self.work, self.home, self.temporary):
            path.mkdir(parents=True, exist_ok=True)
        subprocess.run(["git", "init", "--quiet", self.work], check=True)
        self.note.write_text("The colour is red.\n")

    work = property(lambda self: self.folder / "work")
    home = property(lambda self: self.folder / "home")
    temporary = property(lambda self: self.folder / "temporary")
    note = property(lambda self: self.work / "note.txt")
    seen = property(lambda self: self.work / "seen.txt")

    def environment(self, **more: str) -> dict[str, str]:
        """Nothing of who runs this: an agent is told of this server alone."""
        return {
            "HOME": str(self.home),
            "TMPDIR": str(self.temporary),
            "PATH": f"{INSTALLED}/node_modules/.bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            "SHELL": "/bin/bash",
            "USER": "somebody",
            **more,
        }


def call(name: str, **arguments) -> dict:
    return {"name": name, "arguments": arguments}


def order(say: str, steps: list[list[dict]], then: str) -> str:
    return f"{say} steps {json.dumps(steps)} then {then}"


class Agent:
    name: str
    arguments: list[str] = []  # further ones

    def prepare(self, place: Place) -> None:
        """Writes its configuration."""

    def program(self, again: bool) -> list[str]:
        raise NotImplementedError

    def environment(self, place: Place) -> dict[str, str]:
        return {}

    def steps(self, place: Place) -> list[list[dict]]:
        """Reads the note, changes it, and runs COMMAND, by the agent's own tools."""
        raise NotImplementedError

    def ask(self, place: Place, prompt: str, again: bool, seconds: float) -> subprocess.CompletedProcess:
        return self.run(place, [prompt], "", again, seconds)

    def run(
        self, place: Place, more: list[str], typed: str, again: bool, seconds: float
    ) -> subprocess.CompletedProcess:
        """A program that takes longer has the status TOO_LONG."""
        program = [*self.program(again), *self.arguments, *more]
        try:
            return subprocess.run(
                program,
                cwd=place.work,
                input=typed,
                capture_output=True,
                text=True,
                timeout=seconds,
                env=place.environment(**self.environment(place)),
            )
        except subprocess.TimeoutExpired as late:
            said = [(text or b"").decode() for text in (late.stdout, late.stderr)]
            return subprocess.CompletedProcess(program, TOO_LONG, *said)


class ClaudeCode(Agent):
    name = "Claude Code"

    def program(self, again):
        return [
            "claude",
            *(["--continue"] if again else []),
            "--print",
            "--output-format",
            "json",
            "--allowedTools",
            "Read,Edit,Bash,ToolSearch,Agent",
            "--",
        ]

    def environment(self, place):
        return {"ANTHROPIC_BASE_URL": place.url, "ANTHROPIC_AUTH_TOKEN": KEY, "ANTHROPIC_MODEL": place.model}

    def steps(self, place):
        note = str(place.note)
        return [
            [call("Read", file_path=note)],
            [call("Edit", file_path=note, old_string="red", new_string="blue")],
            [call("Bash", command=COMMAND, description="Copies the note")],
        ]


PATCH = "*** Begin Patch\n*** Update File: note.txt\n@@\n-The colour is red.\n+The colour is blue.\n*** End Patch\n"


class Codex(Agent):
    name = "Codex"
    arguments = ["--json", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"]

    def prepare(self, place):
        (place.home / ".codex").mkdir()
        (place.home / ".codex/config.toml").write_text(
            f'model = "{place.model}"\nmodel_provider = "cachalot"\n\n[model_providers.cachalot]\nname = "Cachalot"\n'
            f'base_url = "{place.url}/v1"\nenv_key = "CACHALOT_KEY"\n'
        )

    def program(self, again):
        return ["codex", "exec", *(["resume", "--last"] if again else [])]

    def environment(self, place):
        return {"CACHALOT_KEY": KEY}

    def steps(self, place):
        patch = f"apply_patch <<'END'\n{PATCH}END"
        return [[call("exec_command", cmd=command)] for command in ("cat note.txt", patch, COMMAND)]


class QwenCode(Agent):
    name = "Qwen Code"

    def program(self, again):
        return [
            "qwen",
            *(["--continue"] if again else []),
            "--auth-type",
            "openai",
            "--yolo",
            "--output-format",
            "json",
            "--prompt",
        ]

    def environment(self, place):
        return {"OPENAI_BASE_URL": f"{place.url}/v1", "OPENAI_API_KEY": KEY, "OPENAI_MODEL": place.model}

    def steps(self, place):
        note = str(place.note)
        return [
            [call("read_file", file_path=note)],
            [call("edit", file_path=note, old_string="red", new_string="blue")],
            [call("run_shell_command", command=COMMAND, is_background=False)],
        ]


class OpenCode(Agent):
    name = "OpenCode"
    package = "@ai-sdk/openai-compatible"  # which dialect it speaks

    def prepare(self, place):
        provider = {
            "npm": self.package,
            "name": "Cachalot",
            "options": {"baseURL": f"{place.url}/v1", "apiKey": KEY},
            "models": {place.model: {}},
        }
        (place.work / "opencode.json").write_text(
            json.dumps({"model": f"cachalot/{place.model}", "provider": {"cachalot": provider}})
        )

    def program(self, again):
        return ["opencode", "run", *(["--continue"] if again else []), "--format", "json"]

    def ask(self, place, prompt, again, seconds):  # by stdin: an argument would have its quotation marks escaped
        return self.run(place, [], prompt, again, seconds)

    def steps(self, place):
        note = str(place.note)
        return [
            [call("read", filePath=note)],
            [call("edit", filePath=note, oldString="red", newString="blue")],
            [call("bash", command=COMMAND, description="Copies the note")],
        ]


class OpenCodeResponses(OpenCode):
    name = "OpenCode, Responses"
    package = "@ai-sdk/openai"


class OpenCodeMessages(OpenCode):
    name = "OpenCode, Messages"
    package = "@ai-sdk/anthropic"


AGENTS = {
    "claude": ClaudeCode,
    "codex": Codex,
    "qwen": QwenCode,
    "opencode": OpenCode,
    "opencode-responses": OpenCodeResponses,
    "opencode-messages": OpenCodeMessages,
}
