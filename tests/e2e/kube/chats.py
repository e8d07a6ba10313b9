"""
Clients of the front door, from inside of the cluster's network: each asks again PAUSE seconds after it has its answer.

    chats.py URL CLIENTS TOKENS PAUSE   until standard input ends; see front.py for the environment

Every answer is compared with what the same question was answered first. A line of JSON for each: who asked, when it was
sent and ended, and "ok", "other" (another text) or what went wrong.
"""
import json
import sys
import threading
import time
import urllib.error

from front import post

QUESTIONS = [f"{number}. Say what you know of {what}, and then what you do not know of it." for number, what in enumerate(
    ("prefill", "decoding", "a KV cache", "a router", "tokens", "a batch", "attention", "a hand-over"))]


class Clients:
    def __init__(self, url, clients, tokens, pause):
        self.url, self.tokens, self.pause = url, tokens, pause
        self.known, self.lock, self.over = {}, threading.Lock(), threading.Event()
        self.threads = [threading.Thread(target=self.chats, args=(first,)) for first in range(clients)]

    def run(self):
        for question in QUESTIONS:
            self.one(None, question)  # alone: what everything else is compared with
        print(json.dumps("known"), flush=True)
        for thread in self.threads:
            thread.start()
        sys.stdin.read()
        self.over.set()
        for thread in self.threads:
            thread.join()

    def chats(self, client):
        number = client
        while not self.over.is_set():
            self.one(client, QUESTIONS[number % len(QUESTIONS)])
            number += 3
            self.over.wait(self.pause)

    def one(self, client, question):
        sent = time.time()
        try:
            text = self.ask(question)
            with self.lock:
                outcome = "ok" if self.known.setdefault(question, text) == text else "other"
        except urllib.error.HTTPError as error:
            outcome = f"{error.code} {error.read(300).decode(errors='replace')}"
            time.sleep(0.2)
        except Exception as error:  # whatever else a client can see
            outcome = f"{type(error).__name__}: {error}"
            time.sleep(0.2)  # as clients do before they ask again
        with self.lock:
            print(json.dumps({"client": client, "sent": sent, "ended": time.time(), "outcome": outcome}), flush=True)

    def ask(self, question):
        """The text of one streamed answer; a stream that ends early, or with an error, is none."""
        body = {"model": "baton-demo", "stream": True, "max_tokens": self.tokens, "temperature": 0, "ignore_eos": True,
                "messages": [{"role": "user", "content": question}]}
        pieces, finish = [], None
        with post(self.url, body, timeout=30) as stream:
            for line in stream:
                if not line.startswith(b"data: "):
                    continue
                if line.strip() == b"data: [DONE]":
                    break
                chunk = json.loads(line[6:])
                if "error" in chunk:
                    raise RuntimeError(chunk["error"]["message"])
                for choice in chunk["choices"]:
                    pieces.append(choice["delta"].get("content") or "")
                    finish = choice["finish_reason"] or finish
            else:
                raise RuntimeError("the stream ended early")
        if finish != "length":
            raise RuntimeError(f"finish_reason {finish}")
        return "".join(pieces)


if __name__ == "__main__":
    Clients(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])).run()
