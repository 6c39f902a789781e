"""What else agents ask, one scene each: models that they know by name, functions in a namespace, a tool without a form,
one that is looked for, an agent below the agent, a terminal."""

import dataclasses
import fcntl
import json
import os
import pathlib
import pty
import select
import signal
import struct
import termios
import time
from collections.abc import Callable

from agents import MODEL, PATCH, Agent, ClaudeCode, Codex, Place, call, order
from proxy import Exchange, Proxy

SECONDS = 120.0
KNOWN_MODELS = ["claude-sonnet-4-5", "gpt-5.5"]  # agents know them by name
Expect = Callable[[bool, str], bool]


@dataclasses.dataclass
class Scene:
    run: str  # the name of its recording
    agent: str
    what: str
    act: Callable[[Place, Proxy], str]  # what the agent says in the end
    answer: str = "That was all."
    may_fail: Callable[[Exchange], bool] = lambda _: False


def asked_once(agent: Agent, *steps: list[dict], model: str = MODEL) -> Callable[[Place, Proxy], str]:
    def act(place: Place, _: Proxy) -> str:
        place.model = model
        agent.prepare(place)
        return agent.ask(place, order("Do as you are told.", list(steps), "That was all."), False, SECONDS).stdout

    return act


def tools_looked_for(place: Place, _: Proxy) -> str:
    """A tool that the agent finds and then offers, an agent of its own beside it, two calls of which one fails."""
    agent = ClaudeCode()
    steps = [
        [call("ToolSearch", query="select:WebFetch", max_results=5)],
        [call("Agent", description="Look around", prompt="say hello", subagent_type="Explore")],
        [call("Read", file_path=str(place.note)), call("Read", file_path=str(place.work / "nothing"))],
    ]
    said = agent.ask(place, order("Look for a tool.", steps, "That was all."), False, SECONDS).stdout
    agent.ask(place, "/context", True, SECONDS)  # counts tokens
    return said


class Terminal:
    """A program at a terminal of its own."""

    def __init__(self, program: list[str], place: Place, environment: dict[str, str]):
        self.said = b""
        self.process, self.end = pty.fork()
        if self.process == 0:
            os.chdir(place.work)
            os.execvpe(program[0], program, {**environment, "TERM": "xterm"})
        fcntl.ioctl(self.end, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))

    def until(self, done: Callable[[], bool], seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not done():
            if select.select([self.end], [], [], 0.2)[0]:
                try:
                    self.said += os.read(self.end, 65536)
                except OSError:
                    return

    def type(self, text: str) -> None:
        os.write(self.end, text.encode())
        self.until(lambda: False, 1)
        os.write(self.end, b"\r")

    def close(self) -> None:
        os.kill(self.process, signal.SIGKILL)
        os.waitpid(self.process, 0)
        os.close(self.end)


def at_a_terminal(place: Place, proxy: Proxy) -> str:
    """Two turns; a title is asked for, too. What is typed is shown, so that the answers are counted instead of read."""
    agent = ClaudeCode()
    known = {"hasTrustDialogAccepted": True, "hasCompletedProjectOnboarding": True}
    (place.home / ".claude.json").write_text(
        json.dumps({"hasCompletedOnboarding": True, "theme": "dark", "projects": {str(place.work): known}})
    )
    terminal = Terminal(["claude"], place, place.environment(**agent.environment(place)))

    def answers() -> int:
        return sum(e.ended and e.status == 200 and bool(e.body.get("tools")) for e in proxy.asked())

    try:
        terminal.until(lambda: b"shortcuts" in terminal.said, SECONDS)
        for turn, say in enumerate(("Do as you are told.", "And once more."), 1):
            terminal.type(order(say, [], "That was all."))
            terminal.until(lambda: answers() == turn, SECONDS)  # noqa: B023
        return f"{answers()} answers"
    finally:
        terminal.close()


def wants_a_form(exchange: Exchange) -> bool:
    """Whether it asks for an answer of a given form, which may be refused by name."""
    asks = exchange.body.get("output_config", {}).get("format") or exchange.body.get("text", {}).get("format")
    return bool(asks) and exchange.status == 400 and "format" in exchange.answer


def with_arguments(agent: Agent, *arguments: str) -> Agent:
    agent.arguments = [*agent.arguments, *arguments]
    return agent


RUN, READ = call("exec_command", cmd="true"), call("exec_command", cmd="cat note.txt")
SCHEMA = str(pathlib.Path(__file__).with_name("schema.json"))
SCENES = [
    Scene("claude-known", "claude", "a model that it knows", asked_once(ClaudeCode(), model=KNOWN_MODELS[0])),
    Scene("claude-search", "claude", "a tool that it looks for, an agent below it", tools_looked_for),
    Scene("claude-interactive", "claude", "at a terminal", at_a_terminal, "2 answers", may_fail=wants_a_form),
    Scene(
        "codex-namespace",
        "codex",
        "a function of a namespace, one that is none, two at once",
        asked_once(Codex(), [call("close_agent", target="x")], [call("nothing", a=1)], [call("get_goal"), RUN]),
    ),
    Scene(
        "codex-schema",
        "codex",
        "an answer of a given form",
        asked_once(with_arguments(Codex(), "--output-schema", SCHEMA), [RUN]),
        answer="",
        may_fail=wants_a_form,
    ),
    Scene(
        "codex-known",
        "codex",
        "a model that it knows, a tool without a form",
        asked_once(Codex(), [READ], [call("apply_patch", input=PATCH)], model=KNOWN_MODELS[1]),
    ),
]


def play(scene: Scene, address: str, folder: pathlib.Path, record: pathlib.Path | None, expect: Expect) -> None:
    with Proxy(address, record, {"work": str(folder / "work"), "home": str(folder / "home")}) as proxy:
        said = scene.act(Place(folder, proxy.url), proxy)
        expect(scene.answer in said, f"{scene.run}: no such end: {said[-500:]}")
        for exchange in proxy.exchanges:
            right = exchange.status == 200 or exchange.method != "POST" or scene.may_fail(exchange)
            expect(right, f"{scene.run}: {exchange.path} is {exchange.status}: {exchange.answer[:300]}")
