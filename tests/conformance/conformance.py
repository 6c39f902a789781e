"""Agents from npm against our server: they must be able to work with it.

    ./dev conformance [AGENT…]

Each asks a model that is a script: it reads a file, changes it, runs a command and answers, and is asked once more in
the same session. What it sent is sent once more to `cachalot serve`, whose cache must know most of each prompt.

    ./dev conformance --real MODEL [AGENT…]   they ask a real model, which may say what it likes
    ./dev conformance --record FOLDER         writes down every request, for tools/goldens/agent_requests.py

CACHALOT_SCRIPTED_SERVER and CACHALOT_PROGRAM are programs, as for tests/clients/. Ends with status 1 when something
broke.
"""

import argparse
import http.client
import json
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.parse

SOURCE = pathlib.Path(__file__).resolve().parents[2]
sys.path.append(str(SOURCE / "tests/clients"))
import dialects  # noqa: E402
import scenes  # noqa: E402
import servers  # noqa: E402
from agents import AGENTS, MODEL, TOO_LONG, Agent, Place, order  # noqa: E402
from proxy import Exchange, Proxy  # noqa: E402

LEAST_CACHED = 0.90
LONGEST_SILENCE = 12.0  # a ping comes every 10 s
SECONDS = 120.0

failures: list[str] = []


def expect(true: bool, what: str) -> bool:
    if not true:
        failures.append(what)
        print(f"    FAILED: {what}")
    return true


def expect_answered(exchanges: list[Exchange], who: str) -> None:
    for exchange in exchanges:
        if not expect(exchange.status == 200, f"{who}: {exchange.path} is {exchange.status}: {exchange.answer[:300]}"):
            continue
        expect(exchange.streamed, f"{who}: an answer that is no stream")
        expect(dialects.ended_well(exchange), f"{who}: a stream without its end: …{exchange.answer[-200:]}")
        expect(len(exchange.pieces) > 2, f"{who}: a stream in {len(exchange.pieces)} pieces")


def expect_ended(done: subprocess.CompletedProcess, who: str) -> None:
    expect(done.returncode == 0, f"{who} has ended with {done.returncode}: {done.stdout[-500:]} {done.stderr[-500:]}")


def two_turns(agent: Agent, address: str, folder: pathlib.Path, record: pathlib.Path | None) -> list[Exchange]:
    """What it asked meanwhile."""
    with Proxy(address, record, {"work": str(folder / "work"), "home": str(folder / "home")}) as proxy:
        place = Place(folder, proxy.url)
        agent.prepare(place)
        steps, who = agent.steps(place), agent.name
        change = order("Change the colour in note.txt.", steps, "The colour is blue now.")
        done = agent.ask(place, change, False, SECONDS)
        expect_ended(done, who)
        expect("The colour is blue now." in done.stdout, f"{who} does not tell the answer: {done.stdout[-500:]}")
        expect(place.note.read_text() == "The colour is blue.\n", f"{who} has not changed the file")
        expect(place.seen.exists(), f"{who} has not run the command")
        first = len(proxy.asked())
        done = agent.ask(place, order("What does it say?", steps[:1], "It says blue."), True, SECONDS)
        expect_ended(done, who)
        expect("It says blue." in done.stdout, f"{who} does not tell the second answer: {done.stdout[-500:]}")
        expect("The colour is blue now." in json.dumps(proxy.asked()[first].body), f"{who} has begun a new session")
        expect_answered(proxy.asked(), who)
        return proxy.asked()


def post(address: str, exchange: Exchange, body: dict) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(address).netloc, timeout=600)
    headers = {
        "content-type": "application/json",
        "x-api-key": servers.KEY,
        **{key: value for key, value in exchange.headers if key.lower().startswith("anthropic-")},
    }
    connection.request("POST", exchange.path, json.dumps(body), headers)
    response = connection.getresponse()
    return response.status, response.read()


def replay(address: str, exchange: Exchange) -> tuple[dialects.Usage | None, float]:
    """What the prompt took, and in what time."""
    begun = time.monotonic()
    status, answer = post(address, exchange, dialects.limited(exchange, 4))
    took = time.monotonic() - begun
    if not expect(status == 200, f"{exchange.path} is {status}: {answer[:300]!r}"):
        return None, took
    again = Exchange(exchange.method, exchange.path, [], None, 0, 0, pieces=[(took, answer)])
    return dialects.usage([event for _, event in again.events()]), took


def cached_shares(address: str, agent: Agent, exchanges: list[Exchange]) -> None:
    """A session's requests once more, to a server that computes: most of each prompt is that of the one before."""
    tools = next(e.body["tools"] for e in exchanges if e.body.get("tools"))
    turns = [e for e in exchanges if e.body.get("tools") == tools]  # and not what it asks beside, a title and the like
    second_turn = next(i for i, e in enumerate(turns) if "What does it say?" in json.dumps(e.body))
    for i, exchange in enumerate(turns):
        usage, took = replay(address, exchange)
        if not usage:
            continue
        share = usage.cached / usage.prompt
        turn = "first request" if i == 0 else "second turn" if i == second_turn else ""
        if turn:
            print(f"    {turn}: {exchange.bytes:,} bytes, {usage.prompt:,} tokens, {share:.1%} cached, {took:.2f} s")
        found = f"{share:.1%} of {usage.prompt} tokens cached"
        expect(i == 0 or share >= LEAST_CACHED, f"{agent.name}, request {i + 1}: {found}")


def of_a_real_model(agent: Agent, address: str, folder: pathlib.Path, seconds: float) -> None:
    """Whatever the model says, nothing breaks: the agent ends, or is still being answered."""
    with Proxy(address) as proxy:
        place = Place(folder, proxy.url)
        agent.prepare(place)
        for again, prompt in ((False, "Say hello in one short sentence."), (True, "Thank you. Say goodbye.")):
            asked = len(proxy.asked())
            done = agent.ask(place, prompt, again, seconds)
            if done.returncode == TOO_LONG:
                print(f"    still answered after {seconds:.0f} s")
            else:
                expect_ended(done, agent.name)
            for exchange in proxy.asked()[asked:]:
                tell(exchange, agent.name)


def tell(exchange: Exchange, who: str) -> None:
    expect(exchange.status == 200, f"{who}: {exchange.path} is {exchange.status}: {exchange.answer[:300]}")
    events = exchange.events()
    first = next((second for second, event in events if dialects.says_something(event)), None)
    usage = dialects.usage([event for _, event in events])
    prompt = f"{usage.prompt:,} tokens, {usage.cached / usage.prompt:.1%} cached" if usage else "no end yet"
    said = f"first token after {first:.1f} s" if first is not None else "no token yet"
    silence = exchange.longest_silence()
    print(f"    {exchange.bytes:,} bytes, {prompt}, {said}, longest silence {silence:.1f} s, {len(events)} events")
    expect(silence < LONGEST_SILENCE, f"{who}: nothing for {silence:.1f} s")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(usage="./dev conformance [--real MODEL] [--record FOLDER] [AGENT…]")
    parser.add_argument("agents", nargs="*", metavar="AGENT", help=", ".join(AGENTS))
    parser.add_argument("--real", metavar="MODEL", help="a real model for `cachalot serve`, instead of a script")
    parser.add_argument("--seconds", type=float, default=600, help="for each answer of a real model [600]")
    parser.add_argument("--record", type=pathlib.Path, metavar="FOLDER", help="write every request there")
    chosen = parser.parse_args()
    if unknown := set(chosen.agents) - set(AGENTS):
        parser.error(f"no such agent: {', '.join(unknown)}; there are {', '.join(AGENTS)}")
    return chosen


def with_a_script(agents: dict[str, Agent], folder: pathlib.Path, record: pathlib.Path | None) -> None:
    with servers.scripted(1 << 20, scenes.KNOWN_MODELS) as scripted:
        for name, agent in agents.items():
            print(agent.name)
            exchanges = two_turns(agent, scripted, folder / name, record and record / name)
            with servers.cachalot(servers.test_models() / "gqa", "--model-name", MODEL) as address:
                cached_shares(address, agent, exchanges)
        for scene in (scene for scene in scenes.SCENES if scene.agent in agents):
            print(f"{agents[scene.agent].name}: {scene.what}")
            scenes.play(scene, scripted, folder / scene.run, record and record / scene.run, expect)


def with_a_model(agents: dict[str, Agent], folder: pathlib.Path, model: str, seconds: float) -> None:
    for name, agent in agents.items():
        print(agent.name)
        with servers.cachalot(model, "--model-name", MODEL) as address:
            of_a_real_model(agent, address, folder / name, seconds)


def main() -> None:
    chosen = arguments()
    agents = {name: AGENTS[name]() for name in chosen.agents or AGENTS}
    with tempfile.TemporaryDirectory(prefix="cachalot-agents-") as folder:
        if chosen.real:
            with_a_model(agents, pathlib.Path(folder), chosen.real, chosen.seconds)
        else:
            with_a_script(agents, pathlib.Path(folder), chosen.record)
    print(f"{len(failures)} failures")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
