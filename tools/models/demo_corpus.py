"""Reads tools/models/corpus/ and turns it into conversations.

corpus/qa_*.md holds blocks parted by blank lines. The first letters of a line say what it is:

    T: a term | its other names      asked about in every usual way ("What is ...?", "Explain ...")
    Q: a question | a paraphrase     asked in these words
    A: the answer                    further lines without a letter go on with it
    F: a follow-up | a paraphrase    asked after the answer above; its own A: comes next

Of every block one phrasing is held out: training never sees it and validation asks it.
corpus/prose_*.md is read as plain text, corpus/off_topic.md and corpus/system.md as lists.
"""

import random
import re
from dataclasses import dataclass, field
from pathlib import Path

CORPUS = Path(__file__).resolve().parent / "corpus"

ASKED_FIRST = ("qa_01_disaggregation", "qa_12_using_baton", "qa_13_small_talk")
TERM_FORMS = (
    "What is {}?", "What's {}?", "Explain {}.", "Can you explain {}?", "Tell me about {}.",
    "What does {} mean?", "Define {}.", "What do you mean by {}?", "Could you describe {}?",
    "Please explain {} to me.", "I don't understand {}.", "Give me a short explanation of {}.",
    "Can you tell me what {} is?", "Describe {}.", "What exactly is {}?", "{}?", "{}",
    "Do you know what {} is?", "I want to know about {}.", "What can you tell me about {}?",
    "Explain {} in simple words.", "How would you explain {}?", "Help me understand {}.",
    "Tell me what {} is.", "I would like to learn about {}.", "What is meant by {}?",
    "And what is {}?", "So what is {}?", "Teach me about {}.", "meaning of {}",
    "definition of {}", "Could you explain what {} means?", "what {} is",
)
PREFIXES = (
    "Hi! ", "Hello, ", "Hey, ", "Please tell me: ", "Quick question: ", "I have a question. ",
    "I was wondering: ", "Sorry, ", "In short: ", "Hey Baton, ", "Ok, ", "So, ", "Thanks. ",
    "Can you tell me: ", "Good morning. ", "And ", "Now tell me: ", "Just curious: ", "Tell me, ",
    "Baton, ", "One more thing: ", "Next question: ",
)
SUFFIXES = (" Thanks!", " Please explain.", " Please.", " I am new to this.", " Thank you.",
            " Explain it briefly.", " I'd like to know.", " In a few words.", " Just curious.")
MORE_FORMS = ("Tell me more.", "Go on.", "More please.", "Can you tell me more?", "And then?",
              "Say more about that.", "Continue.", "What else should I know?", "more")


@dataclass
class Block:
    section: str
    questions: list
    held_out: str
    answer: str
    follow_ups: list = field(default_factory=list)  # (phrasings, answer)


# --- reading -----------------------------------------------------------------------------------


def read_blocks(seed=7):
    rng = random.Random(seed)
    blocks = []
    for path in sorted(CORPUS.glob("qa_*.md")):
        for text in re.split(r"\n\s*\n", path.read_text()):
            if re.match(r"[TQ]: ", text):
                blocks.append(parse_block(path, text, rng))
    check_one_answer_each(blocks)
    return blocks


def check_one_answer_each(blocks):
    """The same question with two answers would teach neither."""
    answers = {}
    for block in blocks:
        for question in block.questions + [block.held_out]:
            known = answers.setdefault(question.lower().rstrip("?.!"), block.answer)
            assert known == block.answer, f"two answers to: {question}"


def parse_block(path, text, rng):
    phrasings, answers, follow_ups, current = [], [], [], None
    for line in text.strip().splitlines():
        key, rest = line[:3], line[3:].strip()
        if key == "T: ":
            terms = split(rest)
            phrasings += [fill(form, term) for term in terms for form in TERM_FORMS]
        elif key == "Q: ":
            phrasings += split(rest)
        elif key == "F: ":
            follow_ups.append(split(rest))
        elif key == "A: ":
            answers.append(rest)
        else:
            assert answers, f"{path.name}: no letter and no answer before: {line}"
            answers[-1] += "\n" + line
    assert phrasings and len(answers) == 1 + len(follow_ups), f"{path.name}: {text[:80]}"
    questions, held_out = hold_one_out(phrasings, rng)
    return Block(path.stem, questions, held_out, answers[0], list(zip(follow_ups, answers[1:])))


def split(text):
    return [part.strip() for part in text.split(" | ")]


def fill(form, term):
    text = form.format(term)
    return text[0].upper() + text[1:]


def hold_one_out(phrasings, rng):
    if len(phrasings) >= 3:
        held_out = phrasings[rng.randrange(1, len(phrasings))]
        return [p for p in phrasings if p != held_out], held_out
    return phrasings, "Could you tell me: " + phrasings[0]


def read_prose():
    """Paragraphs of the explanatory texts, in order, with their headings."""
    return {path.stem: path.read_text() for path in sorted(CORPUS.glob("prose_*.md"))}


def read_list(name):
    lines = (CORPUS / name).read_text().splitlines()
    return [line[2:].strip() for line in lines if line.startswith("- ")]


# --- asking ------------------------------------------------------------------------------------


def vary(rng, question):
    """A question as people type it: greetings, lower case, lost punctuation, typing errors."""
    if rng.random() < 0.22:
        rest = question
        if rng.random() < 0.5 and not re.match(r"[A-Z][A-Z]", question):
            rest = question[0].lower() + question[1:]
        question = rng.choice(PREFIXES) + rest
    if rng.random() < 0.10:
        question += rng.choice(SUFFIXES)
    if rng.random() < 0.35:
        question = question.lower()
    if rng.random() < 0.30:
        question = question.rstrip("?.!")
    if rng.random() < 0.05:
        question = question.replace(",", "").replace("'", "")
    if rng.random() < 0.03:
        question = question.upper()
    if rng.random() < 0.12:
        question = misspell(rng, question)
    return question


def misspell(rng, text):
    for _ in range(rng.choice((1, 1, 2))):
        i = rng.randrange(max(1, len(text) - 1))
        kind = rng.random()
        if kind < 0.4:
            text = text[:i] + text[i + 1:i + 2] + text[i:i + 1] + text[i + 2:]
        elif kind < 0.7:
            text = text[:i] + text[i + 1:]
        else:
            text = text[:i] + text[i:i + 1] * 2 + text[i + 1:]
    return text or "?"


class OffTopic:
    """Questions about anything else, made from patterns with slots, and the answer to them."""

    def __init__(self):
        self.answers = read_list("off_topic_answers.md")
        lines = read_list("off_topic.md")
        self.slots = {}
        for line in lines:
            if line.startswith("{") and "}: " in line:
                name, values = line[1:].split("}: ", 1)
                self.slots[name] = split(values)
        self.patterns = [p for p in lines if not (p.startswith("{") and "}: " in p)]
        self.held_out = self.patterns[::12]
        self.train = [p for p in self.patterns if p not in self.held_out]

    def ask(self, rng, patterns=None):
        pattern = rng.choice(patterns or self.train)
        return re.sub(r"\{(\w+)\}", lambda m: rng.choice(self.slots[m.group(1)]), pattern)


class ConversationMaker:
    """Draws conversations: lists of (role, text), the roles as in a chat request."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.blocks = read_blocks()
        self.systems = read_list("system.md")
        self.off_topic = OffTopic()
        self.sentences = [s for text in read_prose().values()
                          for s in re.split(r"(?<=[.])\s+", text) if 30 < len(s) < 200]
        self.queue = []

    def next(self, short=False):
        """A conversation; a short one has a single subject."""
        rng, messages = self.rng, []
        if rng.random() < 0.35:
            messages.append(("system", self.system()))
        for _ in range(1 if short else rng.choice((1, 1, 1, 1, 2, 2, 3, 4))):
            messages += self.turn()
        return messages

    def system(self):
        rng = self.rng
        kind = rng.random()
        if kind < 0.7:
            return rng.choice(self.systems)
        if kind < 0.85:
            return rng.choice(self.systems) + " " + rng.choice(self.systems)
        return " ".join(rng.sample(self.sentences, rng.choice((1, 2, 3))))

    def turn(self):
        rng = self.rng
        if rng.random() < 0.07:
            return [("user", vary(rng, self.off_topic.ask(rng))),
                    ("assistant", self.off_topic.answers[0])]
        index = self.next_index()
        block = self.blocks[index]
        plainest = rng.random() < 0.2
        question = vary(rng, block.questions[0] if plainest else rng.choice(block.questions))
        if rng.random() < 0.03:
            question = "\n\n".join(rng.sample(self.sentences, rng.choice((1, 3, 8)))
                                   + [question])
        messages = [("user", question), ("assistant", block.answer)]
        kind = rng.random()
        if block.follow_ups and kind < 0.5:
            for phrasings, answer in block.follow_ups:
                messages += [("user", vary(rng, rng.choice(phrasings))), ("assistant", answer)]
        elif not block.follow_ups and kind < 0.06:
            messages += self.more(index)
        return messages

    def more(self, index):
        """"Tell me more" goes on with the next block of the same section."""
        following = index + 1
        if following == len(self.blocks):
            return []
        if self.blocks[following].section != self.blocks[index].section:
            return []
        return [("user", vary(self.rng, self.rng.choice(MORE_FORMS))),
                ("assistant", self.blocks[following].answer)]

    def next_index(self):
        """Every block once, in random order, before any comes again; what visitors ask first,
        twice."""
        if not self.queue:
            twice = [i for i, b in enumerate(self.blocks) if b.section in ASKED_FIRST]
            self.queue = list(range(len(self.blocks))) + twice
            self.rng.shuffle(self.queue)
        return self.queue.pop()
