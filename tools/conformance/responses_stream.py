"""The stream of an answer of /v1/responses, as bytes: what is wrong with its form and its order.

Schemas say what one event has; what follows what, they do not. The rules here are those of the Open Responses
specification: the `event` field is the type, `[DONE]` ends the stream, sequence numbers have no gap, an item opens, gets
its parts and closes, what is done says the whole of what the deltas said, and the last response has every item as it was
closed.
"""

import json

TERMINAL = {"response.completed": "completed", "response.incomplete": "incomplete", "response.failed": "failed"}
WHOLE_RESPONSES = {"response.created", "response.queued", "response.in_progress", *TERMINAL}
# What a delta adds to, and under which name the event that ends it says the whole.
DONE_FIELD = {
    "response.output_text": "text", "response.refusal": "refusal", "response.reasoning": "text",
    "response.reasoning_text": "text", "response.reasoning_summary_text": "text",
    "response.function_call_arguments": "arguments"}
PART_TEXT = {"output_text": "text", "reasoning_text": "text", "summary_text": "text", "refusal": "refusal"}


def parse(body):
    """(events, what is wrong with their form). An event is its JSON; comments are skipped."""
    events, wrong, done = [], [], False
    for block in body.decode().split("\n\n"):
        lines = [line for line in block.split("\n") if line and not line.startswith(":")]
        if not lines:
            continue
        fields = dict(line.split(": ", 1) if ": " in line else (line, "") for line in lines)
        if done:
            wrong.append(f"something follows [DONE]: {lines[0]}")
        if fields.get("data") == "[DONE]":
            done = True
            continue
        if set(fields) != {"event", "data"} or len(lines) != 2:
            wrong.append(f"an event of other fields than event and data: {lines}")
            continue
        try:
            event = json.loads(fields["data"])
        except ValueError:
            wrong.append(f"data that is no JSON: {fields['data'][:80]}")
            continue
        if not isinstance(event, dict) or event.get("type") != fields["event"]:
            wrong.append(f"the event {fields['event']} has the data of another type")
            continue
        events.append(event)
    if not done:
        wrong.append("the stream does not end with data: [DONE]")
    return events, wrong


class Order:
    """Takes events one by one; `wrong` says what is out of order."""

    def __init__(self):
        self.wrong = []
        self.count = 0
        self.response_id = None
        self.last = None       # the response of the terminal event
        self.items = []        # as they were closed, by output_index
        self.item = None       # the open one
        self.part = None       # the open part: its index and type
        self.said = None       # what the deltas since said
        self.whole = None      # what the event that ended them said
        self.part_count = 0

    def say(self, what):
        self.wrong.append(f"event {self.count} ({self.type}): {what}")

    def take(self, event):
        self.type = kind = event["type"]
        if event.get("sequence_number") != self.count:
            self.say(f"sequence_number is {event.get('sequence_number')}, not {self.count}")
        if self.last:
            self.say("it follows the terminal event")
        if self.count == 0 and kind != "response.created":
            self.say("the first event is not response.created")
        if kind in WHOLE_RESPONSES:
            self.take_response(event)
        elif kind == "response.output_item.added":
            self.open_item(event)
        elif kind == "response.output_item.done":
            self.close_item(event)
        elif kind.endswith("_part.added"):
            self.open_part(event)
        elif kind.endswith("_part.done"):
            self.close_part(event)
        elif kind.endswith(".delta") and kind[:-6] in DONE_FIELD:
            self.add(event)
        elif kind.endswith(".done") and kind[:-5] in DONE_FIELD:
            self.end_text(event)
        self.count += 1

    def end(self):
        self.type = "end"
        if not self.last:
            self.say("there was no response.completed, response.incomplete or response.failed")
        return self.wrong

    def take_response(self, event):
        response = event["response"]
        if self.response_id not in (None, response.get("id")):
            self.say("the response has another id than before")
        self.response_id = response.get("id")
        if self.type not in TERMINAL:
            if self.items or self.item:
                self.say("it follows an item")
            if response.get("status") not in ("in_progress", "queued"):
                self.say(f"the status is {response.get('status')}")
            return
        self.last = response
        if self.item:
            self.say("an item is open")
        if response.get("status") != TERMINAL[self.type]:
            self.say(f"the status is {response.get('status')}")
        if self.type != "response.failed" and response.get("output") != self.items:
            self.say("the output is not the items as they were closed")
        unfinished = [item.get("status") == "incomplete" for item in self.items]
        if any(unfinished[:-1]) or (unfinished and unfinished[-1] and self.type == "response.completed"):
            self.say("an incomplete item is not the last one of an incomplete response")

    def open_item(self, event):
        if self.item:
            self.say("an item is open")
        if event.get("output_index") != len(self.items):
            self.say(f"output_index is {event.get('output_index')}, not {len(self.items)}")
        self.item, self.part, self.part_count = event["item"], None, 0
        self.said = self.whole = None
        if self.item.get("id") in [item.get("id") for item in self.items]:
            self.say("an earlier item has this id")
        if self.item.get("status", "in_progress") != "in_progress":
            self.say(f"the item's status is {self.item['status']}")
        if self.item.get("content") or self.item.get("arguments") or self.item.get("summary"):
            self.say("the item has content before any was told")

    def close_item(self, event):
        self.of_open_item(event, event["item"].get("id"))
        item = event["item"]
        if self.part:
            self.say("a part is open")
        if item.get("status", "completed") not in ("completed", "incomplete"):
            self.say(f"the item's status is {item['status']}")
        if item.get("type") != (self.item or {}).get("type"):
            self.say("the item was another type")
        if item.get("type") == "function_call" and item.get("arguments") != self.whole:
            self.say("the arguments are not those that were told")
        if item.get("type") == "message" and len(item.get("content", [])) != self.part_count:
            self.say(f"the message has {len(item.get('content', []))} parts, {self.part_count} were told")
        self.items.append(item)
        self.item = None

    def open_part(self, event):
        self.of_open_item(event, event.get("item_id"))
        if self.part:
            self.say("a part is open")
        index = event.get("content_index", event.get("summary_index"))
        if index != self.part_count:
            self.say(f"the part's index is {index}, not {self.part_count}")
        self.part = (index, event["part"].get("type"))
        self.said, self.whole = None, None
        if event["part"].get(PART_TEXT.get(self.part[1])):
            self.say("the part has text before any was told")

    def close_part(self, event):
        self.of_open_part(event)
        told = event["part"].get(PART_TEXT.get(event["part"].get("type")))
        if told != self.whole:
            self.say("the part is not what was told")
        self.part = None
        self.part_count += 1

    def add(self, event):
        self.of_open_part(event)
        if self.whole is not None:
            self.say("a delta follows the whole")
        self.said = (self.said or "") + event["delta"]

    def end_text(self, event):
        self.of_open_part(event)
        if self.whole is not None:
            self.say("the whole is told twice")
        self.whole = event.get(DONE_FIELD[self.type[:-5]])
        if self.whole != (self.said or ""):
            self.say("the whole is not what the deltas said")

    def of_open_item(self, event, item_id):
        if not self.item:
            self.say("no item is open")
        elif item_id != self.item.get("id"):
            self.say("it is of another item than the open one")
        if event.get("output_index") != len(self.items):
            self.say(f"output_index is {event.get('output_index')}, not {len(self.items)}")

    def of_open_part(self, event):
        self.of_open_item(event, event.get("item_id"))
        if self.type.startswith("response.function_call_arguments"):
            return
        if not self.part:
            self.say("no part is open")
        elif event.get("content_index", event.get("summary_index")) != self.part[0]:
            self.say("it is of another part than the open one")
